//! Entities and operations in words, for people: names and values instead of ids and bytes.

use crate::workload::{COLLECTIONS, Write};
use syncline_crdt::position;
use syncline_replica::{Collection, Item, Operation, Target};
use syncline_storage::BytesPreview;
use syncline_sync::Outcome;
use syncline_types::EntityId;

/// The label of an entity in words: as text, as a number, or as bytes.
pub fn label_words(label: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 8]>::try_from(label) {
        // Workloads number the keys of maps in one byte order, and those of sorted collections in the other.
        let number = u64::from_le_bytes(bytes).min(u64::from_be_bytes(bytes));
        if number < 1 << 32 {
            return number.to_string();
        }
    }
    match std::str::from_utf8(label) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
        _ => BytesPreview(label).to_string(),
    }
}

/// The name of an entity of which only the id is known. An id is the hash of the name, so a name that gives the id is
/// the one; names that workloads use are tried.
pub(crate) fn guessed_name(above: EntityId, id: EntityId) -> Option<String> {
    const KEYS: u64 = 1_000;
    if above == EntityId::ROOT {
        let names = COLLECTIONS.iter().chain(&["text"]);
        let name = names.copied().find(|name| EntityId::child_of(above, name.as_bytes()) == id)?;
        return Some(name.to_owned());
    }
    let key = (0..KEYS).find(|key| EntityId::child_of(above, &key.to_le_bytes()) == id)?;
    Some(key.to_string())
}

/// The path to an entity from below the root, such as `map / 3`.
fn place(target: &Target) -> String {
    let mut above = EntityId::ROOT;
    let mut steps = Vec::with_capacity(target.ancestors.len() + 1);
    for id in &target.ancestors {
        steps.push(guessed_name(above, *id).unwrap_or_else(|| format!("entity {id}")));
        above = *id;
    }
    steps.push(own_name(above, target));
    steps.join(" / ")
}

/// The name of an entity within its parent `above`.
fn own_name(above: EntityId, target: &Target) -> String {
    match target.label.bytes() {
        Some(label) if position::is_position(label) => format!("item {}", target.id),
        Some(label) => label_words(label),
        None => guessed_name(above, target.id).unwrap_or_else(|| format!("entity {}", target.id)),
    }
}

/// An element, and the set that it is or is not in.
fn element(target: &Target) -> (String, String) {
    let Some((set, above)) = target.ancestors.split_last() else {
        return (place(target), "the root".to_owned());
    };
    let label = syncline_storage::Label::None;
    let set = Target { id: *set, ancestors: above.to_vec(), label };
    (own_name(set.id, target), place(&set))
}

/// A kind of collection in words, with its article.
pub(crate) const fn collection_words(collection: Collection) -> &'static str {
    match collection {
        Collection::Map => "a map",
        Collection::SortedMap => "a sorted map",
        Collection::Set => "a set",
        Collection::SortedSet => "a sorted set",
        Collection::List => "a list",
        Collection::UserStorage => "a user storage",
        Collection::FrozenStorage => "a frozen storage",
    }
}

/// What an operation does, to follow the name of who does it: `sets register 3 to "value 417"`.
pub fn operation_words(operation: &Operation) -> String {
    let shown = |bytes: &[u8]| BytesPreview(bytes).to_string();
    match operation {
        Operation::Set { target, bytes } => format!("sets {} to {}", place(target), shown(bytes)),
        Operation::SetOpaque { target, bytes } => {
            format!("sets {} to opaque {}", place(target), shown(bytes))
        }
        Operation::Increment { target, by } => format!("adds {by} to {}", place(target)),
        Operation::Change { target, by } => format!("changes {} by {by:+}", place(target)),
        Operation::Create { target, collection } => {
            format!("makes {} {}", place(target), collection_words(*collection))
        }
        Operation::AddElement { target } => {
            let (element, set) = element(target);
            format!("adds element {element} to {set}")
        }
        Operation::RemoveElement { target } => {
            let (element, set) = element(target);
            format!("removes element {element} from {set}")
        }
        Operation::InsertItem { list, at, item: Item::Bytes(bytes) } => {
            format!("inserts {} at {at} of {}", shown(bytes), place(list))
        }
        Operation::InsertItem { list, at, item: Item::Collection(collection) } => {
            format!("inserts {} at {at} of {}", collection_words(*collection), place(list))
        }
        Operation::DeleteItem { list, at } => format!("deletes item {at} of {}", place(list)),
        Operation::InsertText { target, at, text } => {
            format!("inserts {} at {at} of {}", shown(text.as_bytes()), place(target))
        }
        Operation::DeleteText { target, at, count } => {
            let characters = if *count == 1 { "character" } else { "characters" };
            format!("deletes {count} {characters} at {at} of {}", place(target))
        }
        Operation::SetOwn { storage, bytes } => {
            format!("sets its own value in {} to {}", place(storage), shown(bytes))
        }
        Operation::Freeze { target, bytes } => format!("freezes {} as {}", place(target), shown(bytes)),
        Operation::Merge { target, name, bytes } => {
            format!("merges {} into {}, a value of type {name:?}", shown(bytes), place(target))
        }
        Operation::Delete { target } => format!("deletes {}", place(target)),
    }
}

/// What a list of operations does, each after the other. Of many, the first are shown.
pub fn operations_words(operations: &[Operation]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = operations.iter().take(SHOWN).map(operation_words).collect();
    if operations.len() > SHOWN {
        words.push(format!("and {} operations more", operations.len() - SHOWN));
    }
    words.join(", ")
}

/// What a write asks for, before its positions are fitted to the state.
pub(crate) fn write_words(write: &Write) -> String {
    let words = operations_words(&write.operations);
    match write.context {
        0 => words,
        context => format!("{words}, in context {context}"),
    }
}

/// How a session ended, in words.
pub fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Converged { root } => format!("converged on {root}"),
        Outcome::SyncPending(reason) => format!("another sync is pending: {}", reason.as_str()),
        Outcome::Failed(reason) => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_printed_in_words() {
        let named = |name: &str| Target::named(name.as_bytes());
        let key = |at: u64| at.to_le_bytes();
        for (operation, words) in [
            (
                Operation::Set { target: named("register 3"), bytes: b"value 417".to_vec() },
                "sets register 3 to \"value 417\"",
            ),
            (
                Operation::Set { target: named("map").child(&key(7)), bytes: vec![0, 1] },
                "sets map / 7 to 0001",
            ),
            (Operation::AddElement { target: named("set").child(b"red") }, "adds element red to set"),
            (
                Operation::RemoveElement { target: named("sorted set").ordered_child(&5u64.to_be_bytes()) },
                "removes element 5 from sorted set",
            ),
            (Operation::Change { target: named("stock 1"), by: -3 }, "changes stock 1 by -3"),
            (
                Operation::DeleteText { target: named("text"), at: 4, count: 1 },
                "deletes 1 character at 4 of text",
            ),
            (
                Operation::Delete { target: named("folders").child(&key(1)).child(&key(2)) },
                "deletes folders / 1 / 2",
            ),
        ] {
            assert_eq!(operation_words(&operation), words);
        }
    }
}
