//! What can go wrong, sorted by what the caller should do about it.

use syncline_store::StoreError;
use syncline_types::{DecodeError, DriftError, EntityId, InternalError, ReplicaId, limits};

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Nothing is wrong for good; the same input may be accepted later.
    RetryLater,
    /// The sender broke a rule; count it and do not try again.
    BlamePeer,
    /// The local state cannot be trusted; stop this replica.
    Stop,
}

/// The state cannot be read or is not what was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row does not decode.
    #[error("damaged row of {what}: {error}")]
    Row {
        /// Which kind of row.
        what: &'static str,
        /// Why it does not decode.
        error: DecodeError,
    },
    /// The index and the records disagree.
    #[error("the index is inconsistent: {what}")]
    Index {
        /// What was expected and missing.
        what: &'static str,
    },
    /// An invariant of this program does not hold. The store is not to blame.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl StorageError {
    pub(crate) fn row(what: &'static str) -> impl FnOnce(DecodeError) -> Self {
        move |error| Self::Row { what, error }
    }
}

/// A rule about records and actions that a sender broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The path to the entity names the entity itself, the root, or something twice.
    #[error("the path to {id} is not a path")]
    Path {
        /// The entity.
        id: EntityId,
    },
    /// The entity lies deeper than a tree may grow.
    #[error("{id} lies {depth} deep; the limit is {}", limits::MAX_ANCESTORS)]
    TooDeep {
        /// The entity.
        id: EntityId,
        /// Its depth.
        depth: u64,
    },
    /// A register claims to be newer than the record that holds it.
    #[error("the value of {id} is newer than its record")]
    ValueAfterRecord {
        /// The entity.
        id: EntityId,
    },
    /// A payload exceeds its bound.
    #[error("the value of {id} takes {bytes} bytes; the limit is {}", limits::MAX_VALUE_BYTES)]
    ValueTooLarge {
        /// The entity.
        id: EntityId,
        /// Its size.
        bytes: usize,
    },
    /// A value names more replicas than may take part.
    #[error("the value of {id} names {found} replicas; the limit is {}", limits::MAX_REPLICAS)]
    TooManyReplicas {
        /// The entity.
        id: EntityId,
        /// How many.
        found: usize,
    },
    /// A label or the name of a type exceeds its bound.
    #[error("a name of {bytes} bytes for {id}; the limit is {}", limits::MAX_LABEL_BYTES)]
    LabelTooLong {
        /// The entity.
        id: EntityId,
        /// Its length.
        bytes: usize,
    },
    /// Somebody else wrote a value that only its owner writes.
    #[error("{id} belongs to replica {owner}, who did not write this")]
    NotOwner {
        /// The entity.
        id: EntityId,
        /// Whose it is.
        owner: ReplicaId,
    },
    /// A write without a value.
    #[error("a write to {id} carries no value")]
    NoValue {
        /// The entity.
        id: EntityId,
    },
}

/// Why a change was not applied. Nothing of it was (**L5**).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A stamp lies too far in the future.
    #[error(transparent)]
    Drift(#[from] DriftError),
    /// The change breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The value is of an application's own type, whose merge function is not registered here. Register
    /// it and sync again.
    #[error("{id} is of the type {name:?}, for which no merge function is registered here")]
    NoMerge {
        /// The entity.
        id: EntityId,
        /// The type.
        name: String,
    },
    /// The record's parent is not here, or not yet in its place.
    #[error("{id} belongs under {parent}, which is not here yet")]
    MissingParent {
        /// The entity.
        id: EntityId,
        /// Its parent.
        parent: EntityId,
    },
    /// The state itself failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ApplyError {
    /// What to do about it.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Drift(_) | Self::MissingParent { .. } | Self::NoMerge { .. } => Disposition::RetryLater,
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
