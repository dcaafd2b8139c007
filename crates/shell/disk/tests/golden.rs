//! Golden stores: a store as the first build of a format wrote it. Every later build that claims to read the format
//! opens it, and finds what was written.
//!
//! A golden store cannot be regenerated. `SYNCLINE_UPDATE_GOLDEN=1` writes the one of a format that has none yet, and
//! refuses to replace one.

use std::fs;
use std::path::{Path, PathBuf};
use syncline_disk::DiskStore;
use syncline_replica::model::{
    Counter, FrozenStorage, GrowCounter, List, Map, Register, Set, SortedMap, Text, UserStorage,
};
use syncline_replica::{Event, Notice, Operation, Replica, ReplicaConfig};
use syncline_storage::{Interface, verify};
use syncline_store::{ReadView, Store, StoreError};
use syncline_types::{Choice, ContextId, Entropy, Moment, ReplicaId, SimTime};

/// Entropy for a replica that only writes, which makes no draw that matters.
struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

fn config() -> ReplicaConfig {
    ReplicaConfig::new(ContextId([0x60; 32]), ReplicaId::from_u64(0x60))
}

fn big() -> Map<u64, Register<Vec<u8>>> {
    Map::named("big")
}

/// The value of a large entry, which compresses well.
fn large(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(100_000)
}

fn fixture(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/store-{format}.lz4"))
}

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("golden").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Every file under `path`, with its name relative to it.
fn files(path: &Path, below: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(path.join(below)).unwrap() {
        let name = below.join(entry.unwrap().file_name());
        if path.join(&name).is_dir() {
            files(path, &name, found);
        } else {
            found.push((name.to_str().unwrap().to_owned(), fs::read(path.join(&name)).unwrap()));
        }
    }
}

fn push_number(out: &mut Vec<u8>, n: usize) {
    out.extend((n as u64).to_le_bytes());
}

/// A folder in one file: of each file its name, its length, and its bytes up to the last that is not zero.
fn pack(path: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    files(path, Path::new(""), &mut found);
    found.sort();
    let mut out = Vec::new();
    for (name, bytes) in found {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for part in [name.as_bytes(), &bytes[..used]] {
            push_number(&mut out, part.len());
            out.extend(part);
        }
        push_number(&mut out, bytes.len());
    }
    // Twice: LZ4 makes 1/255 of a long repetition, which repeats itself again.
    lz4_flex::compress_prepend_size(&lz4_flex::compress_prepend_size(&out))
}

fn unpack(packed: &[u8], to: &Path) {
    fn number(bytes: &mut &[u8]) -> usize {
        let (head, rest) = bytes.split_first_chunk().unwrap();
        *bytes = rest;
        u64::from_le_bytes(*head) as usize
    }
    fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
        let len = number(bytes);
        let (head, rest) = bytes.split_at(len);
        *bytes = rest;
        head
    }
    let once = lz4_flex::decompress_size_prepended(packed).unwrap();
    let bytes = lz4_flex::decompress_size_prepended(&once).unwrap();
    let mut bytes = &bytes[..];
    while !bytes.is_empty() {
        let target = to.join(std::str::from_utf8(part(&mut bytes)).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, part(&mut bytes)).unwrap();
        fs::File::options().write(true).open(&target).unwrap().set_len(number(&mut bytes) as u64).unwrap();
    }
}

/// Writes as a replica does, one delta for each list of operations.
fn write(store: &mut DiskStore, first_ms: u64, deltas: Vec<Vec<Operation>>) {
    let (mut replica, actions) = Replica::recover(config(), &store.view()).unwrap();
    store.apply(actions.storage).unwrap();
    for (step, operations) in deltas.into_iter().enumerate() {
        let moment = Moment::at(SimTime::from_millis(first_ms + step as u64));
        let actions = replica.step(store.view(), Event::Write(operations), moment, &mut Lowest).unwrap();
        let refused = actions.notices.iter().find(|notice| matches!(notice, Notice::WriteRefused { .. }));
        assert!(refused.is_none(), "{refused:?}");
        store.apply(actions.storage).unwrap();
    }
}

/// Makes a store with sorted files, a journal, a redo log, a delta log, and values of the model's types.
fn make(path: &Path, image: &Path) {
    let mut store = DiskStore::open(path).unwrap();
    write(&mut store, 1_000, (0..14).map(|n| vec![big().entry(&n).set(&large(n))]).collect());
    let sorted = path.join("rows/keyspaces/1/tables");
    while fs::read_dir(&sorted).unwrap().next().is_none() {
        std::thread::yield_now();
    }
    drop(store);
    let mut store = DiskStore::open(path).unwrap();
    write(&mut store, 2_000, contents());
    // As a crash leaves it: closing would empty the redo log.
    copy(path, image);
}

