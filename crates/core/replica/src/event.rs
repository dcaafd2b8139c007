//! What goes into a replica and what comes out.

use crate::operation::{Operation, OperationError};
use std::sync::Arc;
use syncline_storage::{Action, StorageError};
use syncline_store::{Bytes, WriteBatch};
use syncline_sync::{DeltaRefusal, FrameError, Outcome, SessionStats, SyncProtocolKind};
use syncline_types::{Hlc, PeerId, SimTime};

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The replica has started, or started again.
    Start,
    /// These peers can be reached now, and no others.
    Peers(Arc<[PeerId]>),
    /// The application writes. The operations take effect together.
    Write(Vec<Operation>),
    /// Bytes arrived.
    Frame {
        /// From whom, as the host knows.
        from: PeerId,
        /// The bytes.
        bytes: Bytes,
    },
    /// A timer ran out.
    Timer(Timer),
}

/// A timer of a replica. There is one of each name: setting it again moves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// Announce the root.
    Heartbeat,
    /// A session's request was not answered.
    Session(PeerId),
    /// An owed sync is due.
    Owed,
    /// Missing deltas did not come.
    Fetch,
}

/// Whether something is owed until a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// Work is waiting for it (**C4**).
    Sync,
    /// It recurs for ever and nobody waits for it.
    Housekeeping,
}

impl Timer {
    /// Whether something is owed until it fires.
    pub const fn kind(self) -> TimerKind {
        match self {
            Self::Heartbeat => TimerKind::Housekeeping,
            Self::Session(_) | Self::Owed | Self::Fetch => TimerKind::Sync,
        }
    }
}

/// A change to the replica's timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerOp {
    /// Fire at this time, instead of any time set before.
    Set {
        /// Which.
        timer: Timer,
        /// When.
        at: SimTime,
    },
    /// Do not fire.
    Cancel {
        /// Which.
        timer: Timer,
    },
}

/// What kind of message a frame carries, for counting and drawing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameKind {
    /// New writes.
    Delta,
    /// A root.
    Heartbeat,
    /// A wish for deltas, or its answer.
    DeltaFetch,
    /// A handshake, or its answer.
    Handshake,
    /// An exchange of deltas in a session, either way.
    DeltaSync,
    /// A round in which two states are compared, either way.
    Exchange,
    /// A page of a snapshot, or the wish for one.
    Snapshot,
}

impl FrameKind {
    /// Every kind.
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

/// The number of a kind: its place in [`FrameKind::ALL`].
impl From<FrameKind> for u8 {
    fn from(kind: FrameKind) -> Self {
        kind as Self
    }
}

/// A frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutgoingMessage {
    /// To whom.
    pub to: PeerId,
    /// The bytes.
    pub bytes: Bytes,
    /// What they carry.
    pub kind: FrameKind,
}

/// Why an arriving frame had no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is no frame for this replica.
    Frame(FrameError),
    /// It was sent before its sender's last restart.
    StaleIncarnation,
    /// It says what is known already, or answers what is not asked any more.
    Duplicate,
    /// There is no room for the delta; a sync is owed instead.
    BufferFull,
    /// A stamp lies too far ahead; a sync is owed for when the clocks agree.
    Drift,
    /// It holds a value of a type whose merge function is not registered here; a sync is owed.
    NoMerge,
    /// It breaks a rule that no honest peer breaks.
    Malformed,
    /// Whoever sent it, or wrote what it carries, is no member.
    NotAMember,
    /// It carries a delta that is not signed by its author.
    BadSignature,
    /// It carries a delta from before what every member had seen, which nobody had seen.
    LeftBehind,
}

/// Something worth counting or showing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Every member has seen everything up to a stamp, and what was dead before it is forgotten.
    Forgot {
        /// The stamp.
        horizon: Hlc,
        /// How many records that were.
        records: u64,
    },
    /// A session began.
    SessionStarted {
        /// With whom.
        peer: PeerId,
    },
    /// A session ended.
    SessionEnded {
        /// With whom.
        peer: PeerId,
        /// When it had begun.
        started_at: SimTime,
        /// How it ended.
        outcome: Outcome,
        /// The protocol that was chosen, if it came to that.
        protocol: Option<SyncProtocolKind>,
        /// Its figures.
        stats: SessionStats,
    },
    /// A delta was applied.
    DeltaApplied {
        /// How many actions it held.
        actions: u64,
    },
    /// A delta was refused because its author may not write or did not sign it, by whatever way it
    /// came: by gossip, in a session of ours or of the peer's.
    DeltaRefused {
        /// The peer that sent it, which is left alone for a while.
        from: PeerId,
        /// Why.
        refusal: DeltaRefusal,
    },
    /// A delta that had waited could not be applied when its turn came.
    DeltaDiscarded {
        /// Why.
        refusal: Refusal,
    },
    /// Deltas that had waited are given up: a sync with every peer that keeps the rules has shown that nobody
    /// has what they follow. It happens when disks have lost what they had acknowledged, and beside liars.
    DeltasStranded {
        /// How many.
        deltas: u64,
    },
    /// The application's write is accepted: durable once this step's batch is.
    WriteAccepted {
        /// What was asked for.
        operations: Vec<Operation>,
        /// What was written: one action for each operation.
        actions: Vec<Action>,
    },
    /// The application's write cannot be done; nothing of it was.
    WriteRefused {
        /// Why.
        error: OperationError,
    },
}

/// The effects of one step, to be honoured in the order of the fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncActions {
    /// Writes, all or nothing, before anything else.
    pub storage: WriteBatch,
    /// Frames to send, once the writes are durable.
    pub messages: Vec<OutgoingMessage>,
    /// Changes to timers, last.
    pub timers: Vec<TimerOp>,
    /// For a frame: why it had no effect, if it had none.
    pub refusal: Option<Refusal>,
    /// What is worth counting or showing.
    pub notices: Vec<Notice>,
    /// What the step cost.
    pub cost: Cost,
}

/// What a step cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Rows read.
    pub storage_reads: u64,
    /// Rows written.
    pub storage_writes: u64,
    /// SHA-256 hashes computed.
    pub hash_computations: u64,
    /// Deltas looked up or checked against what is covered.
    pub dag_lookups: u64,
}

/// The replica cannot go on: its own state failed. Stop it and look at the store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the replica must stop: {0}")]
pub struct ReplicaError(#[from] pub StorageError);
