//! The timers of one node.

/// The timers of one node that are set, sorted by id. There are few and they change all the time, so a
/// sorted list moves less memory than a tree and allocates nothing.
///
/// Invariants: ids are unique and ascending; `awaited` counts the timers that are not housekeeping.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    armed: Vec<ArmedTimer>,
    awaited: u32,
}

#[derive(Clone, Copy, Debug)]
struct ArmedTimer {
    id: u64,
    setting: u64,
    housekeeping: bool,
}

impl Timers {
    /// How many timers are set that are not housekeeping.
    pub(super) const fn awaited(&self) -> u32 {
        self.awaited
    }

    /// Whether a timer is set.
    pub(super) fn is_set(&self, id: u64) -> bool {
        self.find(id).is_ok()
    }

    /// Sets or moves a timer: from now on only `setting` fires it. The event of an earlier setting stays in
    /// the queue and is ignored when it comes, which is cheaper than finding and removing it.
    pub(super) fn set(&mut self, id: u64, setting: u64, housekeeping: bool) {
        let timer = ArmedTimer { id, setting, housekeeping };
        match self.find(id) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.armed[at], timer);
                debug_assert!(old.setting < setting, "settings of timers are numbered in ascending order");
                self.awaited -= u32::from(!old.housekeeping);
            }
            Err(at) => self.armed.insert(at, timer),
        }
        self.awaited += u32::from(!housekeeping);
        debug_assert!(self.awaited as usize <= self.armed.len(), "every awaited timer is set");
    }

    /// Removes a timer, if it is set.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Ok(at) = self.find(id) {
            self.remove(at);
        }
    }

    /// Removes a timer whose setting has expired. Returns whether that setting is still the current one.
    pub(super) fn fire(&mut self, id: u64, setting: u64) -> bool {
        match self.find(id) {
            Ok(at) if self.armed[at].setting == setting => {
                self.remove(at);
                true
            }
            _ => false,
        }
    }

    /// Removes all timers of the node.
    pub(super) fn clear(&mut self) {
        self.armed.clear();
        self.awaited = 0;
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.armed.binary_search_by_key(&id, |timer| timer.id)
    }

    fn remove(&mut self, at: usize) {
        let timer = self.armed.remove(at);
        self.awaited -= u32::from(!timer.housekeeping);
    }
}
