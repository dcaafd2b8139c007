//! How sessions end, and what they count.

use crate::deltas::{DeltaRef, DeltaRefusal, Dot, HistoryClaim};
use crate::messages::{Rejection, SyncProtocolKind};
use std::fmt;
use syncline_storage::StorageError;
use syncline_types::{Digest, ReplicaId};

/// How a session ended. The list is closed: "success without convergence" does not exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The roots of both sides were compared at the end and are equal.
    Converged {
        /// The common root.
        root: Digest,
    },
    /// Another session is pending, and nothing is wrong.
    SyncPending(RetryReason),
    /// The session could not do its work.
    Failed(FailureReason),
}

/// Why another session is needed after one that ended without a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryReason {
    /// One side accepted writes or collected tombstones during the session.
    NewerWrites,
    /// One side's clock does not accept the other side's stamps yet.
    ClockDrift,
    /// The peer has a session with this replica as its initiator at the same time, and goes first.
    Yielded,
    /// A snapshot of a larger state was partly received from another peer; this peer has much less.
    PeerBehind,
    /// The peer has restarted since the handshake and does not know this session any more.
    PeerRestarted,
}

impl RetryReason {
    /// The reason in words, as reports print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewerWrites => "newer writes",
            Self::ClockDrift => "clock drift",
            Self::Yielded => "yielded",
            Self::PeerBehind => "peer behind",
            Self::PeerRestarted => "peer restarted",
        }
    }
}

/// Why a session could not do its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailureReason {
    /// The peer did not answer, although the request was retransmitted.
    Timeout,
    /// The peer rejected the session.
    Rejected(Rejection),
    /// The two sides have no protocol in common.
    NoCommonProtocol,
    /// The peer's choice of protocol differs from the decision table's.
    WrongVerdict {
        /// The peer's choice.
        theirs: SyncProtocolKind,
        /// The decision table's choice.
        ours: SyncProtocolKind,
    },
    /// The peer sent what no honest peer sends.
    Protocol(ProtocolBreach),
    /// A snapshot does not have the promised root; no part of it was used (**I7**).
    SnapshotMismatch {
        /// The root that the peer promised.
        promised: Digest,
        /// The root of the received state.
        computed: Digest,
    },
    /// Everything was exchanged, neither side accepted writes, and the roots still differ. Either side has
    /// a bug, or the peer is an adversary.
    #[allow(missing_docs, reason = "the roots of both sides")]
    StillDiverged { ours: Digest, theirs: Digest },
    /// The session exceeded one of its bounds, or took more rounds than its results justify.
    TooLong,
    /// The peer claims to be a replica that is not a member, or not any more. None of its data is used.
    NotAMember {
        /// The id that the peer claims.
        replica: ReplicaId,
    },
    /// The peer sent a delta whose author may not write, or whose signature is not valid.
    Unauthorized(DeltaRefusal),
    /// One side has collected tombstones that every member had seen, but the other side has not seen
    /// them: it was away while it was not a member, and could bring deleted entities back. Its host brings it
    /// back under a new id; see [`HistoryConflict::LeftBehind`](crate::HistoryConflict::LeftBehind).
    LeftBehind,
    /// The peer's last delta is another one than this replica has under its number: the peer shares its id with
    /// another store, or its store is an old one. Nothing is taken from it.
    PeerForked {
        /// The peer's delta that this replica has.
        delta: DeltaRef,
    },
    /// The peer claims to know a delta of this replica that its store does not hold. This replica asks for the delta
    /// and takes nothing from the peer before it has seen it.
    UnprovenHistory {
        /// The number of the delta.
        claimed: Dot,
    },
}

