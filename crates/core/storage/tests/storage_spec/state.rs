//! A small state, row by row, and what one batch changed in its index.

use super::doc::{Block, Doc, Walk, name_of};
use super::{node, replica, stamp, statistics, values};
use std::sync::LazyLock;
use syncline_crdt::{Register, Value};
use syncline_storage::{
    Action, ApplyContext, Interface, Label, Metadata, Node, Record, Stats, StorageError, redo, verify,
};
use syncline_store::{Bytes, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};
use syncline_types::{ContextId, Decode, Digest, Encode, EntityId, Hlc, Moment, ShortIdKey, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(10_000)));
const NOTES: &[u8] = b"notes";
const FIRST: &[u8] = b"a\0b";
const SECOND: &[u8] = b"c";

fn map() -> EntityId {
    EntityId::child_of(EntityId::ROOT, NOTES)
}

fn add(label: &[u8], ancestors: Vec<EntityId>, value: Value, at: Hlc) -> Action {
    let parent = ancestors.last().copied().unwrap_or(EntityId::ROOT);
    let id = EntityId::child_of(parent, label);
    let label = if ancestors.is_empty() { Label::Named(label.into()) } else { Label::Ordered(label.into()) };
    Action::Add { id, ancestors, value, metadata: Metadata { created_at: at, updated_at: at, label } }
}

fn register(text: &[u8], at: Hlc) -> Value {
    Value::Lww(Register::new(at, text))
}

fn apply<V: ReadView>(state: &mut Interface<V>, actions: &[Action]) {
    for action in actions {
        state.apply_action(action, &CONTEXT).unwrap();
    }
}

/// The key of short ids of a context.
static SHORT_IDS: LazyLock<ShortIdKey> = LazyLock::new(|| ShortIdKey::of(ContextId([0xcc; 32])));

/// A sorted map with two entries, one of which was deleted; and the statistics of that state.
pub(crate) fn small() -> (MemoryStore, Stats) {
    let mut store = MemoryStore::default();
    let mut state = Interface::open(store.view()).unwrap().with_short_ids(*SHORT_IDS);
    let second = EntityId::child_of(map(), SECOND);
    apply(
        &mut state,
        &[
            add(NOTES, vec![], Value::SortedMap, stamp(1_000, 10)),
            add(FIRST, vec![map()], register(b"hello", stamp(1_001, 10)), stamp(1_001, 10)),
            add(SECOND, vec![map()], register(b"world", stamp(1_002, 10)), stamp(1_002, 10)),
            Action::DeleteRef { id: second, ancestors: vec![map()], deleted_at: stamp(1_003, 11) },
        ],
    );
    store.apply(state.finish().unwrap()).unwrap();
    let stats = Interface::open(store.view()).unwrap().stats().unwrap();
    (store, stats)
}

fn all_rows(view: &MemoryStore) -> Vec<Row> {
    view.range(&[], &[0xff], usize::MAX).unwrap()
}

/// The lines of a row: its key, then its value.
fn lines_of(key: &[u8], value: &[u8]) -> Vec<String> {
    let mut lines = vec!["# key".to_owned()];
    let mut walk = Walk::new(key);
    walk_key(&mut walk, key);
    assert!(walk.rest().is_empty());
    lines.extend(walk.lines);
    lines.push("# value".to_owned());
    let mut walk = Walk::new(value);
    match key[0] {
        1 if key.len() == 3 => _ = walk.any_number("records at that depth"),
        1 => statistics(&Stats::from_bytes(value).unwrap(), &mut walk),
        2 => values::record(&Record::from_bytes(value).unwrap(), &mut walk),
        3 => node(&Node::from_bytes(value).unwrap(), &mut walk),
        _ => {}
    }
    assert!(walk.rest().is_empty());
    lines.extend(walk.lines);
    lines
}

fn walk_key(walk: &mut Walk<'_>, key: &[u8]) {
    let kinds = ["", "statistics", "record", "index node", "order", "tombstone"];
    walk.exact(&format!("kind of row: {}", kinds[usize::from(key[0])]), &key[..1]);
    let is_root = |id: &[u8]| if id == [0; 32] { " (the root)" } else { "" };
    match key[0] {
        1 if key.len() == 3 => {
            let less = u16::from_be_bytes([key[1], key[2]]);
            walk.exact(&format!("65535 − {}", u16::MAX - less), &key[1..]);
        }
        1 => {}
        2 => {
            let id = &key[5..];
            walk.exact("locator", &values::locator(&SHORT_IDS.to_bytes(), id));
            walk.opaque(&format!("entity{}", is_root(id)), 32);
        }
        3 => {
            walk.opaque(&format!("entity{}", is_root(&key[1..33])), 32);
            walk.u8("nibbles of the prefix", key[33]);
            walk.opaque("packed nibbles", key.len() - 34);
        }
        4 => {
            walk.opaque("parent", 32);
            walk.opaque("label; ff follows each zero byte", key.len() - 1 - 32 - 2 - 32);
            walk.fixed("end of the label", &[0, 0]);
            walk.opaque("entity", 32);
        }
        _ => {
            let time = u64::from_be_bytes(key[1..9].try_into().unwrap());
            walk.u64_be("time of the last change", time);
            walk.opaque("replica of the last change", 16);
            walk.opaque("entity", 32);
        }
    }
}

