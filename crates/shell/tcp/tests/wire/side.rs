//! One side of a session: its store on disk, and checks of that store.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use syncline_disk::DiskStore;
use syncline_replica::model::{Map, Register};
use syncline_replica::{Event, Notice, Replica, ReplicaConfig};
use syncline_storage::Interface;
use syncline_store::Store;
use syncline_sync::{
    DriveError, Outcome, SessionStats, SharedKey, StoreHost, SyncTransport, bloom_filter_sync, delta_sync,
    drive, hash_comparison_sync, snapshot_sync,
};
use syncline_tcp::TcpConfig;
use syncline_types::{Choice, ContextId, Digest, Entropy, Moment, ReplicaId, SimTime};

pub(crate) const CONTEXT: ContextId = ContextId([3; 32]);
pub(crate) const CLIENT: u64 = 1;
pub(crate) const SERVER: u64 = 2;

/// Longer than any test here takes. Only a hanging test reaches it.
pub(crate) const EVER: Duration = Duration::from_secs(120);

pub(crate) fn config() -> TcpConfig {
    TcpConfig::new(CONTEXT, SharedKey([7; 32]))
}

/// Runs a test's work on one thread, and fails if it hangs.
pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(EVER, work).await.expect("the work comes to an end") })
}

/// An empty folder that no other test uses.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tcp").join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

pub(crate) fn copy(from: &Path, to: &Path) {
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

fn map() -> Map<u64, Register<Vec<u8>>> {
    Map::named("entries")
}

/// The value that every replica writes at `key`. It does not compress, so that pages stay full.
fn value(key: u64) -> Vec<u8> {
    (0..24u8).flat_map(|part| Digest::of(part, &key.to_le_bytes()).0).collect()
}

/// Entropy for a replica that only writes, which makes no draw that matters.
struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

/// Writes entries as a replica does, a hundred to a delta.
pub(crate) fn write<S: Store>(store: &mut S, replica: u64, keys: Range<u64>) {
    let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(replica));
    let (mut replica, actions) = Replica::recover(config, &store.view()).unwrap();
    store.apply(actions.storage).unwrap();
    let keys: Vec<u64> = keys.collect();
    for (step, keys) in keys.chunks(100).enumerate() {
        let moment = Moment::at(SimTime::from_millis(step as u64 + 1));
        let operations = keys.iter().map(|key| map().entry(key).set(&value(*key))).collect();
        let actions = replica.step(store.view(), Event::Write(operations), moment, &mut Lowest).unwrap();
        assert!(actions.notices.iter().all(|notice| !matches!(notice, Notice::WriteRefused { .. })));
        store.apply(actions.storage).unwrap();
    }
}

/// A store on disk with these entries; an empty range leaves it fresh.
pub(crate) fn make(path: &Path, replica: u64, keys: Range<u64>) {
    let mut store = DiskStore::open(path).unwrap();
    if !keys.is_empty() {
        write(&mut store, replica, keys);
    }
}

pub(crate) fn host_of<S: Store>(store: S, replica: u64) -> StoreHost<S> {
    let moment = Moment::at(SimTime::from_secs(1));
    StoreHost::open(store, CONTEXT, ReplicaId::from_u64(replica), moment).unwrap()
}

pub(crate) fn open(path: &Path, replica: u64) -> StoreHost<DiskStore> {
    host_of(DiskStore::open(path).unwrap(), replica)
}

/// The root of a state. Checks that it is the root of the records, and that all `keys` have their values.
pub(crate) fn root_with<S: Store>(store: &S, keys: &[Range<u64>]) -> Digest {
    let mut state = Interface::open(store.view()).unwrap();
    let root = state.root_hash().unwrap();
    assert_eq!(state.rebuilt_root().unwrap(), root, "the stored root is that of the records");
    for key in keys.iter().cloned().flatten().collect::<BTreeSet<_>>() {
        assert_eq!(map().entry(&key).get(&mut state).unwrap(), Some(value(key)), "entry {key}");
    }
    root
}

/// As [`root_with`], of the store at `path`, which must be closed.
pub(crate) fn reopened_root(path: &Path, keys: &[Range<u64>]) -> Digest {
    root_with(&DiskStore::open_existing(path).unwrap(), keys)
}

/// The protocol that a session requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Any,
    Snapshot,
    Walk,
    Filter,
    Deltas,
}

impl Protocol {
    pub(crate) const ALL: [Self; 5] = [Self::Any, Self::Snapshot, Self::Walk, Self::Filter, Self::Deltas];

    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name).expect("the name of a protocol")
    }

    /// The entries of the two sides. Only a fresh replica takes a snapshot; otherwise the two overlap.
    pub(crate) fn entries(self) -> (Range<u64>, Range<u64>) {
        match self {
            Self::Snapshot => (0..0, 0..2_000),
            Self::Deltas => (0..3_000, 2_000..5_000),
            _ => (0..1_000, 600..1_600),
        }
    }

    pub(crate) async fn run<S: Store, T: SyncTransport>(
        self,
        host: &mut StoreHost<S>,
        transport: &mut T,
    ) -> Result<(Outcome, SessionStats), DriveError> {
        match self {
            Self::Any => drive(host, transport).await,
            Self::Snapshot => snapshot_sync(host, transport).await,
            Self::Walk => hash_comparison_sync(host, transport).await,
            Self::Filter => bloom_filter_sync(host, transport).await,
            Self::Deltas => delta_sync(host, transport).await,
        }
    }
}
