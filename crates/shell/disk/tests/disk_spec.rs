//! What `docs/spec/storage.md` says about the files and rows of the durable store.

#[path = "../../../core/storage/tests/storage_spec/doc.rs"]
mod doc;

use doc::{Doc, Walk};
use std::fs;
use std::path::{Path, PathBuf};
use syncline_crdt::{Register, Value};
use syncline_disk::DiskStore;
use syncline_replica::{Replica, ReplicaConfig};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata};
use syncline_store::{ReadView, Store, StoreError, WriteBatch};
use syncline_types::{ContextId, EntityId, Hlc, Moment, ReplicaId, SimTime};

const FORMAT: &[u8] = &[0, 1];
const COMMITS: &[u8] = &[0, 2];
const FIRST_REDO_LOG: &[u8] = &[0, 3, 0, 0, 0, 0, 0, 0, 0, 1];
const CLOCK: &[u8] = &[0x10, 3];

/// A folder of this test alone, emptied.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("spec").join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// A batch that adds register number `n` under the root.
fn write(store: &mut DiskStore, n: u64) {
    let stamp = Hlc::new(n, 0, ReplicaId::from_u64(10));
    let value = Value::Lww(Register::new(stamp, &b"hello"[..]));
    let metadata = Metadata { created_at: stamp, updated_at: stamp, label: Label::None };
    let action = Action::Add { id: EntityId::from_u64(n), ancestors: vec![], value, metadata };
    let mut state = Interface::open(store.view()).unwrap();
    state.apply_action(&action, &ApplyContext::new(Moment::at(SimTime::from_millis(1_000)))).unwrap();
    store.apply(state.finish().unwrap()).unwrap();
}

