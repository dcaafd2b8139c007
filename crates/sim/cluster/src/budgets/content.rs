//! How large what an application writes, and what it sees, is by itself.

use syncline_crdt::Value;
use syncline_replica::{Item, Operation, Target};
use syncline_storage::Record;
use syncline_types::EntityId;

/// The bytes that name an entity: the path to it, and its key.
fn path(target: &Target) -> u64 {
    let ids = (1 + target.ancestors.len()) * size_of::<EntityId>();
    (ids + target.label.bytes().map_or(0, <[u8]>::len)) as u64
}

/// The bytes of an operation as an application hands it over: the path to its entity, and the content.
pub(super) fn of_operation(operation: &Operation) -> u64 {
    let content = match operation {
        Operation::Set { bytes, .. }
        | Operation::SetOpaque { bytes, .. }
        | Operation::SetOwn { bytes, .. }
        | Operation::Freeze { bytes, .. }
        | Operation::InsertItem { item: Item::Bytes(bytes), .. } => bytes.len(),
        Operation::Merge { name, bytes, .. } => name.len() + bytes.len(),
        Operation::InsertText { text, .. } => text.len(),
        Operation::Increment { .. } | Operation::Change { .. } => size_of::<u64>(),
        Operation::Create { .. }
        | Operation::AddElement { .. }
        | Operation::RemoveElement { .. }
        | Operation::InsertItem { .. }
        | Operation::DeleteItem { .. }
        | Operation::DeleteText { .. }
        | Operation::Delete { .. } => 0,
    };
    path(operation.named_target()) + content as u64
}

/// The name of the kind of an operation, as in case files.
pub(super) const fn kind_of(operation: &Operation) -> &'static str {
    match operation {
        Operation::Set { .. } => "set",
        Operation::SetOpaque { .. } => "set_opaque",
        Operation::Increment { .. } => "increment",
        Operation::Change { .. } => "change",
        Operation::Create { .. } => "create",
        Operation::AddElement { .. } => "add_element",
        Operation::RemoveElement { .. } => "remove_element",
        Operation::InsertItem { .. } => "insert_item",
        Operation::DeleteItem { .. } => "delete_item",
        Operation::InsertText { .. } => "insert_text",
        Operation::DeleteText { .. } => "delete_text",
        Operation::SetOwn { .. } => "set_own",
        Operation::Freeze { .. } => "freeze",
        Operation::Merge { .. } => "merge",
        Operation::Delete { .. } => "delete",
    }
}

/// The bytes that an application sees of a record: its key, and its value.
pub(super) fn of_record(record: &Record) -> u64 {
    let value = match &record.value {
        Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => register.bytes().len(),
        Value::User(owned) => owned.register.bytes().len(),
        Value::Rga(text) => text.to_string().len(),
        Value::Custom(custom) => custom.name().len() + custom.bytes(),
        Value::GCounter(_) | Value::PnCounter(_) | Value::Element(_) => size_of::<u64>(),
        Value::Empty
        | Value::Map
        | Value::Set
        | Value::SortedMap
        | Value::SortedSet
        | Value::Vector
        | Value::UserStorage
        | Value::FrozenStorage => 0,
    };
    (record.label.bytes().map_or(0, <[u8]>::len) + value) as u64
}
