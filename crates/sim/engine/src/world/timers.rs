//! The timers of one node.

/// The timers of one node that run, by name. There are few, and they are set all the time: a sorted list
/// of them moves less memory than a tree, and none anew.
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
    /// How many of them somebody waits for.
    pub(super) const fn awaited(&self) -> u32 {
        self.awaited
    }

    /// Sets one, or moves it: only `setting` fires it from now on.
    pub(super) fn set(&mut self, id: u64, setting: u64, housekeeping: bool) {
        let timer = ArmedTimer { id, setting, housekeeping };
        match self.place(id) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.armed[at], timer);
                self.awaited -= u32::from(!old.housekeeping);
            }
            Err(at) => self.armed.insert(at, timer),
        }
        self.awaited += u32::from(!housekeeping);
    }

    /// Stops one, if it runs.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Ok(at) = self.place(id) {
            self.take(at);
        }
    }

    /// A setting of one has run out. Says whether it is the one that counts.
    pub(super) fn fire(&mut self, id: u64, setting: u64) -> bool {
        match self.place(id) {
            Ok(at) if self.armed[at].setting == setting => {
                self.take(at);
                true
            }
            _ => false,
        }
    }

    /// Stops all.
    pub(super) fn clear(&mut self) {
        self.armed.clear();
        self.awaited = 0;
    }

    fn place(&self, id: u64) -> Result<usize, usize> {
        self.armed.binary_search_by_key(&id, |timer| timer.id)
    }

    fn take(&mut self, at: usize) {
        let timer = self.armed.remove(at);
        self.awaited -= u32::from(!timer.housekeeping);
    }
}
