//! Acknowledged batches survive crashes, and damaged files are refused.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use syncline_disk::DiskStore;
use syncline_replica::model::{Counter, Map, Register};
use syncline_storage::{ApplyContext, Interface};
use syncline_store::{Key, MemoryStore, ReadView, Store, StoreError, WriteBatch};
use syncline_types::{Digest, HlcClock, Moment, ReplicaId, SimTime};

/// An empty folder that no other test uses.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// Writes batch number `n`: ten new registers, and one counter that all batches increment.
fn write(store: &mut DiskStore, n: u64) -> Digest {
    let map: Map<u64, Register<u64>> = Map::named("written");
    let mut state = Interface::open(store.view()).unwrap();
    let mut clock = HlcClock::new(ReplicaId::from_u64(1));
    let moment = Moment::at(SimTime::from_millis(n + 1));
    let registers = (0..10).map(|at| map.entry(&(n * 10 + at)).set(&n));
    for operation in registers.chain([Counter::named("batches").add(1)]) {
        let action = operation.to_action(&mut state, &mut clock, moment).unwrap();
        state.apply_action(&action, &ApplyContext::new(moment)).unwrap();
    }
    let root = state.root_hash().unwrap();
    store.apply(state.finish().unwrap()).unwrap();
    root
}

/// The number of batches in the state. Checks that the root is that of the records, and that each batch is
/// complete.
fn batches(store: &DiskStore) -> u64 {
    let mut state = Interface::open(store.view()).unwrap();
    let root = state.root_hash().unwrap();
    assert_eq!(state.rebuilt_root().unwrap(), root, "the stored root is that of the records");
    let count = Counter::named("batches").get(&mut state).unwrap() as u64;
    let map: Map<u64, Register<u64>> = Map::named("written");
    for n in 0..count * 10 {
        assert_eq!(map.entry(&n).get(&mut state).unwrap(), Some(n / 10), "batch {} is complete", n / 10);
    }
    assert_eq!(map.entry(&(count * 10)).get(&mut state).unwrap(), None);
    count
}

const CHILD: &str = "SYNCLINE_DISK_CHILD";

/// Not a test by itself: the process that is killed. It prints each acknowledged batch.
#[test]
fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut store = DiskStore::open(Path::new(&path)).unwrap();
    for n in batches(&store).. {
        write(&mut store, n);
        println!("acknowledged {}", n + 1);
    }
}

/// Kills a real process at a random moment, many times over, on one store.
#[test]
fn killed_process_loses_no_acknowledged_batch() {
    let path = folder("killed");
    let rounds = std::env::var("SYNCLINE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20u64);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Wait for the first batch, and then between zero and 60 ms: some kills come during the first writes,
        // others many batches later.
        let mut note = |line: String| {
            if let Some(n) = line.split("acknowledged ").nth(1).and_then(|n| n.trim().parse().ok()) {
                acknowledged = n;
            }
        };
        while let Some(Ok(line)) = lines.next() {
            let began = line.contains("acknowledged");
            note(line);
            if began {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(round * round * 977 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(Ok(line)) = lines.next() {
            note(line);
        }
        let store = DiskStore::open(&path).unwrap();
        let found = batches(&store);
        // The last batch may have been written and not yet acknowledged.
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} of {acknowledged} in round {round}"
        );
        assert_eq!(store.commits(), found);
        acknowledged = found;
    }
    assert!(acknowledged > rounds, "the processes wrote {acknowledged} batches");
}

#[test]
fn agrees_with_memory_store() {
    let mut disk = DiskStore::open(folder("same")).unwrap();
    let mut memory = MemoryStore::default();
    let before = disk.view();
    for n in 0u8..60 {
        let mut batch = WriteBatch::default();
        for key in 0..20u8 {
            let key = key.wrapping_mul(n.wrapping_add(7));
            if (n ^ key).is_multiple_of(3) {
                batch.delete(Key::of(&[&[1, key]]));
            } else {
                batch.put(Key::of(&[&[1, key]]), [n, key]);
            }
        }
        disk.apply(batch.clone()).unwrap();
        memory.apply(batch).unwrap();
        let found = disk.view();
        let wanted = memory.view();
        assert_eq!(found.range(&[1], &[2], 999).unwrap(), wanted.range(&[1], &[2], 999).unwrap());
        assert_eq!(found.range(&[1, n], &[1, 200], 5).unwrap(), wanted.range(&[1, n], &[1, 200], 5).unwrap());
        assert_eq!(found.read(&[1, n]).unwrap(), wanted.read(&[1, n]).unwrap());
        assert!(found.range(&[2], &[1], 9).unwrap().is_empty());
    }
    assert!(before.range(&[1], &[2], 9).unwrap().is_empty(), "a view does not change");
}

#[test]
fn refuses_second_open() {
    let path = folder("twice");
    let _open = DiskStore::open(&path).unwrap();
    let error = DiskStore::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { at } if at.contains("twice")), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
}

