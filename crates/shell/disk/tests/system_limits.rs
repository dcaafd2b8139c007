//! What the system refuses: full disks, open files, missing permissions. None of it is damage, and nothing that was
//! acknowledged is lost.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use syncline_disk::DiskStore;
use syncline_replica::model::{Counter, Map, Register};
use syncline_storage::{ApplyContext, Interface, StorageError, verify};
use syncline_store::{ReadView, Store, StoreError};
use syncline_types::{HlcClock, Moment, ReplicaId, SimTime};

/// An empty folder that no other test uses.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("limits").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut x = seed + 1;
    let mut draw = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..bytes).map(|_| draw()).collect()
}

/// Writes batch number `n`: ten new registers of `size` bytes, and one counter that all batches increment.
fn write(store: &mut DiskStore, n: u64, size: usize) -> Result<(), StoreError> {
    let store_error = |error: StorageError| match error {
        StorageError::Store(error) => error,
        other => panic!("{other}"),
    };
    let map: Map<u64, Register<Vec<u8>>> = Map::named("written");
    let mut state = Interface::open(store.view()).map_err(store_error)?;
    let mut clock = HlcClock::new(ReplicaId::from_u64(1));
    let moment = Moment::at(SimTime::from_millis(n + 1));
    let registers = (0..10).map(|at| map.entry(&(n * 10 + at)).set(&noise(n * 10 + at, size)));
    for operation in registers.chain([Counter::named("batches").add(1)]) {
        let action = operation.to_action(&mut state, &mut clock, moment).unwrap();
        state.apply_action(&action, &ApplyContext::new(moment)).unwrap();
    }
    store.apply(state.finish().map_err(store_error)?)
}

/// The number of batches in the state. Checks that every row is sound, and that each batch is complete.
fn batches(view: &impl ReadView, size: usize) -> u64 {
    assert!(verify(view).unwrap().is_sound());
    let mut state = Interface::open(view.clone()).unwrap();
    let count = Counter::named("batches").get(&mut state).unwrap() as u64;
    let map: Map<u64, Register<Vec<u8>>> = Map::named("written");
    for n in 0..count * 10 {
        assert_eq!(map.entry(&n).get(&mut state).unwrap(), Some(noise(n, size)), "entry {n}");
    }
    assert_eq!(map.entry(&(count * 10)).get(&mut state).unwrap(), None);
    count
}

/// Writes until the store refuses. Returns how many batches it acknowledged, with the error.
fn write_until_refused(path: &Path, size: usize) -> (u64, StoreError) {
    let mut store = match DiskStore::open(path) {
        Ok(store) => store,
        Err(error) => return (0, error),
    };
    for n in batches(&store.view(), size)..100_000 {
        if let Err(error) = write(&mut store, n, size) {
            // The store accepts no more writes, and says why; what it acknowledged can still be read.
            let next = write(&mut store, n, size).unwrap_err();
            let is_stopped = matches!(&next, StoreError::Stopped { cause } if *cause == error.to_string());
            assert!(is_stopped, "{next} after {error}");
            assert_eq!(batches(&store.view(), size), n);
            return (n, error);
        }
    }
    panic!("the disk of the test is not full after 100,000 batches");
}

/// Opens the store after its cause of failure is gone: it has what was acknowledged, and accepts writes.
fn assert_recovers(path: &Path, size: usize, acknowledged: u64) {
    let mut store = DiskStore::open(path).unwrap();
    let found = batches(&store.view(), size);
    // The batch that failed is there completely or not at all.
    assert!(found == acknowledged || found == acknowledged + 1, "{found} of {acknowledged}");
    for n in found..found + 5 {
        write(&mut store, n, size).unwrap();
    }
    drop(store);
    assert_eq!(batches(&DiskStore::open(path).unwrap().view(), size), found + 5);
}

const CHILD: &str = "SYNCLINE_LIMITS_CHILD";

fn child_folder(test: &str) -> Option<PathBuf> {
    let (wanted, path) =
        std::env::var(CHILD).ok()?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    (wanted == test).then(|| path.into())
}

/// Runs the test `name` of this program again, as a child with `path`, behind a command line.
fn child(before: &[&str], name: &str, path: &Path) -> Output {
    let program = std::env::current_exe().unwrap();
    let (first, rest) = before.split_first().unwrap();
    Command::new(first)
        .args(rest)
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, format!("{name}:{}", path.display()))
        .output()
        .unwrap()
}

fn assert_passed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "the child ran its test");
    println!("{}", text(&output.stdout));
}

/// A shell that sets a limit of its process, and then runs the program.
fn with_limit(limit: &str) -> [String; 4] {
    // The signal of a file that becomes too large ends a process, unless it is ignored.
    ["sh".into(), "-c".into(), format!("trap '' XFSZ; {limit}; exec \"$@\""), "sh".into()]
}

