//! Names that the kernel keeps as absent. It drops them by itself when their time is over, and tells nobody when it drops
//! them before: they are forgotten here by the clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use types::InodeId;

use super::kept::Slot;

/// Names at once, in all directories.
const ABSENT: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Absent {
    /// Until when the kernel keeps each.
    names: HashMap<InodeId, HashMap<Arc<[u8]>, Instant>>,
    /// In the order of their ends. What was taken out of `names` before its end, or has a later end there, is here still.
    order: VecDeque<(Instant, InodeId, Arc<[u8]>)>,
}

impl Absent {
    /// The kernel may keep a name until then, unless there are too many; no name before was to be kept for longer.
    pub(super) fn keep(&mut self, slot: &Slot, now: Instant, until: Instant) -> bool {
        self.expire(now);
        if self.order.len() >= ABSENT {
            return false;
        }
        let name: Arc<[u8]> = slot.name.as_slice().into();
        self.names.entry(slot.directory).or_default().insert(name.clone(), until);
        self.order.push_back((until, slot.directory, name));
        true
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, directory, name)) = self.order.pop_front_if(|(until, ..)| *until <= now) {
            if let Some(names) = self.names.get_mut(&directory)
                && names.get(&name) == Some(&until)
            {
                names.remove(&name);
                if names.is_empty() {
                    self.names.remove(&directory);
                }
            }
        }
    }

    /// The name is there now, or the kernel is to ask again. Tells whether it was kept.
    pub(super) fn drop_name(&mut self, slot: &Slot) -> bool {
        let Some(names) = self.names.get_mut(&slot.directory) else { return false };
        let was_kept = names.remove(slot.name.as_slice()).is_some();
        if names.is_empty() {
            self.names.remove(&slot.directory);
        }
        was_kept
    }

    /// The kernel is to ask again for everything in a directory. Gives what it kept.
    pub(super) fn drop_names(&mut self, directory: InodeId) -> impl Iterator<Item = Slot> {
        let names = self.names.remove(&directory).unwrap_or_default();
        names.into_keys().map(move |name| Slot { directory, name: name.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn slot(directory: u64, name: &str) -> Slot {
        Slot { directory: InodeId::new(directory), name: name.as_bytes().to_vec() }
    }

    /// Invariant 5.
    #[test]
    fn what_the_kernel_has_dropped_by_itself_is_forgotten() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        assert!(absent.keep(&slot(7, "a"), start, start + MINUTE));
        let later = start + MINUTE / 2;
        assert!(absent.keep(&slot(7, "b"), later, later + MINUTE));
        // The kernel had dropped it before its time.
        assert!(absent.keep(&slot(8, "a"), start, start + MINUTE));
        assert!(absent.keep(&slot(8, "a"), later, later + MINUTE));
        let now = start + MINUTE;
        assert!(absent.keep(&slot(9, "c"), now, now + MINUTE));
        assert!(!absent.drop_name(&slot(7, "a")) && absent.drop_name(&slot(7, "b")) && absent.drop_name(&slot(8, "a")));
        assert_eq!(absent.drop_names(InodeId::new(9)).collect::<Vec<_>>(), [slot(9, "c")]);
        let now = now + MINUTE;
        absent.expire(now);
        assert!(absent.names.is_empty() && absent.order.is_empty());
    }

    /// Invariant 5.
    #[test]
    fn there_is_room_for_so_many_and_again_when_their_time_is_over() {
        let (mut absent, start) = (Absent::default(), Instant::now());
        for number in 0..ABSENT {
            assert!(absent.keep(&slot(7, &number.to_string()), start, start + MINUTE));
        }
        // Dropped names count until their time is over: they come and go no faster than that.
        assert!(absent.drop_name(&slot(7, "0")));
        assert!(!absent.keep(&slot(7, "more"), start, start + MINUTE));
        let now = start + MINUTE;
        assert!(absent.keep(&slot(7, "more"), now, now + MINUTE));
        assert_eq!((absent.names.len(), absent.order.len()), (1, 1));
    }
}
