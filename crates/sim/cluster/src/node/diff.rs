//! The differences between two states, in words: for each entity the fields that differ, and both of their values.

use crate::disk_view::CheckedDiskView;
use crate::wording::label_words;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use syncline_crdt::Value;
use syncline_storage::{BytesPreview, Label, Record, StorageError, record_page, verify};
use syncline_store::MemoryStore;
use syncline_types::{Decode, EntityId, Hlc};

/// One entity whose records differ between two states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordDifference {
    /// The entity that differs.
    pub entity: EntityId,
    /// The record in the left state, in words; `None` if there is none.
    pub left: Option<String>,
    /// The record in the right state, in words; `None` if there is none.
    pub right: Option<String>,
    /// The fields that differ, if both states have a record. The two texts of a field are never equal.
    pub fields: Vec<FieldDifference>,
}

/// One field in which two records differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldDifference {
    /// The name of the field.
    pub name: &'static str,
    /// Its value in the left state, in words.
    pub left: String,
    /// Its value in the right state, in words.
    pub right: String,
}

impl Display for RecordDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entity {}: ", self.entity)?;
        if self.fields.is_empty() {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
            return write!(f, "{} | {}", side(&self.left), side(&self.right));
        }
        for (at, FieldDifference { name, left, right }) in self.fields.iter().enumerate() {
            write!(f, "{}{name} {left} | {right}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn records(store: &MemoryStore) -> Result<BTreeMap<EntityId, Vec<u8>>, StorageError> {
    let page = record_page(store, None, usize::MAX)?;
    Ok(page.records.into_iter().map(|(id, bytes)| (id, bytes.to_vec())).collect())
}

/// A record in one line of text.
fn words(bytes: &[u8]) -> String {
    Record::from_bytes(bytes).map_or_else(|_| "a damaged record".to_owned(), |record| record.to_string())
}

/// Up to `limit` entities whose records differ between two states, ascending by id. O(n).
///
/// # Errors
///
/// If a state cannot be read.
pub fn differences(
    left: &MemoryStore,
    right: &MemoryStore,
    limit: usize,
) -> Result<Vec<RecordDifference>, StorageError> {
    let left = records(left)?;
    let right = records(right)?;
    let mut ids: Vec<EntityId> = left.keys().chain(right.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let differ = ids.into_iter().filter(|id| left.get(id) != right.get(id)).take(limit);
    Ok(differ
        .map(|entity| {
            let sides = (left.get(&entity), right.get(&entity));
            let fields = match sides {
                (Some(left), Some(right)) => fields(left, right),
                _ => Vec::new(),
            };
            let words = |side: Option<&Vec<u8>>| side.map(|bytes| words(bytes));
            RecordDifference { entity, left: words(sides.0), right: words(sides.1), fields }
        })
        .collect())
}

/// Where two states differ, in words: up to `limit` entities, or, if all records are equal, what is derived from
/// them. `names` are those of the two states. Nothing if every row that matters is equal. O(n log n).
///
/// # Errors
///
/// If a state cannot be read.
pub fn state_differences(
    (left, right): (&MemoryStore, &MemoryStore),
    names: (&str, &str),
    limit: usize,
) -> Result<Vec<String>, StorageError> {
    let found = differences(left, right, limit)?;
    if !found.is_empty() {
        return Ok(found.iter().map(ToString::to_string).collect());
    }
    let mut words = Vec::new();
    for (state, name) in [(left, names.0), (right, names.1)] {
        let verified = verify(&CheckedDiskView::from(state))?;
        if verified.is_sound() {
            continue;
        }
        let first = verified.mismatches.first();
        let first = first.map_or_else(|| "its root".to_owned(), row_words);
        words.push(format!(
            "all records are equal, and the index of {name} does not follow from them: {first} ({} such rows)",
            verified.mismatched_rows
        ));
    }
    Ok(words)
}

/// A row that does not follow from the records, and how it differs.
fn row_words(row: &syncline_storage::MismatchedRow) -> String {
    let mut key = String::new();
    for byte in &row.key {
        // Writing into a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    format!("row {key}: {}", row.mismatch.as_str())
}

/// The fields in which two different encodings of records differ.
fn fields(left: &[u8], right: &[u8]) -> Vec<FieldDifference> {
    let (Ok(one), Ok(two)) = (Record::from_bytes(left), Record::from_bytes(right)) else {
        return vec![bytes_difference("damaged record", left, right)];
    };
    let mut fields = Vec::new();
    if one.value != two.value {
        let bytes = || bytes_difference("encoding", left, right);
        fields.push(value_difference(&one.value, &two.value).unwrap_or_else(bytes));
    }
    let mut field = |name, left: String, right: String| {
        if left != right {
            fields.push(FieldDifference { name, left, right });
        }
    };
    field("created", created(&one), created(&two));
    field("updated", one.updated_at.to_string(), two.updated_at.to_string());
    field("deleted", deleted(&one), deleted(&two));
    field("label", label(&one.label), label(&two.label));
    field("parent", one.parent.to_string(), two.parent.to_string());
    field("depth", one.depth.to_string(), two.depth.to_string());
    if fields.is_empty() {
        // Labels and ids are shortened in words: only their bytes tell where they differ.
        fields.push(bytes_difference("encoding", left, right));
    }
    fields
}

fn created(record: &Record) -> String {
    if record.created_at == Hlc::MAX { "never".to_owned() } else { record.created_at.to_string() }
}

fn deleted(record: &Record) -> String {
    if record.deleted_at == Hlc::ZERO { "never".to_owned() } else { record.deleted_at.to_string() }
}

fn label(label: &Label) -> String {
    match label {
        Label::None => "none".to_owned(),
        Label::Named(bytes) => format!("{:?}", label_words(bytes)),
        Label::Ordered(bytes) => format!("{:?} in order", label_words(bytes)),
    }
}

/// Two different values in different words, if there are such words.
fn value_difference(left: &Value, right: &Value) -> Option<FieldDifference> {
    let shown = |value: &Value| value_words(value);
    let hidden = |value: &Value| hidden_words(value);
    let mut words = (shown(left), shown(right));
    if words.0 == words.1 {
        // They show the same, so the difference is in what merges use.
        words = (hidden(left), hidden(right));
    }
    let (left, right) = words;
    (left != right).then_some(FieldDifference { name: "value", left, right })
}

/// A value as an application sees it.
fn value_words(value: &Value) -> String {
    match value {
        Value::Lww(register) => BytesPreview(register.bytes()).to_string(),
        Value::Opaque(register) => format!("opaque {}", BytesPreview(register.bytes())),
        Value::Frozen(register) => format!("frozen {}", BytesPreview(register.bytes())),
        Value::User(owned) => format!("{} of {}", BytesPreview(owned.register.bytes()), owned.owner),
        Value::GCounter(counter) => format!("count {}", counter.total()),
        Value::PnCounter(counter) => format!("count {}", counter.total()),
        Value::Element(element) if element.is_present() => "present".to_owned(),
        Value::Element(_) => "absent".to_owned(),
        Value::Rga(text) => format!("text {}", BytesPreview(text.to_string().as_bytes())),
        Value::Custom(custom) => {
            let operands = custom.operands().into_iter().map(|(_, bytes)| BytesPreview(bytes).to_string());
            format!("{} {}", custom.name(), operands.collect::<Vec<_>>().join(", "))
        }
        other => other.crdt_type().to_string(),
    }
}

/// What merges use of a value beside what an application sees.
fn hidden_words(value: &Value) -> String {
    let shown = value_words(value);
    let parts: Vec<String> = match value {
        Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
            vec![format!("written {}", register.stamp())]
        }
        Value::User(owned) => vec![format!("written {}", owned.register.stamp())],
        Value::GCounter(counter) => {
            counter.entries().map(|(replica, count)| format!("{count} by {replica}")).collect()
        }
        Value::PnCounter(counter) => {
            let part = |(replica, (added, taken))| format!("+{added} -{taken} by {replica}");
            counter.entries().map(part).collect()
        }
        Value::Element(element) => {
            let part = |(replica, presence): (_, syncline_crdt::Presence)| {
                format!("by {replica} added {} and removed up to {}", presence.added, presence.removed)
            };
            element.entries().map(part).collect()
        }
        Value::Custom(custom) => {
            let written = custom.operands().into_iter().map(|(stamp, _)| format!("written {stamp}"));
            let covered = custom.writers().filter(|(_, operands)| operands.covered > 0);
            let covered =
                covered.map(|(writer, operands)| format!("{} by {writer} covered", operands.covered));
            written.chain(covered).collect()
        }
        Value::Rga(text) => {
            let inserted: usize = text.runs().map(|(_, run)| run.chars.chars().count()).sum();
            let deleted: u64 = text
                .deleted()
                .flat_map(|(_, ranges)| ranges.iter().map(|(from, to)| u64::from(to - from)))
                .sum();
            vec![format!("{} runs, {inserted} characters inserted, {deleted} deleted", text.runs().len())]
        }
        _ => Vec::new(),
    };
    format!("{shown} ({})", parts.join(", "))
}

/// The first bytes in which two different encodings differ.
fn bytes_difference(name: &'static str, left: &[u8], right: &[u8]) -> FieldDifference {
    const SHOWN: usize = 12;
    let at = left.iter().zip(right).take_while(|(one, two)| one == two).count();
    let words = |bytes: &[u8]| {
        let mut words = format!("of {} bytes, at byte {at}:", bytes.len());
        match bytes.get(at..) {
            None | Some([]) => words += " the end",
            Some(rest) => rest.iter().take(SHOWN).for_each(|byte| {
                // Writing into a string cannot fail.
                let _ = write!(words, " {byte:02x}");
            }),
        }
        words
    };
    FieldDifference { name, left: words(left), right: words(right) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::early_register;
    use syncline_crdt::{GCounter, Register, Text};
    use syncline_storage::{ApplyContext, Interface};
    use syncline_store::{ReadView, Store, WriteBatch};
    use syncline_types::{Encode, Moment, ReplicaId, SimTime};

    fn stamp(time: u64) -> Hlc {
        Hlc::new(time, 0, ReplicaId::from_u64(7))
    }

    fn record() -> Record {
        let value = Value::Lww(Register::new(stamp(5), b"hello".to_vec()));
        Record {
            created_at: stamp(5),
            updated_at: stamp(5),
            label: Label::Named(b"title".as_slice().into()),
            value,
            ..Record::placeholder(2, EntityId::child_of(EntityId::ROOT, b"folder"))
        }
    }

    type Change = fn(&mut Record);

    /// The fields in which a record and a changed copy of it differ.
    fn after(change: impl FnOnce(&mut Record)) -> Vec<FieldDifference> {
        let one = record();
        let mut two = one.clone();
        change(&mut two);
        let found = fields(&one.to_bytes(), &two.to_bytes());
        assert!(found.iter().all(|field| field.left != field.right), "{found:?}");
        found
    }

    #[test]
    fn every_field_is_printed() {
        let name_of = |change: Change| after(change).first().map(|field| field.name);
        let changes: [(&str, Change); 8] = [
            ("created", |record| record.created_at = stamp(3)),
            ("updated", |record| record.updated_at = stamp(9)),
            ("deleted", |record| record.deleted_at = stamp(2)),
            ("label", |record| record.label = Label::Ordered(b"title".as_slice().into())),
            ("label", |record| record.label = Label::None),
            ("parent", |record| record.parent = EntityId::child_of(EntityId::ROOT, b"other")),
            ("depth", |record| record.depth = 3),
            ("value", |record| record.value = Value::Lww(Register::new(stamp(6), b"hello".to_vec()))),
        ];
        for (name, change) in changes {
            assert_eq!(name_of(change), Some(name));
        }
    }

    #[test]
    fn equal_records_with_wrong_index_differ() {
        let mut store = MemoryStore::default();
        let mut state = Interface::open(CheckedDiskView::from(&store)).expect("an empty state");
        for name in [&b"one"[..], b"two", b"three"] {
            let id = EntityId::child_of(EntityId::ROOT, name);
            let action = early_register(id, Vec::new(), ReplicaId::from_u64(1), name.to_vec());
            state.apply_action(&action, &ApplyContext::new(Moment::at(SimTime::ZERO))).expect("a register");
        }
        store.apply(state.finish().expect("a batch")).expect("a store");
        let sound = store.clone();
        // The first byte of the key of an index row is 3.
        let rows = store.range(&[3], &[4], usize::MAX).expect("index rows");
        let mut batch = WriteBatch::default();
        batch.delete(rows[0].0.clone());
        store.apply(batch).expect("a store");
        let found = state_differences((&sound, &store), ("alice", "bob"), 5).expect("two states");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("all records are equal, and the index of bob does not follow"),
            "{found:?}"
        );
        assert!(found[0].contains("it is missing"), "{found:?}");
        assert_eq!(state_differences((&sound, &sound), ("alice", "bob"), 5), Ok(Vec::new()));
    }

    #[test]
    fn equal_looks_are_distinguished() {
        let long = |last: u8| [&[b'x'; 200][..], &[last]].concat();
        let counter = |replica, count| Value::GCounter(GCounter::of(ReplicaId::from_u64(replica), count));
        let text = |stamps: [u64; 2]| {
            let mut text = Text::default();
            for (at, time) in stamps.into_iter().enumerate() {
                text.join(&text.insert(at, "a", stamp(time)).expect("a place"));
            }
            Value::Rga(text)
        };
        let register = |bytes: Vec<u8>| Value::Lww(Register::new(stamp(5), bytes));
        for (one, two) in [
            (counter(1, 4), counter(2, 4)),
            (text([5, 6]), text([5, 7])),
            (register(long(b'1')), register(long(b'2'))),
        ] {
            let found = after(|record| record.value = two.clone());
            assert!(found.iter().any(|field| field.name == "value" || field.name == "encoding"), "{one:?}");
            let (one, two) = (Record { value: one, ..record() }, Record { value: two, ..record() });
            let found = fields(&one.to_bytes(), &two.to_bytes());
            assert!(!found.is_empty() && found.iter().all(|field| field.left != field.right), "{found:?}");
        }
    }
}