/// The rows in a block: what follows each line `# key`, and what follows the line `# value` after it.
fn rows_of(block: &Block) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = |lines: &[String]| Block { lines: lines.to_vec(), ..block.clone() }.bytes();
    let row = |row: &[String]| {
        let value = row.iter().position(|line| line == "# value").unwrap();
        (part(&row[1..value]), part(&row[value + 1..]))
    };
    block.lines.chunk_by(|_, next| next != "# key").map(row).collect()
}

fn store_of(rows: &[(Vec<u8>, Vec<u8>)]) -> MemoryStore {
    let mut batch = WriteBatch::default();
    rows.iter().for_each(|(key, value)| batch.put(key[..].into(), &value[..]));
    let mut store = MemoryStore::default();
    store.apply(batch).unwrap();
    store
}

/// The rows of the document are a sound state, and are those that the code writes.
pub(crate) fn check_rows(doc: &mut Doc) {
    let (written, stats) = small();
    let rows = all_rows(&written);
    let lines: Vec<String> = rows.iter().flat_map(|(key, value)| lines_of(key, value)).collect();
    doc.bless("storage-rows", "small-state", &lines);
    let block = doc.block("storage-rows", "small-state");
    assert_eq!(block.lines, lines, "the rows that the document states");
    let read = store_of(&rows_of(&block));
    assert_eq!(all_rows(&read), rows);
    let found = verify(&read).unwrap();
    assert!(found.is_sound() && found.stored == stats, "{found:?}");
    let mut state = Interface::open(read).unwrap();
    let first = EntityId::child_of(map(), FIRST);
    assert_eq!(state.ordered_children(map(), &[], None, 9).unwrap(), [first]);
    let visible: Vec<EntityId> = state.visible().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(visible, [map(), first]);
    hashes_follow(&rows, &stats);
}

/// The hashes by the rules of the document: of records, of the buckets above them, and the root.
fn hashes_follow(rows: &[Row], stats: &Stats) {
    let value = |key: &[&[u8]]| &*rows.iter().find(|(found, _)| **found == *key.concat()).unwrap().1;
    let own = |id: EntityId| {
        Digest::of_parts(1, &[&id.0, value(&[&[2], &values::locator(&SHORT_IDS.to_bytes(), &id.0), &id.0])])
    };
    let bucket = |entity: EntityId| match Node::from_bytes(value(&[&[3], &entity.0, &[0]])).unwrap() {
        Node::Bucket(entries) => entries,
        Node::Inner { .. } => unreachable!("two children fit a bucket"),
    };
    let hash = |entity: EntityId| {
        let mut input = Vec::new();
        for entry in bucket(entity) {
            assert_eq!(entry.own, own(entry.id), "the hash of a record");
            input.extend(entry.own.0);
            input.push(u8::from(!entry.kids.is_zero()));
            if !entry.kids.is_zero() {
                input.extend(entry.kids.0);
            }
        }
        Digest::of(3, &input)
    };
    assert_eq!(bucket(EntityId::ROOT)[0].kids, hash(map()), "the root of the map's children");
    let root = Digest::of_parts(2, &[&own(EntityId::ROOT).0, &hash(EntityId::ROOT).0]);
    assert_eq!(stats.root, root);
}

/// Whatever byte of a row is changed, reading the state gives a typed error, or verifying it finds the row.
/// The generation and the horizon are not derived from records, so that nothing tells what they should be.
pub(crate) fn check_damage(doc: &Doc) {
    let rows = rows_of(&doc.block("storage-rows", "small-state"));
    for (row, (key, value)) in rows.iter().enumerate() {
        for at in 0..value.len() {
            if key[..] == [1] && (35..60).contains(&at) {
                continue;
            }
            let mut damaged = rows.clone();
            damaged[row].1[at] ^= 1;
            match verify(&store_of(&damaged)) {
                Ok(found) => assert!(!found.is_sound(), "byte {at} of row {row}"),
                Err(StorageError::Row { .. } | StorageError::Index { .. }) => {}
                Err(other) => panic!("byte {at} of row {row}: {other}"),
            }
        }
        if !value.is_empty() {
            let mut damaged = rows.clone();
            damaged[row].1.pop();
            match verify(&store_of(&damaged)) {
                Err(StorageError::Row { error, .. }) => assert_eq!(name_of(error), "Truncated"),
                other => assert!(
                    (key[0] == 3 || key.len() == 3) && other.is_ok_and(|found| !found.is_sound()),
                    "row {row}"
                ),
            }
        }
    }
}

/// A store that asks for changes in short, as the one on disk does.
#[derive(Clone)]
struct WithChanges(MemoryStore);

