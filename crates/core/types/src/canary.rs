//! Deliberate bugs, each of a kind that real projects have shipped. They are compiled in only with the
//! `canary` feature. The tests enable one bug at a time and require that a simulation sweep detects it.

use std::cell::Cell;

/// The name of one deliberate bug. At most one is active for each thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Last-writer-wins registers with equal timestamps keep the value that arrived last, so the join is not
    /// commutative.
    LwwTieByArrival,
    /// The buffer of deltas that wait for their parents is cleared before its deltas are applied.
    BufferEmptiedBeforeReplay,
    /// A delete that arrives before the add it refers to stores no tombstone, so the add takes effect.
    TombstoneBeforeAddDropped,
    /// A replica that already has state accepts a snapshot, and the snapshot replaces that state instead of
    /// being merged into it.
    SnapshotOverwrites,
    /// A counter takes the state of the last writer instead of the maximum for each replica.
    CounterByLastWriter,
    /// A session reports convergence without comparing the Merkle roots of both sides.
    SuccessWithoutComparingRoots,
    /// The network router does not record frames that it drops on a link.
    UncountedDrop,
    /// A replica accepts frames of a peer's earlier incarnation, sent before the peer restarted.
    StaleFrameAccepted,
    /// A tree walk takes the records that the peer has and pushes none in return.
    PullOnly,
    /// Sync covers only the first 256 children of an entity.
    ChildrenBeyond256Ignored,
    /// A protocol is selected even if one side does not support it.
    CapabilitiesIgnored,
    /// A handshake with another protocol version is answered instead of rejected.
    VersionIgnored,
    /// A tree walk runs although the roots are equal and there is nothing to transfer.
    NoneTransfers,
    /// A session whose sides have no protocol in common reports success.
    NoCommonIsSuccess,
    /// The root of a received snapshot is not compared with the root that was announced.
    SnapshotUnverified,
    /// A delta is applied before its parents, which breaks causal order.
    DeltaBeforeParents,
    /// Values of an application-defined type keep the operands that arrived last instead of those of
    /// both sides.
    CustomByLastWriter,
    /// A panic of an application's merge function is not caught where core calls the function.
    MergePanicEscapes,
    /// Records of unknown type are missing from the statistics.
    OpaqueUncounted,
    /// A set element takes the whole incoming state instead of the maximum for each replica.
    RemoveWinsWhole,
    /// A record that arrives by sync loses its creation time.
    CreatedLost,
    /// The id of a child entity depends on the replica that creates it, so that two replicas create two
    /// entities for one map key.
    IdsByReplica,
    /// A session reports the root that its peer announced, whether or not the own root reached it.
    SuccessOnPeersWord,
    /// Deletes that arrive by sync are counted as merged but not stored, and each session schedules another:
    /// a livelock.
    RemergedForEver,
    /// The Merkle index is not updated when a merge gives a result that neither side had before.
    IndexMissesMerges,
    /// A record whose parent has not arrived is indexed below the root.
    LeafAtGuessedPosition,
    /// A set-reconciliation sketch never decodes; the fallback to a tree walk hides the failure.
    SketchNeverDecodes,
    /// A replica announces the root that it expects instead of the root of its index.
    RootForced,
    /// A member that has never announced its progress counts as having seen everything, so tombstones are
    /// collected too early.
    SilentMembersCount,
    /// Deltas that are already known are gossiped again.
    DuplicatesForwarded,
    /// A pending sync with one peer is dropped as soon as any other peer has our root.
    SettledByAnyone,
    /// Frames are sent before the state that they announce is durable.
    SentBeforeCommit,
    /// A write is acknowledged to the application before it is durable.
    AcknowledgedBeforeCommit,
    /// The incarnation number, which counts the starts of a replica, does not survive a crash.
    IncarnationForgotten,
    /// Of two registers with equal timestamps all replicas keep the one of the lower replica id, against the
    /// specification.
    LowerReplicaWins,
    /// The total of a counter omits one replica.
    CounterLeavesOneOut,
    /// A set element is absent as soon as any add of it was removed, even if a concurrent add remains.
    RemoveWinsEverywhere,
    /// Of several pieces of text inserted at one position only the one with the greatest id is shown.
    TextShowsOneOfTwo,
    /// The delete of a collection hides children by their creation time, even those written after the delete.
    DeleteHidesByCreation,
    /// Of two frozen values the later write wins instead of the first.
    FrozenByLastWriter,
    /// A crash during a commit leaves the rows that were already written: the commit is not atomic.
    TornCommit,
    /// The signatures of deltas are not verified.
    SignaturesUnchecked,
    /// A replica that is not a member is treated as a member.
    StrangersLetIn,
    /// There is no backoff: a peer with which sessions fail is retried at once.
    FailuresForgiven,
    /// A host delivers each frame to the replica of another of its contexts, and that replica does not check
    /// the frame's context tag.
    ContextsMixed,
    /// A write of the application goes to the context that its host handled last.
    WriteToLatestContext,
}

impl Canary {
    /// The bugs that the reference sweep of the canary tests must detect. The other variants have tests of
    /// their own, which need another set-up.
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
    /// Each test thread has its own, so that tests with different bugs can run in parallel.
    static ACTIVE: Cell<Option<Canary>> = const { Cell::new(None) };
}

/// Activates `canary` for this thread in place of any other; `None` deactivates all.
pub fn set(canary: Option<Canary>) {
    ACTIVE.set(canary);
}

/// Returns whether `canary` is active for this thread.
pub fn active(canary: Canary) -> bool {
    ACTIVE.get() == Some(canary)
}
