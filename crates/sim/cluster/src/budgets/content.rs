//! How large what an application writes, and what it sees, is by itself.

use syncline_crdt::{Text, Value};
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

/// The bytes that an application sees of a record, or will see once what it refers to has arrived: its key, and its value.
pub(super) fn of_record(record: &Record) -> u64 {
    let value = match &record.value {
        Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => register.bytes().len(),
        Value::User(owned) => owned.register.bytes().len(),
        Value::Rga(text) => of_text(text),
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

/// The bytes of the characters that are not deleted. A run counts even if the run that it was inserted beside has not
/// arrived yet: nobody sees it until then. O(characters).
fn of_text(text: &Text) -> usize {
    let mut deleted = text.deleted().peekable();
    let mut bytes = 0;
    for (id, run) in text.runs() {
        // Both are ascending by run.
        while deleted.next_if(|(other, _)| *other < id).is_some() {}
        let ranges = deleted.next_if(|(other, _)| *other == id).map_or(&[][..], |(_, ranges)| ranges);
        let mut ranges = ranges.iter().peekable();
        for (at, char) in (0..).zip(run.chars.chars()) {
            while ranges.next_if(|(_, end)| *end <= at).is_some() {}
            let is_deleted = ranges.peek().is_some_and(|(start, _)| *start <= at);
            bytes += if is_deleted { 0 } else { char.len_utf8() };
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::{Hlc, ReplicaId};

    fn edited(text: &Text, edit: &Text) -> Text {
        let mut edited = text.clone();
        edited.join(edit);
        edited
    }

    /// The first seed that showed it is 76,926: a paste arrives before what it was pasted beside.
    #[test]
    fn text_counts_without_what_was_deleted() {
        let stamp = |ms| Hlc::new(ms, 0, ReplicaId::from_u64(1));
        let first = Text::default().insert(0, "aé", stamp(1)).unwrap();
        let second = first.insert(1, "bcde", stamp(2)).unwrap();
        assert_eq!((second.to_string().as_str(), of_text(&second)), ("", 4), "it will be seen");
        let both = edited(&first, &second);
        assert_eq!((both.to_string().as_str(), of_text(&both)), ("abcdeé", 7));
        let third = edited(&both, &both.delete(2, 2).unwrap());
        assert_eq!((third.to_string().as_str(), of_text(&third)), ("abeé", 5));
        let all = edited(&third, &third.clear());
        assert_eq!((all.to_string().as_str(), of_text(&all)), ("", 0));
        // Deletions of a run that has not arrived.
        assert_eq!(of_text(&both.clear()), 0);
    }
}
