//! The effects of a step: writes, frames, timers and notices.

use crate::clock_guard::AheadOfTime;
use crate::event::TimerOp;
use crate::refusal::Refusal;
use crate::writes::{Operation, OperationError};
use std::iter::Sum;
use std::ops::AddAssign;
use syncline_storage::{Action, StorageError};
use syncline_store::{Bytes, WriteBatch};
use syncline_sync::{DeltaRefusal, Dot, HistoryConflict, Outcome, SessionStats, SyncProtocolKind};
use syncline_types::{Hlc, PeerId, Probes, ReplicaId, SimTime};

/// The kind of message that a frame carries, for statistics and viewers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameKind {
    /// A delta: new writes, as gossip.
    Delta,
    /// A heartbeat, which announces a root.
    Heartbeat,
    /// A request for deltas, or the reply.
    DeltaFetch,
    /// A handshake, or the reply.
    Handshake,
    /// An exchange of deltas in a session, either way.
    DeltaSync,
    /// A round in which two states are compared, either way.
    Exchange,
    /// A page of a snapshot, or the request for one.
    Snapshot,
}

/// The number of a kind: its index in [`FrameKind::ALL`].
impl From<FrameKind> for u8 {
    fn from(kind: FrameKind) -> Self {
        kind as Self
    }
}

impl FrameKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Delta,
        Self::Heartbeat,
        Self::DeltaFetch,
        Self::Handshake,
        Self::DeltaSync,
        Self::Exchange,
        Self::Snapshot,
    ];
}

/// A frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names of the fields say all")]
pub struct OutgoingMessage {
    pub to: PeerId,
    pub bytes: Bytes,
    pub kind: FrameKind,
}

/// An event for statistics and viewers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Every member has seen everything up to a stamp, and tombstones before it were collected: all of them, or the
    /// next ones of a collection that takes several steps (`Pending::collections`).
    TombstonesCollected {
        /// The stamp up to which everything is causally stable.
        horizon: Hlc,
        /// The number of records that were removed.
        records: u64,
    },
    /// This replica started a session.
    SessionStarted {
        /// The peer that the session is with.
        peer: PeerId,
    },
    /// A session of which this replica was the initiator ended.
    SessionEnded {
        /// The peer that the session was with.
        peer: PeerId,
        /// The time at which it started.
        started_at: SimTime,
        /// How the session ended.
        outcome: Outcome,
        /// The protocol that the session ran; `None` if it ended before a protocol was chosen.
        protocol: Option<SyncProtocolKind>,
        /// What the session transferred.
        stats: SessionStats,
    },
    /// The stamps of a replica are ahead of time: this replica noticed it of itself, or could not sync with a peer
    /// because of it.
    AheadOfTime(AheadOfTime),
    /// A delta was applied.
    DeltaApplied {
        /// The delta, by its author and number.
        delta: Dot,
        /// The number of actions in the delta.
        actions: u64,
    },
    /// A delta was refused because its author may not write or did not sign it. The delta came by gossip, or
    /// in a session of either side.
    DeltaRefused {
        /// The peer that sent the delta. This replica backs off from it.
        from: PeerId,
        /// The reason for which the gate refused the delta.
        refusal: DeltaRefusal,
    },
    /// A buffered delta was refused when its parents were covered.
    DeltaDiscarded {
        /// The delta, by its author and number.
        delta: Dot,
        /// Why it was not applied.
        refusal: DeltaRefusal,
    },
    /// Buffered deltas were dropped: no reachable peer can be expected to send the parents. Each has sent all that it
    /// has, has broken a rule, or has failed so often that it is given up for now. This happens after disks have
    /// lost acknowledged writes, in the presence of adversaries, and after long outages.
    PendingDeltasDropped {
        /// The deltas that were dropped, by author and number, ascending.
        deltas: Vec<Dot>,
    },
    /// A delta had no place in the buffer, or made room there for another one. A sync with the peer that sent the last
    /// delta is pending instead.
    DeltaOverflowed {
        /// The delta, by its author and number.
        delta: Dot,
    },
    /// The application's write is accepted. It is durable once the batch of this step is durable.
    WriteAccepted {
        /// The requested operations.
        operations: Vec<Operation>,
        /// The actions that were written, one for each operation.
        actions: Vec<Action>,
    },
    /// The history of this replica cannot go on: its id has more than one life, or it is left behind, or too far ahead of
    /// time. This step has stored the conflict and nothing else; each further step returns [`ReplicaError::History`].
    HistoryConflict {
        /// What is wrong with the history.
        conflict: HistoryConflict,
    },
    /// A write of a former id that others lacked was written again.
    WriteReissued {
        /// The delta of the former id.
        former: Dot,
        /// The actions of that delta.
        former_actions: Vec<Action>,
        /// The last delta of this replica, which has the actions.
        delta: Dot,
        /// What each of them became; `None` for one that has no effect any more, because others have deleted or
        /// overwritten its entity since.
        actions: Vec<Option<Action>>,
    },
    /// All that a former id has written is accounted for: others have it, or it was written again.
    LegacyRecovered {
        /// The former id.
        former: ReplicaId,
    },
    /// The application's write is refused as a whole.
    WriteRefused {
        /// The reason for the refusal.
        error: OperationError,
    },
}

