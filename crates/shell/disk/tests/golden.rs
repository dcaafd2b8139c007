//! Golden stores: a store as the first build of a format wrote it. Every later build that claims to read the format
//! opens it, and finds what was written.
//!
//! A golden store cannot be regenerated. `SYNCLINE_UPDATE_GOLDEN=1` writes the one of a format that has none yet, and
//! refuses to replace one.

use std::fs;
use std::path::{Path, PathBuf};
use syncline_disk::DiskStore;
use syncline_replica::model::{Collection, Counter, Flag, List, Map, Register, Set, SortedMap, Text};
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
    lz4_flex::compress_prepend_size(&out)
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
    let bytes = lz4_flex::decompress_size_prepended(packed).unwrap();
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

/// The operations on small values, two deltas.
fn contents() -> Vec<Vec<Operation>> {
    todo!()
}

fn check_contents<V: ReadView>(state: &mut Interface<V>) {
    todo!()
}
