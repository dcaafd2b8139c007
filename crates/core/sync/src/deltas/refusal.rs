//! Why deltas are refused, and what a log answers.

use syncline_storage::StorageError;
use syncline_store::Bytes;

/// Why a delta was not applied. None of its actions was. This is the one list of such reasons; errors
/// of the layers above contain it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaRefusal {
    /// The state covers the delta already.
    #[error("the state covers the delta already")]
    Covered,
    /// A parent is not covered yet.
    #[error("a parent of the delta is not covered yet")]
    NotReady,
    /// The author had collected tombstones that this state still has. The delta waits until the horizon of this
    /// state is raised, which a session with a peer that has applied the delta does.
    #[error("the author of the delta had collected tombstones that this state still has")]
    HorizonAhead,
    /// A stamp is too far ahead of the local clock.
    #[error("a stamp of the delta is too far ahead of the local clock")]
    Drift,
    /// The delta breaks a rule that no honest author breaks.
    #[error("the delta breaks a rule")]
    Malformed,
    /// An action continues the path of an entity that this state does not have: it was deleted, and is collected
    /// here. A state sync brings what the delta changes.
    #[error("an entity below which the delta writes is not in this state")]
    MissingAncestor,
    /// The delta is older than the horizon of this state, and no member had seen it when the horizon was
    /// raised. It could bring back entities whose tombstones are collected.
    #[error("the delta is older than the horizon of this state")]
    LeftBehind,
    /// The author is not a member of this context, or not any more.
    #[error("the author of the delta is not a member")]
    NotAMember,
    /// The signature is missing, or is not the author's, or is for other content or another context.
    #[error("the signature of the delta is not valid")]
    BadSignature,
    /// The delta continues another history of its author than the one that this state covers: one of the author's
    /// numbers names two deltas. Its values were counted from that other history.
    #[error("the delta continues another history of its author than this state has")]
    AnotherHistory,
}

impl DeltaRefusal {
    /// Whether no honest author writes such a delta.
    pub const fn is_fault_of_author(self) -> bool {
        matches!(self, Self::Malformed) || self.is_unauthorized()
    }

    /// Whether the author or the signature is at fault. The peer that forwarded such a delta has forged
    /// it, does not check what it forwards, or knows another membership than this replica.
    pub const fn is_unauthorized(self) -> bool {
        matches!(self, Self::NotAMember | Self::BadSignature)
    }
}

/// Why applying a delta had no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaError {
    /// The delta was refused; the state is as it was.
    #[error(transparent)]
    Refused(#[from] DeltaRefusal),
    /// The local state failed. The transaction must not be committed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl DeltaError {
    /// The refusal of the delta, or the failure of the state.
    pub fn refusal(self) -> Result<DeltaRefusal, StorageError> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Storage(error) => Err(error),
        }
    }
}

/// The deltas that a peer lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MissingDeltas {
    /// The first of the missing deltas, in causal order.
    Deltas {
        /// The canonical bytes of each delta.
        deltas: Vec<Bytes>,
        /// Whether `deltas` contains all of them.
        complete: bool,
    },
    /// The log does not store some of them any more: the peer needs a state sync.
    BelowFloor,
}
