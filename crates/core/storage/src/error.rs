//! Errors of the state, and what the caller should do about each.

use syncline_store::StoreError;
use syncline_types::{DecodeError, DriftError, EntityId, InternalError, ReplicaId, limits};

/// How the caller should react to an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Retry later: the same input may be accepted then.
    RetryLater,
    /// The sender broke a rule: count it against the sender and do not retry.
    BlamePeer,
    /// The local state cannot be trusted: stop this replica.
    Stop,
}

/// The state cannot be read, or an invariant does not hold. Either way the replica must stop.
///
/// [`StorageError::Row`] and [`StorageError::Index`] say that the store is damaged.
/// [`StorageError::Internal`] says that this program has a bug.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store failed to read or write.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored row does not decode.
    #[error("damaged row of {what}: {error}")]
    Row {
        /// The kind of row.
        what: &'static str,
        /// Why the row does not decode.
        error: DecodeError,
    },
    /// Rows are missing, or the index and the records disagree: the store is damaged.
    #[error("the index is inconsistent: {what}")]
    Index {
        /// The row or relation that was expected and is missing.
        what: &'static str,
    },
    /// An invariant of this program does not hold. The store is not to blame.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl StorageError {
    /// Turns the decode error of a stored row of this kind into a storage error.
    pub(crate) fn row(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |error| Self::Row { what, error }
    }

    /// The error of a case that no input, peer or disk can cause: `invariant` should have been true. Stops
    /// tests where it happens.
    #[cold]
    #[track_caller]
    pub(crate) fn internal(invariant: &'static str) -> Self {
        debug_assert!(false, "{invariant}");
        InternalError::broken(invariant).into()
    }
}

/// A rule about records and actions that a sender broke. `id` is the entity in question throughout.
#[allow(missing_docs, reason = "the names of the fields say what they hold")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The path to the entity contains the entity itself, the root, or a repeated entity.
    #[error("the path to {id} is not valid")]
    Path { id: EntityId },
    /// The depth of the entity exceeds [`limits::MAX_ANCESTORS`].
    #[error("{id} has depth {depth}; the limit is {}", limits::MAX_ANCESTORS)]
    TooDeep { id: EntityId, depth: u64 },
    /// A stamp inside the value is later than the last write of its record.
    #[error("the value of {id} is newer than its record")]
    ValueAfterRecord { id: EntityId },
    /// A value exceeds its limit in bytes.
    #[error("the value of {id} takes {bytes} bytes; the limit is {limit}")]
    ValueTooLarge { id: EntityId, bytes: usize, limit: usize },
    /// A value names more than [`limits::MAX_REPLICAS`] replicas.
    #[error("the value of {id} names {found} replicas; the limit is {}", limits::MAX_REPLICAS)]
    TooManyReplicas { id: EntityId, found: usize },
    /// A write of a custom value does not carry exactly one operand with the stamp of the write.
    #[error("a write to {id} carries {found} operands; it must carry one, with the stamp of the write")]
    Operands { id: EntityId, found: usize },
    /// A label or the name of a type exceeds its limit in bytes.
    #[error("a name of {bytes} bytes for {id}; the limit is {limit}")]
    LabelTooLong { id: EntityId, bytes: usize, limit: usize },
    /// A replica wrote a value that only its owner may write.
    #[error("{id} belongs to replica {owner}, who did not write this")]
    NotOwner { id: EntityId, owner: ReplicaId },
    /// A write carries no value.
    #[error("a write to {id} carries no value")]
    NoValue { id: EntityId },
}

/// Why a change was not applied. A refused change has no effect at all (**L5**).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A stamp is too far ahead of the local clock.
    #[error(transparent)]
    Drift(#[from] DriftError),
    /// The change breaks a rule that every replica enforces.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The parent of the record is missing here, or is not at a smaller depth than the record.
    #[error("{id} belongs under {parent}, which is not here yet")]
    MissingParent {
        /// The entity that the change is about.
        id: EntityId,
        /// The parent that the record names.
        parent: EntityId,
    },
    /// The state cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ApplyError {
    /// How the caller should react to this error.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Drift(_) | Self::MissingParent { .. } => Disposition::RetryLater,
            Self::Malformed(_) => Disposition::BlamePeer,
            Self::Storage(_) => Disposition::Stop,
        }
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.into())
    }
}