#[test]
fn open_existing_creates_nothing() {
    let path = folder("absent");
    for error in [DiskStore::open_existing(&path).unwrap_err(), DiskStore::open_read_only(&path).unwrap_err()]
    {
        assert!(matches!(&error, StoreError::Missing { at } if at.contains("absent")), "{error}");
    }
    assert!(!path.exists());
}

/// Every file under `path`.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// Whether to try every place of damage. Debug builds try a third, `.ci/run release-tests` all.
const IS_FULL: bool = !cfg!(debug_assertions);

/// Changes a byte or truncates a file, in each file at several places. The store then opens with all
/// acknowledged batches, or reports the damage. It never shows another state.
fn damage_everywhere(path: &Path, broken: &Path) {
    let mut all = Vec::new();
    files(path, &mut all);
    all.sort();
    let mut whole = 0;
    let mut refused = 0;
    for (at, file) in all.iter().enumerate() {
        let len = fs::metadata(file).unwrap().len();
        // Of `turn` and `turn + 3` one changes a byte and the other truncates.
        for turn in (0..6u64).filter(|turn| IS_FULL || turn % 3 == at as u64 % 3) {
            let _ = fs::remove_dir_all(broken);
            copy(path, broken);
            let target = broken.join(file.strip_prefix(path).unwrap());
            let mut bytes = fs::read(&target).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let place = (len.min(1 << 17) * (turn * 2 + 1) / 13 + at as u64) as usize % bytes.len();
            if turn % 2 == 0 {
                bytes[place] ^= 0x41;
            } else {
                bytes.truncate(place);
            }
            fs::write(&target, bytes).unwrap();
            let opened = std::panic::catch_unwind(|| {
                let store = DiskStore::open(broken)?;
                let mut state = Interface::open(store.view())
                    .map_err(|error| StoreError::Corrupt { what: error.to_string() })?;
                // Opening reads only part of the store: damage elsewhere is found by reading all of it.
                state.visible().map_err(|error| StoreError::Corrupt { what: error.to_string() })?;
                Ok::<u64, StoreError>(batches(&store))
            });
            match opened.expect("no panic comes out of a damaged store") {
                Ok(30) => whole += 1,
                Ok(n) => panic!("{} at {place}: {n} batches of 30 are there", file.display()),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0 && whole > 0, "{refused} refused, {whole} whole");
}

#[test]
fn damaged_store_is_refused_or_whole() {
    let path = folder("sound");
    let image = folder("crashed");
    let broken = folder("broken");
    let mut store = DiskStore::open(&path).unwrap();
    for n in 0..30 {
        write(&mut store, n);
    }
    // Once as a crash leaves the store, with a redo log; and once as closing leaves it, with a flushed index.
    copy(&path, &image);
    drop(store);
    damage_everywhere(&image, &broken);
    damage_everywhere(&path, &broken);
}

#[test]
fn refuses_missing_commit_counter() {
    let path = folder("uncounted");
    let mut store = DiskStore::open(&path).unwrap();
    for n in 0..3 {
        write(&mut store, n);
    }
    drop(store);
    fs::remove_file(path.join("commits")).unwrap();
    for _ in 0..2 {
        let error = DiskStore::open(&path).unwrap_err();
        assert!(error.to_string().contains("counter of commits is missing: 3 batches"), "{error}");
        assert!(!path.join("commits").exists(), "a refused store is not changed");
    }
}

#[test]
fn opens_after_torn_counter_write() {
    let path = folder("torn");
    drop(DiskStore::open(&path).unwrap());
    let counter = path.join("commits");
    let mut bytes = fs::read(&counter).unwrap();
    bytes.extend([1, 2, 3]);
    fs::write(&counter, bytes).unwrap();
    let mut store = DiskStore::open(&path).unwrap();
    write(&mut store, 0);
    assert_eq!(batches(&store), 1);
}

#[test]
fn opens_after_crash_and_torn_counter_write() {
    let path = folder("counted-late");
    let counter = path.join("commits");
    let mut store = DiskStore::open(&path).unwrap();
    write(&mut store, 0);
    write(&mut store, 1);
    let before = fs::read(&counter).unwrap();
    write(&mut store, 2);
    drop(store);
    // The first crash came between the third commit and its count.
    fs::write(&counter, before).unwrap();
    let mut store = DiskStore::open(&path).unwrap();
    write(&mut store, 3);
    drop(store);
    // The second crash tore the count of the fourth commit, in the first slot.
    let mut bytes = fs::read(&counter).unwrap();
    bytes[..16].fill(0xee);
    fs::write(&counter, bytes).unwrap();
    assert_eq!(batches(&DiskStore::open(&path).unwrap()), 4);
}
