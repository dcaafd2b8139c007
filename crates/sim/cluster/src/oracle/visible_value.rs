//! The value of an entity as an application sees it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use syncline_crdt::{CrdtType, Unmerged, Value};
use syncline_storage::BytesPreview;
use syncline_types::ReplicaId;

/// The value of one entity as an application sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum VisibleValue<'a> {
    /// A collection of this type.
    Collection(CrdtType),
    /// A register, an opaque value or a frozen one.
    Bytes(CrdtType, Cow<'a, [u8]>),
    /// The bytes that the owner wrote.
    Owned(ReplicaId, Cow<'a, [u8]>),
    /// The total of a counter.
    Count(CrdtType, i128),
    /// An element that is in its set.
    Present,
    /// The characters of a text.
    Text(String),
    /// A value of the application's own type.
    Merged(Cow<'a, str>, Arc<[u8]>),
    /// A value of the application's own type whose operands are not merged.
    Unmerged(Unmerged),
    /// The value depends on which tombstones a replica has collected: an element whose only remaining add was hidden
    /// by a delete of the set, or a position whose former type only holders of its tombstone know; or on a write that
    /// only a disk had that was replaced.
    Undetermined,
}

impl<'a> VisibleValue<'a> {
    /// The visible value of a visible record, read as applications read it. The merge functions say what a value of
    /// an own type shows; here it is a [`VisibleValue::Collection`] of operands.
    pub(crate) fn of(value: &'a Value) -> Self {
        match value {
            Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
                Self::Bytes(value.crdt_type(), register.bytes().into())
            }
            Value::User(owned) => Self::Owned(owned.owner, owned.register.bytes().into()),
            Value::GCounter(counter) => {
                Self::Count(CrdtType::GCounter, i128::try_from(counter.total()).unwrap_or(i128::MAX))
            }
            Value::PnCounter(counter) => Self::Count(CrdtType::PnCounter, counter.total()),
            Value::Element(_) => Self::Present,
            Value::Rga(text) => Self::Text(text.to_string()),
            Value::Custom(_)
            | Value::Empty
            | Value::Map
            | Value::Set
            | Value::SortedMap
            | Value::SortedSet
            | Value::Vector
            | Value::UserStorage
            | Value::FrozenStorage => Self::Collection(value.crdt_type()),
        }
    }
}

impl fmt::Display for VisibleValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collection(kind) => write!(f, "a {kind}"),
            Self::Bytes(CrdtType::LwwRegister, bytes) => write!(f, "{}", BytesPreview(bytes)),
            Self::Bytes(CrdtType::Opaque, bytes) => write!(f, "opaque {}", BytesPreview(bytes)),
            Self::Bytes(_, bytes) => write!(f, "frozen {}", BytesPreview(bytes)),
            Self::Owned(owner, bytes) => write!(f, "{} of {owner}", BytesPreview(bytes)),
            Self::Count(_, count) => write!(f, "the count {count}"),
            Self::Present => write!(f, "an element of its set"),
            Self::Text(text) => write!(f, "the text {text:?}"),
            Self::Merged(name, bytes) => write!(f, "{name} {}", BytesPreview(bytes)),
            Self::Unmerged(unmerged) => write!(f, "{unmerged}"),
            Self::Undetermined => write!(f, "what depends on collected tombstones"),
        }
    }
}
