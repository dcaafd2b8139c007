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
    /// A session reports the root that its peer promised, whether or not its own has come there.
    SuccessOnPeersWord,
    /// Deletes that come by sync are counted as merged and not kept, and each session ends with another
    /// owed.
    RemergedForEver,
    /// The index is not told of a merge whose result neither side had.
    IndexMissesMerges,
    /// What is written below a place that is not here yet is put below the root.
    LeafAtGuessedPosition,
    /// A sketch never decodes, and the walk behind it hides that.
    SketchNeverDecodes,
    /// A replica says that it has the root it expects to have.
    RootForced,
    /// A member that was never heard counts as having seen everything.
    SilentMembersCount,
    /// Deltas that are known already are passed on all the same.
    DuplicatesForwarded,
    /// A sync that is owed with one peer is settled when any other has our root.
    SettledByAnyone,
    /// Frames leave before what they promise is durable.
    SentBeforeCommit,
    /// A write is acknowledged before it is durable.
    AcknowledgedBeforeCommit,
    /// How often a replica has started does not survive a crash.
    IncarnationForgotten,
    /// Of two registers written at the same instant all replicas keep the one of the lower replica.
    LowerReplicaWins,
    /// A counter leaves out one replica when it adds up.
    CounterLeavesOneOut,
    /// An element is not in its set once anybody's add of it was removed.
    RemoveWinsEverywhere,
    /// Of two pieces of text inserted at one place the earlier is not shown.
    TextShowsOneOfTwo,
    /// The delete of a collection hides what was created before it, even if it was written after.
    DeleteHidesByCreation,
    /// Of two frozen values the later wins.
    FrozenByLastWriter,
    /// A crash in the middle of a commit leaves the rows that were written by then.
    TornCommit,
    /// Nobody looks at signatures.
    SignaturesUnchecked,
    /// Whoever comes is taken for a member.
    StrangersLetIn,
    /// A peer with which sessions fail is tried again as soon as ever.
    FailuresForgiven,
    /// A host hands each frame to the replica of another of its contexts, and that does not look whose it is.
    ContextsMixed,
    /// An application's write goes to whichever context its host was busy with last.
    WriteToLatestContext,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 28] = [
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
        Self::SuccessOnPeersWord,
        Self::RemergedForEver,
        Self::IndexMissesMerges,
        Self::LeafAtGuessedPosition,
        Self::SketchNeverDecodes,
        Self::RootForced,
        Self::SilentMembersCount,
        Self::DuplicatesForwarded,
        Self::SettledByAnyone,
        Self::SentBeforeCommit,
        Self::AcknowledgedBeforeCommit,
        Self::IncarnationForgotten,
        Self::LowerReplicaWins,
        Self::CounterLeavesOneOut,
        Self::RemoveWinsEverywhere,
        Self::TextShowsOneOfTwo,
        Self::DeleteHidesByCreation,
        Self::FrozenByLastWriter,
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
