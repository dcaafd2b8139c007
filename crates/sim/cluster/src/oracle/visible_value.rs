//! What an application sees of an entity.

use std::borrow::Cow;
use std::fmt;
use syncline_crdt::{CrdtType, Value};
use syncline_storage::BytesPreview;
use syncline_types::ReplicaId;

/// What an application sees of one entity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen<'a> {
    /// There is a collection of this kind.
    Collection(CrdtType),
    /// A register, an opaque value or a frozen one.
    Bytes(CrdtType, Cow<'a, [u8]>),
    /// What its owner wrote.
    Owned(ReplicaId, Cow<'a, [u8]>),
    /// A counter.
    Count(CrdtType, i128),
    /// The element is in its set.
    Present,
    /// A text.
    Text(String),
    /// A value of the application's own type.
    Merged(Cow<'a, str>, Cow<'a, [u8]>),
    /// What hangs on whether something was forgotten: an element of which only an add is left that a delete
    /// of the set had hidden, a place whose former type only those know who still have its tombstone.
    Either,
}

impl<'a> Seen<'a> {
    /// What the value of a visible record shows, read as applications read it.
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
            Value::Custom(custom) => Self::Merged((&custom.name).into(), (&custom.bytes).into()),
            Value::Empty
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

impl fmt::Display for Seen<'_> {
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
            Self::Either => write!(f, "what hangs on what was forgotten"),
        }
    }
}