/// What a peer sent that no honest peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolBreach {
    /// A response of another type than the request.
    #[error("an answer to another question")]
    UnexpectedResponse,
    /// A handshake for another version or context.
    #[error("another version or context")]
    AnotherVersionOrContext,
    /// A handshake that cannot be true; see [`Rejection::Implausible`].
    #[error("a history or a horizon that is impossible")]
    ImplausibleHandshake,
    /// A reply with more answers than the request has questions, or with another form of digests.
    #[error("more answers than questions")]
    MoreAnswersThanQuestions,
    /// A reply without any answer.
    #[error("no answer to any question")]
    NoAnswer,
    /// An answer of another type than its question.
    #[error("an answer of another kind")]
    AnswerOfAnotherKind,
    /// A refusal of a record that follows all rules.
    #[error("an honest record was refused")]
    HonestRecordRefused,
    /// An index node deeper than ids are long.
    #[error("a node below the length of ids")]
    NodeBelowIds,
    /// Children that do not follow the cursor of the question.
    #[error("children out of order")]
    ChildrenOutOfOrder,
    /// A page of a subtree without records that is not the last one.
    #[error("an empty page of a subtree")]
    EmptySubtreePage,
    /// A page of a subtree that ends at the cursor it began with.
    #[error("a page of a subtree whose cursor does not advance")]
    SubtreePageLeadsNowhere,
    /// More cells than requested.
    #[error("more cells than asked for")]
    MoreCellsThanRequested,
    /// An answer without cells.
    #[error("no cells")]
    NoCells,
    /// A page that contains none of the requested records.
    #[error("a page of other records")]
    PageOfOtherRecords,
    /// A sample of cells where the protocol needs the whole difference.
    #[error("a sample where the whole difference is needed")]
    SampleForWhole,
    /// A record that does not decode.
    #[error("a record that does not decode")]
    RecordNotDecoded,
    /// A record that breaks a rule of the state.
    #[error("a record that breaks a rule")]
    RecordBreaksRule,
    /// A delta that does not decode.
    #[error("a delta that does not decode")]
    DeltaNotDecoded,
    /// A delta that breaks a rule of deltas.
    #[error("a delta that breaks a rule")]
    DeltaBreaksRule,
    /// A snapshot page of another state than the requested one.
    #[error("a page of another state")]
    PageOfAnotherState,
    /// A snapshot page whose cursor does not move forward.
    #[error("a page whose cursor does not advance")]
    PageLeadsNowhere,
    /// A snapshot page that does not unpack.
    #[error("a page that does not unpack")]
    PageNotUnpacked,
    /// A snapshot page without records that is not the last one.
    #[error("an empty page")]
    EmptyPage,
}

/// Why an answer ends the session: a fault of the peer, or of the local state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ReplyError {
    #[error(transparent)]
    Breach(#[from] ProtocolBreach),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<HistoryClaim> for FailureReason {
    fn from(claim: HistoryClaim) -> Self {
        match claim {
            HistoryClaim::Own(claimed) => Self::UnprovenHistory { claimed },
            HistoryClaim::Peers(delta) => Self::PeerForked { delta },
        }
    }
}

impl FailureReason {
    /// Whether another session would fail for the same reason, until the membership or one of the two
    /// states changes.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::NotAMember { .. } | Self::LeftBehind | Self::Rejected(Rejection::NotAMember))
    }

    /// Whether the peer did what no honest peer does. A peer that is unreachable, slow, or of another
    /// version is no adversary, and may still have data that this replica lacks.
    pub const fn is_breach(&self) -> bool {
        matches!(
            self,
            Self::WrongVerdict { .. }
                | Self::Protocol(_)
                | Self::SnapshotMismatch { .. }
                | Self::StillDiverged { .. }
                | Self::Unauthorized(_)
        )
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => write!(f, "the peer did not answer"),
            Self::Rejected(rejection) => write!(f, "{rejection}"),
            Self::NoCommonProtocol => write!(f, "the two sides have no protocol in common"),
            Self::WrongVerdict { theirs, ours } => {
                write!(f, "the peer chose {theirs} where the table says {ours}")
            }
            Self::Protocol(breach) => write!(f, "the peer broke the protocol: {breach}"),
            Self::SnapshotMismatch { promised, computed } => {
                write!(f, "a snapshot promised root {promised} and has {computed}")
            }
            Self::StillDiverged { ours, theirs } => {
                write!(f, "all was exchanged and root {ours} still differs from the peer's {theirs}")
            }
            Self::TooLong => write!(f, "the session exceeded its bounds"),
            Self::NotAMember { replica } => write!(f, "the peer is replica {replica}, which is not a member"),
            Self::Unauthorized(refusal) => write!(f, "the peer gave a delta that is refused: {refusal:?}"),
            Self::LeftBehind => {
                write!(f, "one side has collected tombstones that the other side has yet to see")
            }
            Self::PeerForked { delta } => {
                write!(f, "the peer has another delta than {} under its number {}", delta.id, delta.dot.seq)
            }
            Self::UnprovenHistory { claimed } => {
                write!(f, "the peer claims to know our delta {claimed}, which our store does not hold")
            }
        }
    }
}

/// Figures of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionStats {
    /// Requests that were answered.
    pub round_trips: u64,
    /// Retransmissions of requests.
    pub retries: u64,
    /// Entities whose digests were compared.
    pub entities_compared: u64,
    /// Records that were received and joined.
    pub records_received: u64,
    /// Records that were sent.
    pub records_pushed: u64,
    /// Deltas that were received and applied.
    pub deltas_received: u64,
    /// Deltas that were sent.
    pub deltas_pushed: u64,
    /// Bytes of these records and deltas, in both directions.
    pub bytes: u64,
    /// Cells of the peer's sketch that were received.
    pub cells: u64,
    /// 1 if the session walked down the index, be it from the start or after another protocol; otherwise 0.
    /// Repeated walks are not counted.
    pub walks: u64,
}