/// A command that gives its program a mount namespace of its own; `None` where the system does not permit that.
fn namespace() -> Option<&'static [&'static str]> {
    let permitted = ["unshare", "--user", "--map-root-user", "--mount"];
    let tried = "mount -t tmpfs -o size=64k tmpfs /mnt";
    let output = Command::new(permitted[0]).args(&permitted[1..]).args(["sh", "-c", tried]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(&["unshare", "--user", "--map-root-user", "--mount"]);
    }
    println!("not run: this system does not permit a mount namespace");
    None
}

fn mount(args: &[&str]) {
    let output = Command::new("mount").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A real full disk, at many sizes: some are full while the store is created, some at a batch, some while the engine
/// sorts in the background.
#[test]
fn full_disk_loses_nothing() {
    if let Some(path) = child_folder("full_disk_loses_nothing") {
        let at = path.to_str().unwrap();
        let mut during_creation = 0;
        for (kib, size) in [
            (8, 200),
            (16, 200),
            (32, 200),
            (64, 200),
            (256, 200),
            (1_000, 2_000),
            (9_000, 20_000),
            (19_000, 50_000),
            (24_000, 50_000),
            (30_000, 50_000),
            (44_000, 50_000),
        ] {
            mount(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs", at]);
            let store = path.join("store");
            let (acknowledged, error) = write_until_refused(&store, size);
            assert!(matches!(error, StoreError::NoSpace { .. }), "{kib} KiB: {error}");
            let text = error.to_string();
            assert!(text.contains("no space") && text.contains(at) && !text.contains("damage"), "{text}");
            during_creation += u64::from(acknowledged == 0);
            // Still full: the store opens, or says again that the disk is full.
            match DiskStore::open(&store) {
                Ok(store) => assert!(batches(&store.view(), size) >= acknowledged),
                Err(error) => assert!(matches!(error, StoreError::NoSpace { .. }), "{kib} KiB: {error}"),
            }
            mount(&["-o", "remount,size=200m", at]);
            assert_recovers(&store, size, acknowledged);
            println!("{kib} KiB: {acknowledged} batches, then: {error}");
            let output = Command::new("umount").args(["--lazy", at]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert!(during_creation > 0, "some disks are full before the first batch");
        return;
    }
    if let Some(namespace) = namespace() {
        assert_passed(&child(namespace, "full_disk_loses_nothing", &folder("full")));
    }
}

/// A limit on the size of files is found everywhere, also where nothing can be mounted.
#[test]
fn limit_on_file_size_loses_nothing() {
    const BYTES: usize = 300;
    let name = "limit_on_file_size_loses_nothing";
    if let Some(path) = child_folder(name) {
        let (acknowledged, error) = write_until_refused(&path, BYTES);
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
        fs::write(path.with_extension("count"), acknowledged.to_string()).unwrap();
        return;
    }
    let path = folder("file-size");
    // The engine reserves the length of a new journal, so the store is created without a limit.
    drop(DiskStore::open(&path).unwrap());
    let mut before = 0;
    for blocks in [100, 400, 1_500] {
        let shell = with_limit(&format!("ulimit -f {blocks}"));
        assert_passed(&child(&shell.each_ref().map(String::as_str), name, &path));
        let acknowledged = fs::read_to_string(path.with_extension("count")).unwrap().parse().unwrap();
        assert!(acknowledged > before, "{acknowledged} with {blocks} blocks");
        assert_recovers(&path, BYTES, acknowledged);
        before = acknowledged;
    }
}

/// Too few descriptors: each limit either suffices, or is named.
#[test]
fn too_few_descriptors_are_named() {
    let name = "too_few_descriptors_are_named";
    if let Some(path) = child_folder(name) {
        let opened = DiskStore::open(&path).and_then(|mut store| write(&mut store, 7, 10));
        let read = DiskStore::open_read_only(&path).map(|store| store.commits());
        for error in [opened.err(), read.err()].into_iter().flatten() {
            assert!(matches!(error, StoreError::TooManyFiles { .. }), "{error:?}");
            assert!(error.to_string().contains("ulimit -n"), "{error}");
            println!("named: {error}");
        }
        return;
    }
    let path = folder("descriptors");
    let mut store = DiskStore::open(&path).unwrap();
    (0..7).for_each(|n| write(&mut store, n, 10).unwrap());
    drop(store);
    let temporary = folder("descriptors-temporary");
    let mut named = 0;
    for limit in [5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 40] {
        let copied = folder("descriptors-copy");
        copy(&path, &copied);
        let shell = with_limit(&format!("export TMPDIR='{}'; ulimit -n {limit}", temporary.display()));
        let output = child(&shell.each_ref().map(String::as_str), name, &copied);
        assert_passed(&output);
        named += u32::from(String::from_utf8_lossy(&output.stdout).contains("named: "));
        let found = batches(&DiskStore::open(&copied).unwrap().view(), 10);
        assert!((7..=8).contains(&found), "{found} with {limit} descriptors");
    }
    assert!(named >= 3, "{named} limits were too low");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "no mirror is left over");
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

/// Every file under `path`, with its bytes and the time of its last change.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            found.extend(contents(&entry));
        } else {
            let changed = fs::metadata(&entry).unwrap().modified().unwrap();
            found.push((entry.clone(), fs::read(&entry).unwrap(), changed));
        }
    }
    found.sort();
    found
}

/// A store as a crash leaves it: with sorted files, journals, and a redo log.
fn crashed_store(name: &str) -> (PathBuf, u64) {
    const BYTES: usize = 100_000;
    let path = folder(name);
    let image = folder(&format!("{name}-image"));
    let mut store = DiskStore::open(&path).unwrap();
    for n in 0..40 {
        write(&mut store, n, BYTES).unwrap();
    }
    // The engine sorts in the background: wait until it has.
    let sorted = path.join("rows/keyspaces/1/tables");
    while fs::read_dir(&sorted).unwrap().next().is_none() {
        std::thread::yield_now();
    }
    drop(store);
    let mut store = DiskStore::open(&path).unwrap();
    write(&mut store, 40, BYTES).unwrap();
    copy(&path, &image);
    (image, 41)
}

#[test]
fn read_only_open_changes_nothing() {
    let (path, expected) = crashed_store("read-only");
    let before = contents(&path);
    let store = DiskStore::open_read_only(&path).unwrap();
    assert_eq!((batches(&store.view(), 100_000), store.commits()), (expected, expected));
    // Any number may read; nobody may write meanwhile.
    let other = DiskStore::open_read_only(&path).unwrap();
    assert!(matches!(DiskStore::open(&path), Err(StoreError::Locked { .. })));
    let view = store.view();
    drop((store, other));
    assert_eq!(batches(&view, 100_000), expected, "a view outlives its store");
    assert!(matches!(DiskStore::open(&path), Err(StoreError::Locked { .. })), "a view still reads the files");
    drop(view);
    assert!(contents(&path) == before, "no file was changed");
    let mut store = DiskStore::open(&path).unwrap();
    assert!(matches!(DiskStore::open_read_only(&path), Err(StoreError::Locked { .. })));
    write(&mut store, expected, 100_000).unwrap();
}

/// The temporary folder that a mirror lies in is empty again after the last view.
#[test]
fn mirror_is_removed() {
    let name = "mirror_is_removed";
    if let Some(path) = child_folder(name) {
        let used = || fs::read_dir(std::env::temp_dir()).unwrap().count();
        let store = DiskStore::open_read_only(&path).unwrap();
        assert_eq!(used(), 1);
        drop(store);
        assert_eq!(used(), 0);
        fs::remove_file(path.join("commits")).unwrap();
        assert!(matches!(DiskStore::open_read_only(&path), Err(StoreError::Corrupt { .. })));
        assert_eq!(used(), 0, "also after an error");
        return;
    }
    let path = folder("mirrored");
    let temporary = folder("temporary");
    write(&mut DiskStore::open(&path).unwrap(), 0, 10).unwrap();
    let shell = with_limit(&format!("export TMPDIR='{}'", temporary.display()));
    assert_passed(&child(&shell.each_ref().map(String::as_str), name, &path));
}

/// A file system that is mounted read-only.
#[test]
fn read_only_file_system_can_be_read() {
    let name = "read_only_file_system_can_be_read";
    if let Some(path) = child_folder(name) {
        let at = path.to_str().unwrap();
        mount(&["--bind", at, at]);
        mount(&["-o", "remount,ro,bind", at]);
        let error = DiskStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::NotPermitted { .. }), "{error}");
        assert!(error.to_string().contains("read-only") && error.to_string().contains(at), "{error}");
        let error = DiskStore::open(path.join("new")).unwrap_err();
        assert!(matches!(error, StoreError::NotPermitted { .. }), "{error}");
        let store = DiskStore::open_read_only(&path).unwrap();
        assert_eq!(batches(&store.view(), 100_000), 41);
        return;
    }
    let Some(namespace) = namespace() else { return };
    let (path, expected) = crashed_store("read-only-mount");
    assert_passed(&child(namespace, name, &path));
    assert_eq!(batches(&DiskStore::open(&path).unwrap().view(), 100_000), expected);
}

/// The folder of another user. The superuser may write everywhere: the test has nothing to show then.
#[test]
fn folder_without_write_permission_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let path = folder("permissions");
    let mut store = DiskStore::open(&path).unwrap();
    (0..3).for_each(|n| write(&mut store, n, 10).unwrap());
    drop(store);
    let permit = |file: u32, folder: u32| {
        let mut all = vec![path.clone()];
        while let Some(entry) = all.pop() {
            let is_folder = entry.is_dir();
            if is_folder {
                all.extend(fs::read_dir(&entry).unwrap().map(|entry| entry.unwrap().path()));
            }
            let mode = if is_folder { folder } else { file };
            fs::set_permissions(&entry, PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    permit(0o444, 0o555);
    let may_write = fs::File::create(path.join("probe")).is_ok();
    let opened = DiskStore::open(&path).map(drop);
    let read = DiskStore::open_read_only(&path).map(|store| batches(&store.view(), 10));
    permit(0o644, 0o755);
    assert!(may_write || matches!(opened, Err(StoreError::NotPermitted { .. })), "{opened:?}");
    assert_eq!(read, Ok(3));
}
