//! Facts: what one acknowledged write says about one entity.

use crate::oracle::OracleWrite;
use syncline_crdt::{CrdtType, Element, Text, Value};
use syncline_replica::{Collection, Item, Operation};
use syncline_storage::{Action, Label};
use syncline_types::{EntityId, Hlc, ReplicaId};

/// What one write says about one entity. Values come from the requested operation, as far as the operation
/// contains them. The action provides stamps, ancestors, and the targets of an edit or a remove.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact<'a> {
    pub(super) id: EntityId,
    /// The number of its write, and of its operation within the write; `None` for initial state.
    pub(super) write: Option<(usize, usize)>,
    /// The path to the entity, from below the root down to its parent.
    pub(super) ancestors: &'a [EntityId],
    pub(super) label: &'a Label,
    /// The stamp of the write; [`Hlc::ZERO`] if the fact does not make the entity live.
    pub(super) updated_at: Hlc,
    /// The stamp of the delete; [`Hlc::ZERO`] if the fact does not delete the entity.
    pub(super) deleted_at: Hlc,
    pub(super) kind: FactKind<'a>,
}

/// The part of a fact that depends on the type.
#[derive(Clone, Copy, Debug)]
pub(super) enum FactKind<'a> {
    /// It says nothing about the value.
    Nothing,
    /// The entity is a collection of this type.
    Collection(CrdtType),
    /// A register, an opaque value or a frozen one was set.
    Bytes(CrdtType, &'a [u8]),
    /// An owner set its value.
    Owned(ReplicaId, &'a [u8]),
    /// A counter was changed by this amount.
    Counted(CrdtType, i128),
    /// An element was added, at the stamp of the fact.
    Added,
    /// This replica removed an element, as far as these adds go.
    Removed(&'a Element, ReplicaId),
    /// Adds and removes of an element, from initial state.
    Presence(&'a Element),
    /// A text was edited; the inserted text, if the operation has it.
    Edited(&'a Text, Option<&'a str>),
    /// A state was merged into a value of the application's own type with this name.
    Merged(&'a str, &'a [u8]),
}

impl FactKind<'_> {
    /// The type of the entity according to the fact.
    pub(super) const fn crdt_type(&self) -> CrdtType {
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
    /// The fact of an action of initial state.
    pub(super) fn initial(action: &'a Action) -> Self {
        Self::of(action, None, Self::kind_of_action(action))
    }

    /// The facts of write number `number`, one for each operation.
    pub(super) fn written(number: usize, write: &'a OracleWrite) -> impl Iterator<Item = Fact<'a>> + use<'a> {
        let author = write.author;
        let owner = write.owner;
        write.operations.iter().zip(&write.actions).enumerate().map(move |(at, (operation, action))| {
            let kind = Self::kind_of_operation(operation, action, author, owner);
            Self::of(action, Some((number, at)), kind)
        })
    }

    fn of(action: &'a Action, write: Option<(usize, usize)>, kind: FactKind<'a>) -> Self {
        const UNLABELLED: &Label = &Label::None;
        let (label, updated_at, deleted_at) = match action {
            Action::Add { metadata, .. } | Action::Update { metadata, .. } => {
                (&metadata.label, metadata.updated_at, Hlc::ZERO)
            }
            Action::DeleteRef { deleted_at, .. } => (UNLABELLED, Hlc::ZERO, *deleted_at),
        };
        // A removal writes nothing: it must not make an element live again.
        let updated_at = if matches!(kind, FactKind::Removed(..)) { Hlc::ZERO } else { updated_at };
        let ancestors = action.ancestors();
        Self { id: action.id(), write, ancestors, label, updated_at, deleted_at, kind }
    }

    fn kind_of_operation(
        operation: &'a Operation,
        action: &'a Action,
        author: ReplicaId,
        owner: ReplicaId,
    ) -> FactKind<'a> {
        use CrdtType::{FrozenValue, GCounter, LwwRegister, Opaque, PnCounter};
        match operation {
            Operation::Set { bytes, .. } | Operation::InsertItem { item: Item::Bytes(bytes), .. } => {
                FactKind::Bytes(LwwRegister, bytes)
            }
            Operation::SetOpaque { bytes, .. } => FactKind::Bytes(Opaque, bytes),
            Operation::Freeze { bytes, .. } => FactKind::Bytes(FrozenValue, bytes),
            Operation::SetOwn { bytes, .. } => FactKind::Owned(owner, bytes),
            Operation::Increment { by, .. } => FactKind::Counted(GCounter, i128::from(*by)),
            Operation::Change { by, .. } => FactKind::Counted(PnCounter, i128::from(*by)),
            Operation::Create { collection, .. }
            | Operation::InsertItem { item: Item::Collection(collection), .. } => {
                FactKind::Collection(kind(*collection))
            }
            Operation::AddElement { .. } => FactKind::Added,
            Operation::RemoveElement { .. } => match value(action) {
                Some(Value::Element(named)) => FactKind::Removed(named, author),
                _ => FactKind::Nothing,
            },
            Operation::InsertText { text, .. } => match value(action) {
                Some(Value::Rga(edit)) => FactKind::Edited(edit, Some(text)),
                _ => FactKind::Nothing,
            },
            Operation::Merge { name, bytes, .. } => FactKind::Merged(name, bytes),
            Operation::DeleteText { .. } | Operation::DeleteItem { .. } | Operation::Delete { .. } => {
                Self::kind_of_action(action)
            }
        }
    }

    fn kind_of_action(action: &'a Action) -> FactKind<'a> {
        // A delete has no value.
        let Some(value) = value(action) else { return FactKind::Nothing };
        match value {
            Value::Empty => FactKind::Nothing,
            Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
                FactKind::Bytes(value.crdt_type(), register.bytes())
            }
            Value::User(owned) => FactKind::Owned(owned.owner, owned.register.bytes()),
            Value::GCounter(counter) => FactKind::Counted(
                CrdtType::GCounter,
                counter.entries().map(|(_, count)| i128::from(count)).sum(),
            ),
            Value::PnCounter(counter) => {
                let net = |(_, (added, taken))| i128::from(added) - i128::from(taken);
                FactKind::Counted(CrdtType::PnCounter, counter.entries().map(net).sum())
            }
            Value::Element(element) => FactKind::Presence(element),
            Value::Rga(text) => FactKind::Edited(text, None),
            // A write carries one operand.
            Value::Custom(custom) => match custom.operands().first() {
                Some((_, bytes)) => FactKind::Merged(custom.name(), bytes),
                None => FactKind::Nothing,
            },
            Value::Map
            | Value::Set
            | Value::SortedMap
            | Value::SortedSet
            | Value::Vector
            | Value::UserStorage
            | Value::FrozenStorage => FactKind::Collection(value.crdt_type()),
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
