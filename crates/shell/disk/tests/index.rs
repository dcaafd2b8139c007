//! The index on disk equals the index in memory, whenever its rows are flushed and wherever a crash happens.

use std::fs;
use std::path::{Path, PathBuf};
use syncline_crdt::{Register, Value};
use syncline_disk::{DiskStore, DiskStoreView};
use syncline_storage::{
    Action, ApplyContext, Interface, Label, Merges, Metadata, Record, Slot, record_page, verify,
};
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};
use syncline_types::{Decode, EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000_000)));

/// An empty folder that no other test uses.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("index").join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// Copies the files as a crash at this moment would leave them: every acknowledged batch was synced.
fn copy_as_crashed(path: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy_as_crashed(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

/// A write to one of `among` entities, or its deletion. An entity has one of a few lists of ancestors.
fn action(draw: &mut SplitMix, ms: u64, among: u64) -> Action {
    let stamp = Hlc::new(ms, 0, ReplicaId::from_u64(1));
    let number = 10 + draw.below(among);
    let id = EntityId::from_u64(number);
    let parents: [&[u64]; 4] = [&[], &[1], &[2], &[2, 3]];
    let parent = (number + draw.below(8) / 7) as usize % parents.len();
    let ancestors = parents[parent].iter().map(|ancestor| EntityId::from_u64(*ancestor)).collect();
    if draw.below(4) == 0 {
        return Action::DeleteRef { id, ancestors, deleted_at: stamp };
    }
    let label = if number.is_multiple_of(3) { Label::Ordered(vec![id.0[0], 7].into()) } else { Label::None };
    let metadata = Metadata { created_at: stamp, updated_at: stamp, label };
    Action::Add { id, ancestors, value: Value::Lww(Register::new(stamp, vec![3; 20])), metadata }
}

fn all(view: &impl ReadView) -> Vec<Row> {
    view.range(&[1], &[16], usize::MAX).unwrap()
}

/// The batch that applies `actions` to the state of `view`.
fn batch<V: ReadView>(view: V, actions: &[Action]) -> WriteBatch {
    let mut state = Interface::open(view).unwrap();
    for action in actions {
        state.apply_action(action, &CONTEXT).unwrap();
    }
    state.finish().unwrap()
}

/// Copies the state into the inactive slot, some records at a time, and activates that slot. Then deletes the
/// rows of the old slot, up to `most` in a batch, and calls `between` after each batch.
fn copy_to_other_slot<S: Store>(store: &mut S, most: usize, mut between: impl FnMut(&S)) {
    let records = record_page(&store.view(), None, usize::MAX).unwrap().records;
    let record = |(id, bytes): (EntityId, Bytes)| (id, Record::from_bytes(&bytes).unwrap(), bytes);
    let mut records: Vec<_> = records.into_iter().map(record).collect();
    records.sort_by_key(|(_, record, _)| record.depth);
    for part in records.chunks(90) {
        let mut staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
        for (id, record, bytes) in part {
            staged.merge_encoded(*id, record.clone(), bytes.clone(), &CONTEXT).unwrap();
        }
        store.apply(staged.finish().unwrap()).unwrap();
    }
    let old = Slot::active(&store.view()).unwrap();
    let staged = Interface::open_staged(store.view(), Merges::default()).unwrap();
    let own = Interface::open(store.view()).unwrap();
    store.apply(staged.publish(own, Hlc::ZERO).unwrap().finish().unwrap()).unwrap();
    let (first, end) = old.bounds();
    loop {
        let rows = store.view().range(&first, &end, most).unwrap();
        let mut batch = WriteBatch::default();
        store.view().runs(&first, &end, most).into_iter().for_each(|run| batch.delete_run(run));
        rows.iter().for_each(|(key, _)| batch.delete(key.clone()));
        store.apply(batch).unwrap();
        between(store);
        if rows.is_empty() {
            return;
        }
    }
}

fn assert_unchanged(taken: Option<(impl ReadView, Vec<Row>)>) {
    if let Some((view, rows)) = taken {
        assert!(all(&view) == rows, "a view does not change");
    }
}

/// The number of random histories: debug builds try fewer than `.ci/run release-tests`.
const SEEDS: u64 = if cfg!(debug_assertions) { 3 } else { 8 };

/// Promises: L4
#[test]
fn index_survives_crash_at_any_batch() {
    let mut replayed = 0;
    for seed in 0..SEEDS {
        let path = folder(&format!("{seed}"));
        let image = folder(&format!("{seed}-crashed"));
        let mut draw = SplitMix(seed);
        let among = [30, 300, 3_000][seed as usize % 3];
        let open = |path: &Path| {
            let mut disk = DiskStore::open(path).unwrap();
            disk.set_cache_limit([usize::MAX, 60][seed as usize % 2]);
            disk
        };
        let mut disk = open(&path);
        let mut memory = MemoryStore::default();
        let mut taken = None;
        for n in 0..60u64 {
            let at_most = if draw.below(5) == 0 { 400 } else { 20 };
            let many = 1 + draw.below(at_most);
            let actions: Vec<_> = (0..many).map(|_| action(&mut draw, n + 1, among)).collect();
            let before = memory.view();
            memory.apply(batch(memory.view(), &actions)).unwrap();
            match draw.below(8) {
                // The memory store's views do not ask for redo entries: this batch cannot be logged.
                0 => disk.apply(batch(before, &actions)).unwrap(),
                _ => disk.apply(batch(disk.view(), &actions)).unwrap(),
            }
            match draw.below(24) {
                0 | 1 => disk.flush_index().unwrap(),
                2 | 3 => {
                    // A view keeps the store open.
                    assert_unchanged(taken.take());
                    drop(disk);
                    disk = open(&path);
                }
                4 | 5 => {
                    for horizon in [n / 2, n] {
                        let horizon = Hlc::new(horizon, 0, ReplicaId::from_u64(9));
                        let collect = |mut state: Interface<_>| {
                            state.raise_horizon(horizon).unwrap();
                            state.finish().unwrap()
                        };
                        memory.apply(collect(Interface::open(memory.view()).unwrap())).unwrap();
                        let mut state = Interface::open(disk.view()).unwrap();
                        state.raise_horizon(horizon).unwrap();
                        disk.apply(state.finish().unwrap()).unwrap();
                    }
                }
                6 => {
                    copy_to_other_slot(&mut disk, 70, |_| ());
                    copy_to_other_slot(&mut memory, 70, |_| ());
                }
                7 => taken = Some((disk.view(), all(&disk.view()))),
                _ => {}
            }
            let wanted = all(&memory);
            let found = all(&disk.view());
            assert!(found == wanted, "seed {seed}, batch {n}: {} rows of {}", found.len(), wanted.len());
            let from = &wanted[wanted.len() / 3].0;
            let to = &wanted[wanted.len() * 2 / 3].0;
            assert_eq!(
                disk.view().range(from, to, 40).unwrap(),
                memory.range(from, to, 40).unwrap(),
                "seed {seed}, batch {n}"
            );
            if draw.below(4) == 0 {
                copy_as_crashed(&path, &image);
                replayed += disk.view().range(&[0, 3], &[0, 4], usize::MAX).unwrap().len();
                let opened = DiskStore::open(&image).unwrap();
                assert!(all(&opened.view()) == wanted, "seed {seed}, a crash after batch {n}");
                assert!(verify(&opened.view()).unwrap().is_sound());
            }
        }
        assert_unchanged(taken);
        let before = all(&disk.view());
        drop(disk);
        assert!(all(&DiskStore::open(&path).unwrap().view()) == before, "seed {seed}: closed and opened");
    }
    assert!(replayed > 12 * SEEDS as usize, "{replayed} batches were replayed");
}

/// The redo log may have entries of a slot whose rows are being removed: they belong to no state any more.
#[test]
fn survives_crash_while_old_slot_is_cleared() {
    let path = folder("cleared");
    let image = folder("cleared-crashed");
    let mut disk = DiskStore::open(&path).unwrap();
    let mut draw = SplitMix(7);
    for ms in 1..4 {
        let actions: Vec<_> = (0..20).map(|_| action(&mut draw, ms, 40)).collect();
        disk.apply(batch(disk.view(), &actions)).unwrap();
    }
    let root = Interface::open(disk.view()).unwrap().root_hash().unwrap();
    let mut opened = 0;
    copy_to_other_slot(&mut disk, 9, |disk| {
        copy_as_crashed(&path, &image);
        let store = DiskStore::open(&image).unwrap();
        // Of the old slot, only the rows that the engine has had are left.
        let active = |view: DiskStoreView| {
            let (first, end) = Slot::active(&view).unwrap().bounds();
            view.range(&first, &end, usize::MAX).unwrap()
        };
        assert!(active(store.view()) == active(disk.view()));
        assert_eq!(Interface::open(store.view()).unwrap().root_hash().unwrap(), root);
        assert!(verify(&store.view()).unwrap().is_sound());
        opened += 1;
    });
    assert!(opened > 6, "{opened} batches removed the rows");
}

/// A change of a record takes one entry of the redo log, at any depth.
#[test]
fn redo_log_is_as_long_as_what_changed() {
    let mut disk = DiskStore::open(folder("deep")).unwrap();
    let stamp = |ms| Hlc::new(ms, 0, ReplicaId::from_u64(1));
    let set = |depth: u64, ms| {
        let metadata = Metadata { created_at: stamp(ms), updated_at: stamp(ms), label: Label::None };
        let ancestors = (1..depth).map(EntityId::from_u64).collect();
        let value = Value::Lww(Register::new(stamp(ms), vec![3; 20]));
        Action::Add { id: EntityId::from_u64(depth), ancestors, value, metadata }
    };
    disk.apply(batch(disk.view(), &[set(500, 1)])).unwrap();
    let mut bytes = Vec::new();
    for (ms, depth) in (2..).zip([1, 100, 500]) {
        disk.apply(batch(disk.view(), &[set(depth, ms)])).unwrap();
        let key = Key::of(&[&[0, 3], &disk.commits().to_be_bytes()]);
        bytes.push(disk.view().read(&key).unwrap().unwrap().len());
    }
    assert_eq!(bytes, [100; 3], "the key of a trie, and the entry of a record");
}

/// A redo log of another state is detected, and nothing of its result is shown.
#[test]
fn refuses_redo_log_of_other_state() {
    let path = folder("foreign");
    let image = folder("foreign-crashed");
    let mut disk = DiskStore::open(&path).unwrap();
    let mut draw = SplitMix(1);
    let mut write = |disk: &mut DiskStore, ms| {
        let actions: Vec<_> = (0..40).map(|_| action(&mut draw, ms, 300)).collect();
        disk.apply(batch(disk.view(), &actions)).unwrap();
    };
    write(&mut disk, 1);
    disk.flush_index().unwrap();
    write(&mut disk, 2);
    // The redo log entry of the second batch is overwritten.
    let key = Key::of(&[&[0, 3], &2u64.to_be_bytes()]);
    let entry = disk.view().read(&key).unwrap().expect("the entry of the second batch");
    for cut in [entry.len() - 1, entry.len() / 2, 40] {
        let mut other = WriteBatch::default();
        other.put(key.clone(), &entry[..cut]);
        disk.apply(other).unwrap();
        copy_as_crashed(&path, &image);
        let error = DiskStore::open(&image).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { .. }), "{error}");
    }
    // A refused opening does not change the files.
    assert_eq!(DiskStore::open(&image).unwrap_err(), DiskStore::open(&image).unwrap_err());
    let mut turned = entry.to_vec();
    *turned.last_mut().unwrap() ^= 1;
    let mut other = WriteBatch::default();
    other.put(key, turned);
    disk.apply(other).unwrap();
    copy_as_crashed(&path, &image);
    for _ in 0..2 {
        let error = DiskStore::open(&image).unwrap_err();
        assert!(error.to_string().contains("root"), "{error}");
    }
}