fn copy(from: &Path, to: &Path) {
    let mut found = Vec::new();
    files(from, Path::new(""), &mut found);
    for (name, bytes) in found {
        let target = to.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

fn map() -> SortedMap<u64, Register<String>> {
    SortedMap::named("names")
}

fn words() -> Set<String> {
    Set::named("words")
}

fn order() -> List<Register<u64>> {
    List::named("order")
}

fn note() -> Text {
    Text::named("note")
}

/// Operations on small values of each type, and deletions.
fn contents() -> Vec<Vec<Operation>> {
    let name = |n: u64| map().entry(&n).set(&format!("name {n}"));
    vec![
        vec![Register::<String>::named("title").set(&"golden".to_owned()), Counter::named("count").add(-5)],
        vec![
            GrowCounter::named("clicks").add(3),
            words().insert(&"one".to_owned()),
            words().insert(&"two".to_owned()),
        ],
        (0..100).map(name).collect(),
        (0..5).map(|n| order().insert(n as usize, n * 10)).collect(),
        vec![note().insert(0, "hello wrld"), note().insert(7, "o")],
        vec![map().remove(&7), words().remove(&"two".to_owned()), order().remove(2), note().remove(0, 1)],
        vec![UserStorage::<String>::named("own").set(&"mine".to_owned())],
        vec![FrozenStorage::<u64, String>::named("facts").entry(&1).freeze(&"fixed".to_owned())],
    ]
}

fn assert_contents<V: ReadView>(view: &V) {
    assert!(verify(view).unwrap().is_sound());
    let mut state = Interface::open(view.clone()).unwrap();
    let state = &mut state;
    assert_eq!(Register::<String>::named("title").get(state).unwrap().as_deref(), Some("golden"));
    assert_eq!(Counter::named("count").get(state).unwrap(), -5);
    assert_eq!(GrowCounter::named("clicks").get(state).unwrap(), 3);
    assert_eq!(words().elements(state).unwrap(), ["one"]);
    for n in 0..100 {
        let expected = (n != 7).then(|| format!("name {n}"));
        assert_eq!(map().entry(&n).get(state).unwrap(), expected, "name {n}");
    }
    let items = order().items(state, 0, 9).unwrap();
    let items: Vec<_> = items.iter().map(|item| item.get(state).unwrap()).collect();
    assert_eq!(items, [0, 10, 30, 40].map(Some));
    assert_eq!(note().get(state).unwrap(), "ello world");
    let own = UserStorage::<String>::named("own").get(state, ReplicaId::from_u64(0x60)).unwrap();
    assert_eq!(own.as_deref(), Some("mine"));
    let facts = FrozenStorage::<u64, String>::named("facts");
    assert_eq!(facts.entry(&1).get(state).unwrap().as_deref(), Some("fixed"));
    for n in 0..14 {
        assert_eq!(big().entry(&n).get(state).unwrap(), Some(large(n)), "large entry {n}");
    }
}

/// Where the golden store of the present format may be written: nowhere if there is one.
fn new_fixture(path: PathBuf) -> Result<PathBuf, String> {
    if path.exists() {
        let format = DiskStore::FORMAT;
        return Err(format!("{} exists: raise DiskStore::FORMAT, which is {format}", path.display()));
    }
    Ok(path)
}

#[test]
fn golden_stores_are_read() {
    let newest = fixture(DiskStore::FORMAT);
    if std::env::var_os("SYNCLINE_UPDATE_GOLDEN").is_some() && !newest.exists() {
        let path = folder("new");
        let image = folder("new-image");
        make(&path, &image);
        fs::write(new_fixture(newest).unwrap(), pack(&image)).unwrap();
    }
    for format in 1..=DiskStore::FORMAT {
        let Ok(packed) = fs::read(fixture(format)) else {
            assert!(
                format < DiskStore::OLDEST_FORMAT,
                "no golden store {format}: SYNCLINE_UPDATE_GOLDEN=1 writes it"
            );
            continue;
        };
        let path = folder(&format!("store-{format}"));
        unpack(&packed, &path);
        if format < DiskStore::OLDEST_FORMAT {
            let error = DiskStore::open(&path).unwrap_err();
            assert!(matches!(error, StoreError::Version { found, .. } if found == format), "{error}");
            continue;
        }
        let read = DiskStore::open_read_only(&path).unwrap();
        assert_contents(&read.view());
        let redo_log = read.view().range(&[0, 3], &[0, 4], 1).unwrap();
        assert!(!redo_log.is_empty(), "the store has a redo log");
        let commits = read.commits();
        drop(read);
        let mut store = DiskStore::open(&path).unwrap();
        assert_eq!(store.commits(), commits);
        // The store is written as well, by the same replica and after its own stamps.
        write(&mut store, 9_000, vec![vec![Counter::named("after").add(1)]]);
        drop(store);
        let store = DiskStore::open(&path).unwrap();
        assert_contents(&store.view());
        assert_eq!(Counter::named("after").get(&mut Interface::open(store.view()).unwrap()).unwrap(), 1);
    }
}

/// A golden store is written once. What this build would write as golden has the contents that are expected.
#[test]
fn golden_store_is_not_replaced() {
    let error = new_fixture(fixture(DiskStore::FORMAT)).unwrap_err();
    assert!(error.contains("raise DiskStore::FORMAT"), "{error}");
    assert!(new_fixture(fixture(DiskStore::FORMAT + 1)).is_ok());
    let path = folder("made");
    let image = folder("made-image");
    let unpacked = folder("made-unpacked");
    make(&path, &image);
    unpack(&pack(&image), &unpacked);
    assert_contents(&DiskStore::open_read_only(&unpacked).unwrap().view());
}
