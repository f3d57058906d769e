use proptest::prelude::*;

use super::*;

/// Long enough for runs to meet, short enough for them to be apart.
const SPACE: u64 = 200;
const LONGEST: usize = 50;

#[derive(Debug, Clone)]
enum Step {
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    Freeze {
        shortest: usize,
    },
    /// Of the batches that are there.
    Release {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..SPACE, proptest::collection::vec(1_u8.., 0..60));
    prop_oneof![
        6 => write.prop_map(|(offset, data)| Step::Write { offset, data }),
        1 => (0_usize..40).prop_map(|shortest| Step::Freeze { shortest }),
        1 => any::<usize>().prop_map(|which| Step::Release { which }),
    ]
}

/// One optional byte for each offset, in layers.
#[derive(Default)]
struct Model {
    runs: Vec<Option<u8>>,
    batches: Vec<(u64, Vec<Option<u8>>)>,
}

impl Model {
    fn seen(&self) -> Vec<Option<u8>> {
        let mut seen = vec![None; 300];
        for layer in self.batches.iter().map(|(_, layer)| layer).chain([&self.runs]) {
            for (at, byte) in layer.iter().enumerate() {
                seen[at] = byte.or(seen[at]);
            }
        }
        seen
    }

    fn held(&self) -> u64 {
        let layers = self.batches.iter().map(|(_, layer)| layer).chain([&self.runs]);
        layers.flatten().filter(|byte| byte.is_some()).count() as u64
    }
}

proptest! {
    /// Invariants 1 to 3, against bytes one by one.
    #[test]
    fn every_byte_is_the_newest_and_counted_once(steps in proptest::collection::vec(step(), 0..40)) {
        let mut dirty = Dirty::default();
        let mut model = Model { runs: vec![None; 300], batches: Vec::new() };
        for step in steps {
            match step {
                Step::Write { offset, data } => {
                    dirty.write(offset, &data, LONGEST);
                    for (at, byte) in data.into_iter().enumerate() {
                        model.runs[offset as usize + at] = Some(byte);
                    }
                }
                Step::Freeze { shortest } => {
                    if let Some(batch) = dirty.freeze(shortest) {
                        let mut layer = vec![None; 300];
                        for (offset, data) in &batch.runs {
                            prop_assert!(data.len() >= shortest);
                            for (at, byte) in data.iter().enumerate() {
                                layer[*offset as usize + at] = model.runs[*offset as usize + at].take();
                                prop_assert_eq!(layer[*offset as usize + at], Some(*byte));
                            }
                        }
                        model.batches.push((batch.id, layer));
                    }
                }
                Step::Release { which } if !model.batches.is_empty() => {
                    let (id, layer) = model.batches.remove(which % model.batches.len());
                    prop_assert_eq!(dirty.release(id), layer.iter().flatten().count() as u64);
                }
                Step::Release { .. } => {}
            }
            let seen = model.seen();
            let mut buffer = vec![0; 250];
            overlay(&dirty.pieces(10, 250), 10, &mut buffer);
            let wanted: Vec<u8> = seen[10..260].iter().map(|byte| byte.unwrap_or(0)).collect();
            prop_assert_eq!(buffer, wanted);
            prop_assert_eq!(dirty.bytes(), model.held());
            let end = seen.iter().rposition(Option::is_some).map_or(0, |at| at as u64 + 1);
            prop_assert_eq!(dirty.end(), end);
            for (from, to) in [(0, 20), (30, 31), (50, 120)] {
                prop_assert_eq!(dirty.covers(from as u64, (to - from) as u64), seen[from..to].iter().all(Option::is_some));
            }
            prop_assert!(dirty.runs.values().all(|run| !run.is_empty()));
        }
    }
}

#[test]
fn sequential_writes_make_one_run_up_to_its_longest() {
    let mut dirty = Dirty::default();
    for at in 0..10 {
        dirty.write(at * 10, &[7; 10], LONGEST);
    }
    let lengths: Vec<_> = dirty.runs.iter().map(|(at, run)| (*at, run.len())).collect();
    assert_eq!(lengths, [(0, 50), (50, 50)]);
}
