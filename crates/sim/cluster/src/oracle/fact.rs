//! What one acknowledged write says of one entity.

use crate::node::replica_id;
use crate::oracle::Acknowledged;
use syncline_crdt::{CrdtType, Element, Text, Value};
use syncline_replica::{Collection, Item, Operation};
use syncline_storage::{Action, Label};
use syncline_types::{EntityId, Hlc, ReplicaId};

/// What one write says of one entity. Values are taken from what the application asked for, as far as
/// that says them; from the action come stamps, places, and what an edit or a remove refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact<'a> {
    pub(super) id: EntityId,
    /// Which write it is part of, and which of its operations; `None` for what nodes began with.
    pub(super) write: Option<(usize, usize)>,
    /// The path to the entity, from below the root down to its parent.
    pub(super) ancestors: &'a [EntityId],
    pub(super) label: &'a Label,
    /// When it was written; [`Hlc::ZERO`] if this does not make it live.
    pub(super) updated_at: Hlc,
    /// When it was deleted; [`Hlc::ZERO`] if this does not delete it.
    pub(super) deleted_at: Hlc,
    pub(super) said: Said<'a>,
}

/// The part of a fact that depends on the type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    /// Nothing of a value.
    Nothing,
    /// It is a collection of this kind.
    Collection(CrdtType),
    /// A register, an opaque value or a frozen one was set.
    Bytes(CrdtType, &'a [u8]),
    /// A value of an owner was set.
    Owned(ReplicaId, &'a [u8]),
    /// A counter was changed by this.
    Counted(CrdtType, i128),
    /// An element was added, at the stamp of the fact.
    Added,
    /// An element was removed, as far as these adds go, by this replica.
    Removed(&'a Element, ReplicaId),
    /// Adds and removes of an element.
    Presence(&'a Element),
    /// A text was edited; what was inserted, if it is known from the application.
    Edited(&'a Text, Option<&'a str>),
    /// A state was merged into a value of the application's own type.
    Merged(&'a str, &'a [u8]),
}

impl Said<'_> {
    /// The type that the entity has by this.
    pub(super) const fn kind(&self) -> CrdtType {
        match self {
            Self::Nothing => CrdtType::Placeholder,
            Self::Collection(kind) | Self::Bytes(kind, _) | Self::Counted(kind, _) => *kind,
            Self::Owned(..) => CrdtType::UserValue,
            Self::Added | Self::Removed(..) | Self::Presence(_) => CrdtType::SetElement,
            Self::Edited(..) => CrdtType::Rga,
            Self::Merged(..) => CrdtType::Custom,
        }
    }
}

impl<'a> Fact<'a> {
    /// What an action says that nodes began with.
    pub(super) fn begun(action: &'a Action) -> Self {
        Self::of(action, None, Self::said_by(action))
    }

    /// What the operations of a write say, the `number`-th.
    pub(super) fn written(
        number: usize,
        write: &'a Acknowledged,
    ) -> impl Iterator<Item = Fact<'a>> + use<'a> {
        let author = replica_id(write.node);
        write.operations.iter().zip(&write.actions).enumerate().map(move |(at, (operation, action))| {
            let said = Self::said(operation, action, author);
            Self::of(action, Some((number, at)), said)
        })
    }

    fn of(action: &'a Action, write: Option<(usize, usize)>, said: Said<'a>) -> Self {
        const UNLABELLED: &Label = &Label::None;
        let (label, updated_at, deleted_at) = match action {
            Action::Add { metadata, .. } | Action::Update { metadata, .. } => {
                (&metadata.label, metadata.updated_at, Hlc::ZERO)
            }
            Action::DeleteRef { deleted_at, .. } => (UNLABELLED, Hlc::ZERO, *deleted_at),
        };
        let ancestors = action.ancestors();
        Self { id: action.id(), write, ancestors, label, updated_at, deleted_at, said }
    }

    fn said(operation: &'a Operation, action: &'a Action, author: ReplicaId) -> Said<'a> {
        use CrdtType::{FrozenValue, GCounter, LwwRegister, Opaque, PnCounter};
        match operation {
            Operation::Set { bytes, .. } | Operation::InsertItem { item: Item::Bytes(bytes), .. } => {
                Said::Bytes(LwwRegister, bytes)
            }
            Operation::SetOpaque { bytes, .. } => Said::Bytes(Opaque, bytes),
            Operation::Freeze { bytes, .. } => Said::Bytes(FrozenValue, bytes),
            Operation::SetOwn { bytes, .. } => Said::Owned(author, bytes),
            Operation::Increment { by, .. } => Said::Counted(GCounter, i128::from(*by)),
            Operation::Change { by, .. } => Said::Counted(PnCounter, i128::from(*by)),
            Operation::Create { collection, .. }
            | Operation::InsertItem { item: Item::Collection(collection), .. } => {
                Said::Collection(kind(*collection))
            }
            Operation::AddElement { .. } => Said::Added,
            Operation::RemoveElement { .. } => match value(action) {
                Some(Value::Element(named)) => Said::Removed(named, author),
                _ => Said::Nothing,
            },
            Operation::InsertText { text, .. } => match value(action) {
                Some(Value::Rga(edit)) => Said::Edited(edit, Some(text)),
                _ => Said::Nothing,
            },
            Operation::Merge { name, bytes, .. } => Said::Merged(name, bytes),
            Operation::DeleteText { .. } | Operation::DeleteItem { .. } | Operation::Delete { .. } => {
                Self::said_by(action)
            }
        }
    }

    fn said_by(action: &'a Action) -> Said<'a> {
        let Some(value) = value(action) else { return Said::Nothing };
        match value {
            Value::Empty => Said::Nothing,
            Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
                Said::Bytes(value.crdt_type(), register.bytes())
            }
            Value::User(owned) => Said::Owned(owned.owner, owned.register.bytes()),
            Value::GCounter(counter) => {
                Said::Counted(CrdtType::GCounter, counter.entries().map(|(_, count)| i128::from(count)).sum())
            }
            Value::PnCounter(counter) => {
                let net = |(_, (added, taken))| i128::from(added) - i128::from(taken);
                Said::Counted(CrdtType::PnCounter, counter.entries().map(net).sum())
            }
            Value::Element(element) => Said::Presence(element),
            Value::Rga(text) => Said::Edited(text, None),
            Value::Custom(custom) => Said::Merged(&custom.name, &custom.bytes),
            Value::Map
            | Value::Set
            | Value::SortedMap
            | Value::SortedSet
            | Value::Vector
            | Value::UserStorage
            | Value::FrozenStorage => Said::Collection(value.crdt_type()),
        }
    }
}

const fn value(action: &Action) -> Option<&Value> {
    match action {
        Action::Add { value, .. } | Action::Update { value, .. } => Some(value),
        Action::DeleteRef { .. } => None,
    }
}

const fn kind(collection: Collection) -> CrdtType {
    match collection {
        Collection::Map => CrdtType::UnorderedMap,
        Collection::SortedMap => CrdtType::SortedMap,
        Collection::Set => CrdtType::UnorderedSet,
        Collection::SortedSet => CrdtType::SortedSet,
        Collection::List => CrdtType::Vector,
        Collection::UserStorage => CrdtType::UserStorage,
        Collection::FrozenStorage => CrdtType::FrozenStorage,
    }
}
