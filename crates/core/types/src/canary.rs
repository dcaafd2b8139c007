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
    /// A delete that comes before the add it refers to leaves no tombstone.
    TombstoneBeforeAddDropped,
    /// A snapshot is taken by a replica with state, and replaces that state.
    SnapshotOverwrites,
    /// Counters keep what the last writer had, instead of adding up.
    CounterByLastWriter,
    /// A session reports that it converged without comparing roots.
    SuccessWithoutComparingRoots,
    /// The router forgets to record frames lost on the link.
    UncountedDrop,
    /// Frames from before a restart are taken for new ones.
    StaleFrameAccepted,
    /// A walk takes what the peer has and gives nothing back.
    PullOnly,
    /// Of the children of an entity only the first 256 are synced.
    ChildrenBeyond256Ignored,
    /// A protocol is chosen whether or not both sides can run it.
    CapabilitiesIgnored,
    /// A handshake of another version is answered.
    VersionIgnored,
    /// Equal roots are walked all the same.
    NoneTransfers,
    /// Having no protocol in common is reported as having nothing to do.
    NoCommonIsSuccess,
    /// The root of a snapshot is not compared with the promised one.
    SnapshotUnverified,
    /// A delta is applied although its parents are not here.
    DeltaBeforeParents,
    /// Values of an application's own type keep whichever arrived last.
    CustomByLastWriter,
    /// Values of unknown type are not counted.
    OpaqueUncounted,
    /// An element keeps what was known of it last, instead of a presence per replica.
    RemoveWinsWhole,
    /// A record that comes by sync loses when it was created.
    CreatedLost,
    /// The ids of places depend on who makes them.
    IdsByReplica,
    /// A crash in the middle of a commit leaves the rows that were written by then.
    TornCommit,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::LwwTieByArrival,
        Self::BufferEmptiedBeforeReplay,
        Self::TombstoneBeforeAddDropped,
        Self::SnapshotOverwrites,
        Self::CounterByLastWriter,
        Self::SuccessWithoutComparingRoots,
        Self::UncountedDrop,
        Self::StaleFrameAccepted,
        Self::PullOnly,
        Self::ChildrenBeyond256Ignored,
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