/// The effects of one step. The host must execute them in the order of the fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncActions {
    /// Writes to commit atomically, before anything else.
    pub storage: WriteBatch,
    /// Frames to send, once the writes are durable.
    pub messages: Vec<OutgoingMessage>,
    /// Changes to timers, in this order, after the messages.
    pub timers: Vec<TimerOp>,
    /// If the event was a frame without effect: why it had none.
    pub refusal: Option<Refusal>,
    /// Events for statistics and viewers.
    pub notices: Vec<Notice>,
    /// The cost of the step.
    pub cost: StepCost,
    /// The rare branches that the step took.
    pub probes: Probes,
}

/// The cost of one step, or of several steps together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StepCost {
    /// Rows read from the store.
    pub storage_reads: u64,
    /// Rows written to the store.
    pub storage_writes: u64,
    /// SHA-256 hashes computed for the index.
    pub hash_computations: u64,
    /// Deltas that were looked up, or checked against the covered deltas.
    pub dag_lookups: u64,
}

impl AddAssign for StepCost {
    fn add_assign(&mut self, other: Self) {
        // By name, so that a new field cannot be left out.
        let Self { storage_reads, storage_writes, hash_computations, dag_lookups } = other;
        self.storage_reads += storage_reads;
        self.storage_writes += storage_writes;
        self.hash_computations += hash_computations;
        self.dag_lookups += dag_lookups;
    }
}

impl Sum for StepCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        let mut total = Self::default();
        costs.for_each(|cost| total += cost);
        total
    }
}

/// The replica must be stopped. No effect of the failed step was committed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Either the store failed or contains damaged rows, or an invariant of this program does not hold:
    /// [`ReplicaError::is_internal`] distinguishes the two.
    #[error("{}{}", what_failed(.0), .0)]
    Storage(#[from] StorageError),
    /// The history of the replica cannot go on under its id. The store remembers this error, and no restart ends it:
    /// [`Replica::bring_back`](crate::Replica::bring_back) does.
    #[error("the replica has stopped before it writes again: {0}")]
    History(#[from] HistoryConflict),
    /// A replica was to be brought back under an id that it had before.
    #[error("replica {replica} cannot be brought back under an id that it had before; choose a new id")]
    SameId {
        /// The id.
        replica: ReplicaId,
    },
}

const fn what_failed(error: &StorageError) -> &'static str {
    match error {
        // The text of an internal error already states that the replica has stopped.
        StorageError::Internal(_) => "",
        _ => "the replica must stop because its store failed: ",
    }
}

impl ReplicaError {
    /// Whether the cause is a bug in this program and not the store.
    pub const fn is_internal(&self) -> bool {
        matches!(self, Self::Storage(StorageError::Internal(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::InternalError;

    #[test]
    fn costs_add_up_by_field() {
        let cost = StepCost { storage_reads: 1, storage_writes: 2, hash_computations: 3, dag_lookups: 4 };
        let twice = StepCost { storage_reads: 2, storage_writes: 4, hash_computations: 6, dag_lookups: 8 };
        assert_eq!([cost, cost].into_iter().sum::<StepCost>(), twice);
    }

    #[test]
    fn error_tells_bug_from_failed_store() {
        let store = ReplicaError::Storage(StorageError::Index { what: "a node" });
        assert!(!store.is_internal() && store.to_string().contains("its store failed"), "{store}");
        let bug = ReplicaError::Storage(InternalError::broken("queues are sorted").into());
        assert!(bug.is_internal() && !bug.to_string().contains("failed"), "{bug}");
        assert!(bug.to_string().contains("queues are sorted"), "{bug}");
    }
}
