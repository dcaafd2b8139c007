//! What is acknowledged survives; what is damaged is refused.

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

/// A folder of this test alone, emptied.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// Writes batch number `n`: ten registers of its own, and one counter that all batches raise.
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

/// How many batches the state shows, after making sure that its root is that of its records and that
/// each batch is there whole.
fn batches(store: &DiskStore) -> u64 {
    let mut state = Interface::open(store.view()).unwrap();
    let root = state.root_hash().unwrap();
    assert_eq!(state.rebuilt_root().unwrap(), root, "the stored root is that of the records");
    let count = Counter::named("batches").get(&mut state).unwrap() as u64;
    let map: Map<u64, Register<u64>> = Map::named("written");
    for n in 0..count * 10 {
        assert_eq!(map.entry(&n).get(&mut state).unwrap(), Some(n / 10), "batch {} is there whole", n / 10);
    }
    assert_eq!(map.entry(&(count * 10)).get(&mut state).unwrap(), None);
    count
}

const CHILD: &str = "SYNCLINE_DISK_CHILD";

/// Not a test by itself: what the killed process does. It says each batch that was acknowledged.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut store = DiskStore::open(Path::new(&path)).unwrap();
    for n in batches(&store).. {
        write(&mut store, n);
        println!("acknowledged {}", n + 1);
    }
}

/// Kills a real process at a random moment, many times over, on one store.
#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let path = folder("killed");
    let rounds = std::env::var("SYNCLINE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20u64);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Let it begin, then some more: from the midst of the first writes to many batches later.
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
        // The last one may have been written and not yet acknowledged.
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
fn a_store_does_what_a_memory_store_does() {
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
        let (one, two) = (disk.view(), memory.view());
        assert_eq!(one.range(&[1], &[2], 999).unwrap(), two.range(&[1], &[2], 999).unwrap());
        assert_eq!(one.range(&[1, n], &[1, 200], 5).unwrap(), two.range(&[1, n], &[1, 200], 5).unwrap());
        assert_eq!(one.read(&[1, n]).unwrap(), two.read(&[1, n]).unwrap());
        assert!(one.range(&[2], &[1], 9).unwrap().is_empty());
    }
    assert!(before.range(&[1], &[2], 9).unwrap().is_empty(), "a view does not change");
}

#[test]
fn a_store_that_is_open_is_not_opened_again() {
    let path = folder("twice");
    let _open = DiskStore::open(&path).unwrap();
    let error = DiskStore::open(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Io { reason, .. } if reason.contains("another process")), "{error}");
}

#[test]
fn what_is_not_there_is_not_made_by_looking() {
    let path = folder("absent");
    let error = DiskStore::open_existing(&path).unwrap_err();
    assert!(error.to_string().contains("there is no store"), "{error}");
    assert!(!path.exists());
}

/// Every file of a store, largest first.
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

/// Whatever byte is changed and wherever a file is cut, the store opens with all it ever acknowledged
/// or says that it is damaged. It never shows another state.
fn damage_everywhere(path: &Path, broken: &Path) {
    let mut all = Vec::new();
    files(path, &mut all);
    all.sort();
    let (mut whole, mut refused) = (0, 0);
    for (at, file) in all.iter().enumerate() {
        let len = fs::metadata(file).unwrap().len();
        for turn in 0..6u64 {
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
                // Reading all of it finds what opening did not.
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
fn a_damaged_store_is_refused_or_whole_and_never_wrong() {
    let (path, image, broken) = (folder("sound"), folder("crashed"), folder("broken"));
    let mut store = DiskStore::open(&path).unwrap();
    for n in 0..30 {
        write(&mut store, n);
    }
    // As a crash leaves it, its index in notes; and as it is closed.
    copy(&path, &image);
    drop(store);
    damage_everywhere(&image, &broken);
    damage_everywhere(&path, &broken);
}

#[test]
fn a_store_whose_counter_is_gone_is_refused() {
    let path = folder("uncounted");
    let mut store = DiskStore::open(&path).unwrap();
    for n in 0..3 {
        write(&mut store, n);
    }
    drop(store);
    fs::remove_file(path.join("commits")).unwrap();
    let error = DiskStore::open(&path).unwrap_err();
    assert!(error.to_string().contains("counter"), "{error}");
}

#[test]
fn a_counter_whose_first_write_was_torn_still_opens() {
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