impl ReadView for WithChanges {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.read(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.range(from, to, limit)
    }

    fn wants_redo_entries(&self) -> bool {
        true
    }
}

/// Walks over the changes of one trie.
fn changes(bytes: &[u8]) -> Vec<String> {
    let mut walk = Walk::new(bytes);
    while let Some(kind) = walk.rest().get(32).copied() {
        walk.opaque("child", 32);
        walk.u8("kind", kind);
        walk.inside(|walk| {
            if kind & 1 != 0 {
                walk.opaque("record hash", 32);
            }
            if kind & 2 != 0 {
                walk.opaque("children root", 32);
            }
        });
    }
    assert!(walk.rest().is_empty());
    walk.lines
}

/// The changes that two batches make to the index, in short, are those of the document. The first changes a register
/// in the map and collects the tombstone; in the second the register moves to the root.
pub(crate) fn check_changes(doc: &mut Doc) {
    let before = small().0;
    let later = stamp(2_000, 10);
    let batch = changed(&before, |state| {
        apply(state, &[add(FIRST, vec![map()], register(b"goodbye", later), later)]);
        assert_eq!(
            state.raise_horizon(Hlc::new(1_500, 0, replica(0))).unwrap(),
            1,
            "the tombstone is collected"
        );
    });
    let before = check_changes_of(doc, &before, batch, &[("map", map())]);
    let batch = changed(&before, |state| {
        let id = EntityId::child_of(map(), FIRST);
        let metadata = Metadata { created_at: later, updated_at: later, label: Label::None };
        apply(state, &[Action::Add { id, ancestors: vec![], value: register(b"goodbye", later), metadata }]);
    });
    check_changes_of(doc, &before, batch, &[("move-to-root", EntityId::ROOT), ("move-from-map", map())]);
}

/// The batch of these changes to the state in `store`, with its index changes in short.
fn changed(store: &MemoryStore, change: impl FnOnce(&mut Interface<WithChanges>)) -> WriteBatch {
    let mut state = Interface::open(WithChanges(store.clone())).unwrap();
    change(&mut state);
    state.finish().unwrap()
}

/// The index changes of `batch` are those of the document, by tag and entity; made again on the index of `before`, they
/// give the rows that the batch gives. Returns the state after the batch.
fn check_changes_of(
    doc: &mut Doc,
    before: &MemoryStore,
    batch: WriteBatch,
    tags: &[(&str, EntityId)],
) -> MemoryStore {
    let logs: Vec<_> =
        batch.edits().map(|(trie, edit)| (trie.clone(), edit.unwrap().redo_entry().unwrap())).collect();
    let logs: Vec<_> =
        logs.iter().filter(|(_, log)| !log.is_empty()).map(|(trie, log)| (&**trie, &**log)).collect();
    assert_eq!(logs.len(), tags.len(), "a trie above the changed records has no changes of its own");
    // A store that writes nodes late has all other rows of the batch.
    let mut crashed = before.clone();
    crashed.apply(batch.iter().map(|(key, value)| (key.clone(), value.cloned())).collect()).unwrap();
    for ((tag, entity), (trie, log)) in tags.iter().zip(&logs) {
        assert_eq!(&trie[1..], entity.as_bytes());
        doc.bless("index-changes", tag, &changes(log));
        let block = doc.block("index-changes", tag);
        let bytes = block.bytes();
        assert_eq!(block.lines, changes(&bytes));
        assert_eq!(bytes, *log);
        match redo(&crashed, [(*trie, &bytes[..bytes.len() - 1])]) {
            Err(StorageError::Row { error, .. }) => assert_eq!(name_of(error), "Truncated"),
            other => panic!("{other:?}"),
        }
        for kind in [0, 2, 8] {
            let mut unknown = bytes.clone();
            unknown[32] = kind;
            match redo(&crashed, [(*trie, &*unknown)]) {
                Err(StorageError::Row { error, .. }) => {
                    assert_eq!(name_of(error), format!("UnknownTag({kind})"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(redo(&crashed, [(&[9][..], &*bytes)]), Err(StorageError::Index { .. })));
        let part: Vec<_> = logs.iter().filter(|(other, _)| other != trie).copied().collect();
        let lost = redo(&crashed, part.iter().copied().chain([(*trie, &[][..])]));
        assert!(matches!(lost, Err(StorageError::Index { .. })), "without its changes: {lost:?}");
    }
    let again = redo(&crashed, logs.iter().copied()).unwrap();
    let rows = |batch: &WriteBatch| -> Vec<_> {
        batch.edits().map(|(trie, edit)| (trie.clone(), edit.unwrap().rows())).collect()
    };
    assert_eq!(rows(&again), rows(&batch), "what the changes give");
    let mut after = before.clone();
    after.apply(batch).unwrap();
    crashed.apply(again).unwrap();
    assert_eq!(all_rows(&crashed), all_rows(&after));
    after
}
