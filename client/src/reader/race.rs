//! Who is asked for the first bytes of a read, and when a second one is: the decisions alone. The owner asks, and tells the time.
//!
//! 1. At most two are asked at a time, and the second only when the first is late.
//! 2. Whoever answers first is taken; the owner leaves the other, whose connection is then in no known state.
//! 3. Everyone is asked once at most. It is over when one was taken, or all have failed.

use std::time::Duration;

/// The race of one read. Competitors are numbered from 0, best first.
#[derive(Debug)]
pub(super) struct Race {
    competitors: usize,
    /// Who has not been asked begins here.
    next: usize,
    running: usize,
    patience: Duration,
    late_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// The moment of [`Race::late_at`] has come. Whether there is a second request to spare.
    Late {
        may_hedge: bool,
    },
    Answered(usize),
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Ask(usize),
    /// The first bytes are this one's; all others are left.
    Take(usize),
    /// All have failed.
    GiveUp,
}

impl Race {
    /// Among so many, who are late after `patience`.
    pub(super) fn new(competitors: usize, patience: Duration) -> Self {
        Self { competitors, next: 0, running: 0, patience, late_at: None }
    }

    pub(super) fn start(&mut self, now: Duration) -> Output {
        self.ask(now)
    }

    /// When to say that the one who runs is late, if that would change anything.
    pub(super) const fn late_at(&self) -> Option<Duration> {
        self.late_at
    }

    pub(super) fn handle(&mut self, now: Duration, input: Input) -> Option<Output> {
        match input {
            Input::Late { may_hedge } => {
                self.late_at = None;
                may_hedge.then(|| self.ask(now))
            }
            Input::Answered(competitor) => Some(Output::Take(competitor)),
            Input::Failed => {
                self.running -= 1;
                (self.running == 0).then(|| self.ask(now))
            }
        }
    }

    fn ask(&mut self, now: Duration) -> Output {
        if self.next == self.competitors {
            return Output::GiveUp;
        }
        self.next += 1;
        self.running += 1;
        // The one who is asked last has nobody behind it.
        self.late_at = (self.running == 1 && self.next < self.competitors).then(|| now + self.patience);
        Output::Ask(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(10);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn who_answers_in_time_is_the_only_one_asked() {
        let mut race = Race::new(3, PATIENCE);
        assert_eq!(race.start(ms(5)), Output::Ask(0));
        assert_eq!(race.late_at(), Some(ms(15)));
        assert_eq!(race.handle(ms(6), Input::Answered(0)), Some(Output::Take(0)));
    }

    /// Invariants 1 and 2.
    #[test]
    fn a_second_one_is_asked_when_the_first_is_late_and_no_third() {
        let mut race = Race::new(3, PATIENCE);
        assert_eq!(race.start(ms(0)), Output::Ask(0));
        assert_eq!(race.handle(ms(10), Input::Late { may_hedge: true }), Some(Output::Ask(1)));
        assert_eq!(race.late_at(), None);
        assert_eq!(race.handle(ms(11), Input::Answered(1)), Some(Output::Take(1)));
    }

    #[test]
    fn without_a_request_to_spare_the_first_one_goes_on_alone() {
        let mut race = Race::new(2, PATIENCE);
        assert_eq!(race.start(ms(0)), Output::Ask(0));
        assert_eq!(race.handle(ms(10), Input::Late { may_hedge: false }), None);
        assert_eq!(race.late_at(), None);
        assert_eq!(race.handle(ms(99), Input::Failed), Some(Output::Ask(1)));
        assert_eq!(race.late_at(), None, "nobody is behind it");
        assert_eq!(race.handle(ms(99), Input::Failed), Some(Output::GiveUp));
    }

    /// Invariant 3.
    #[test]
    fn one_that_fails_is_replaced_when_nobody_else_runs() {
        let mut race = Race::new(4, PATIENCE);
        assert_eq!(race.start(ms(0)), Output::Ask(0));
        assert_eq!(race.handle(ms(1), Input::Failed), Some(Output::Ask(1)));
        assert_eq!(race.late_at(), Some(ms(11)));
        assert_eq!(race.handle(ms(11), Input::Late { may_hedge: true }), Some(Output::Ask(2)));
        assert_eq!(race.handle(ms(12), Input::Failed), None, "the other one still runs");
        assert_eq!(race.handle(ms(13), Input::Failed), Some(Output::Ask(3)));
        assert_eq!(race.handle(ms(14), Input::Failed), Some(Output::GiveUp));
    }

    #[test]
    fn a_race_of_nobody_is_over_at_once() {
        assert_eq!(Race::new(0, PATIENCE).start(ms(0)), Output::GiveUp);
    }
}
