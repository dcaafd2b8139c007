//! Deliberate bugs, compiled in only with the `canary` feature, each of a kind that real projects
//! shipped. The tests switch one on and demand that a sweep notices.

use std::cell::Cell;

/// A deliberate bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Registers written at the same instant keep whichever arrived last.
    LwwTieByArrival,
    /// The delta buffer is emptied before it is replayed.
    BufferEmptiedBeforeReplay,
    /// The router forgets to record frames lost on the link.
    UncountedDrop,
    /// A session reports that it converged without comparing roots.
    SuccessWithoutComparingRoots,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::LwwTieByArrival,
        Self::BufferEmptiedBeforeReplay,
        Self::UncountedDrop,
        Self::SuccessWithoutComparingRoots,
    ];
}

thread_local! {
    static ACTIVE: Cell<Option<Canary>> = const { Cell::new(None) };
}

/// Switches a bug on, or all off, for this thread.
pub fn set(canary: Option<Canary>) {
    ACTIVE.set(canary);
}

/// Whether `canary` is on.
pub fn active(canary: Canary) -> bool {
    ACTIVE.get() == Some(canary)
}