/// Checks that a block states these bytes, field by field.
fn states(tag: &str, bytes: &[u8], fields: impl FnOnce(&mut Walk<'_>)) {
    let mut doc = Doc::open("storage.md");
    let mut walk = Walk::new(bytes);
    fields(&mut walk);
    assert!(walk.rest().is_empty(), "bytes of {tag} that the walk does not explain");
    doc.bless("disk", tag, &walk.lines);
    let block = doc.block("disk", tag);
    assert_eq!((block.bytes(), block.lines), (bytes.to_vec(), walk.lines), "{tag}");
}

/// As [`states`], of a row.
fn states_row(tag: &str, store: &DiskStore, key: &[u8], value: impl FnOnce(&mut Walk<'_>)) {
    let row = store.view().read(key).unwrap().unwrap();
    states(tag, &[key, &row].concat(), |walk| {
        walk.title("key");
        walk.opaque("row", key.len());
        walk.title("value");
        value(walk);
    });
}

#[test]
fn rows_about_the_store_are_as_specified() {
    let mut store = DiskStore::open(folder("rows")).unwrap();
    write(&mut store, 7);
    states_row("format-row", &store, FORMAT, |walk| walk.fixed("format", b"syncline store 4"));
    states_row("commits-row", &store, COMMITS, |walk| walk.u64_be("commits", 1));
    states_row("redo-log-row", &store, FIRST_REDO_LOG, |walk| {
        walk.number("bytes of trie", 33);
        walk.u8("kind of row", 3);
        walk.fixed("entity: the root", &[0; 32]);
        walk.number("bytes of changes", 65);
        walk.fixed("child", EntityId::from_u64(7).as_bytes());
        walk.u8("flags", 1);
        walk.opaque("record hash", 32);
    });
    store.flush_index().unwrap();
    assert_eq!(store.view().read(FIRST_REDO_LOG).unwrap(), None, "the index has its rows");
}

#[test]
fn the_clock_row_is_as_specified() {
    let mut store = DiskStore::open(folder("clock")).unwrap();
    let config = ReplicaConfig::new(ContextId([0xc7; 32]), ReplicaId::from_u64(10));
    for _ in 0..2 {
        let (_, actions) = Replica::recover(config.clone(), &store.view()).unwrap();
        store.apply(actions.storage).unwrap();
    }
    states_row("clock-row", &store, CLOCK, |walk| {
        walk.number("incarnation", 2);
        walk.number("time", 0);
        walk.number("wall clock in milliseconds", 0);
    });
    for damaged in [&[][..], &[0x80, 0], &[2], &[2, 0x80]] {
        let mut batch = WriteBatch::default();
        batch.put(CLOCK.into(), damaged);
        store.apply(batch).unwrap();
        assert!(Replica::recover(config.clone(), &store.view()).is_err(), "{damaged:?}");
    }
}

/// The check of a count, by the formula of the document.
const fn check(count: u64) -> u64 {
    (count ^ 0x5379_6e63_6c69_6e65).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn place(count: u64) -> Vec<u8> {
    [count.to_be_bytes(), check(count).to_be_bytes()].concat()
}

/// What opening the store says with this counter file in place of its own.
fn open_with(path: &Path, counter: &[u8]) -> Result<u64, String> {
    fs::write(path.join("commits"), counter).unwrap();
    match DiskStore::open(path) {
        Ok(store) => Ok(store.commits()),
        Err(StoreError::Corrupt { what }) => Err(what),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_commit_counter_is_as_specified() {
    let path = folder("commits");
    let mut store = DiskStore::open(&path).unwrap();
    (1..=3).for_each(|n| write(&mut store, n));
    drop(store);
    let counter = fs::read(path.join("commits")).unwrap();
    states("commits-file", &counter, |walk| {
        for (place, count) in [(0, 2), (1, 3)] {
            walk.title(&format!("place {place}"));
            walk.u64_be("count", count);
            walk.fixed("check", &check(count).to_be_bytes());
        }
    });
    // A place that does not hold leaves the other.
    for at in [0, 15, 16, 31] {
        let mut torn = counter.clone();
        torn[at] ^= 1;
        assert_eq!(open_with(&path, &torn), Ok(3), "byte {at}");
    }
    assert_eq!(open_with(&path, &counter[..20]), Ok(3), "a torn second place");
    let unsealed: Vec<u8> = counter.iter().map(|byte| byte ^ 1).collect();
    for lost in [&unsealed[..], &[], &counter[..15]] {
        assert!(open_with(&path, lost).is_err_and(|what| what.contains("counter of commits")));
    }
    let behind = open_with(&path, &[place(0), place(1)].concat());
    assert!(behind.is_err_and(|what| what.contains("counter of commits was lost")));
    let ahead = open_with(&path, &[place(4), place(3)].concat());
    assert!(ahead.is_err_and(|what| what.contains("4 batches were acknowledged and 3 are there")));
    assert_eq!(open_with(&path, &counter), Ok(3));
}

/// A store whose row `key` is `value`, opened again.
fn reopened_with(name: &str, key: &[u8], value: &[u8]) -> Result<DiskStore, StoreError> {
    let path = folder(name);
    let mut store = DiskStore::open(&path).unwrap();
    write(&mut store, 1);
    let mut batch = WriteBatch::default();
    batch.put(key.into(), value);
    store.apply(batch).unwrap();
    drop(store);
    DiskStore::open(&path)
}

#[test]
fn a_store_of_another_format_does_not_open() {
    for (name, format, found) in
        [("older-format", "syncline store 2", 2), ("newer-format", "syncline store 30", 30)]
    {
        let error = reopened_with(name, FORMAT, format.as_bytes()).unwrap_err();
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("spec").join(name);
        let what = format!("the store at {}", path.display());
        assert_eq!(error, StoreError::Version { what, found, oldest: 4, newest: 4 }, "{error}");
        let read = DiskStore::open_read_only(&path).unwrap_err();
        assert_eq!(read, error, "to read as to write");
    }
    let cases: [(&str, &[u8], &[u8]); 4] = [
        ("no-format", FORMAT, b"syncline store"),
        ("negative-format", FORMAT, b"syncline store -2"),
        ("damaged-redo-log", &[0, 3, 0xff], &[5, 1, 2]),
        ("redo-log-of-no-trie", &[0, 3, 0xff], &[1, 9, 0]),
    ];
    for (name, key, value) in cases {
        let opened = reopened_with(name, key, value);
        assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "{name}: {opened:?}");
    }
}

/// The engine's own files have a version too.
#[test]
fn an_engine_of_another_version_does_not_open() {
    let path = folder("engine-version");
    write(&mut DiskStore::open(&path).unwrap(), 1);
    let marker = path.join("rows/version");
    let ours = fs::read(&marker).unwrap();
    assert_eq!(ours, b"FJL\x03");
    for found in [2, 4] {
        fs::write(&marker, [b'F', b'J', b'L', found]).unwrap();
        for error in [DiskStore::open(&path).unwrap_err(), DiskStore::open_read_only(&path).unwrap_err()] {
            let is_right = matches!(&error, StoreError::Version { what, found: version, oldest: 3, newest: 3 }
                if what.contains("rows") && *version == u32::from(found));
            assert!(is_right, "{error}");
        }
    }
    fs::write(&marker, ours).unwrap();
    assert_eq!(DiskStore::open(&path).unwrap().commits(), 1);
}
