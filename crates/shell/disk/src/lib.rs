//! A [`Store`] on disk.
//!
//! A batch is durable when [`Store::apply`] returns, and after a crash it is there whole or not at
//! all. Views are snapshots that later batches do not change.
//!
//! The engine is `fjall`, a log-structured merge tree in Rust. It was chosen by measurement: the
//! Merkle index makes three small rows of every write, scattered over the whole key space, and a
//! log takes them at twice the speed of a B-tree that rewrites a page for each (`redb`); `rocksdb` is
//! of the same kind and takes a C++ compiler many minutes. `cargo run --release -- disk` in
//! `benches/` repeats the comparison.
//!
//! Nodes of the index that were read or written lately stay in memory as they are, so that changing them
//! again reads no row.
//!
//! A log has one weakness: when its end is damaged, that cannot be told from a crash, and the engine
//! forgets the batches there. So a counter of commits lies in a file of its own, written after each
//! commit. A store that is behind its counter has lost what it had acknowledged, and does not open.

mod progress;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use progress::Progress;
use std::path::Path;
use std::sync::Arc;
use syncline_store::{Bytes, Key, ReadView, Row, Run, Runs, Store, StoreError, WriteBatch};

/// Where the format of a store is written; no row of a state has this key.
const FORMAT_KEY: &[u8] = &[0, 1];
/// How many batches were applied: grows with each.
const COMMITS_KEY: &[u8] = &[0, 2];
const FORMAT: &[u8] = b"syncline store 1";
/// How many rows of the index stay in memory: about 1.5 KiB each.
const ROWS_AT_HAND: usize = 1 << 16;

/// A store in a folder.
pub struct DiskStore {
    database: Database,
    rows: Keyspace,
    progress: Progress,
    commits: u64,
    /// What is known of the index, and of how many rows at most.
    at_hand: Runs,
    rows_at_hand: usize,
    /// A batch failed, and nobody knows how much of it is on the disk.
    failed: bool,
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("commits", &self.commits).finish_non_exhaustive()
    }
}

/// A state of a [`DiskStore`] that does not change while it is held.
#[derive(Clone)]
pub struct DiskView {
    snapshot: Arc<Snapshot>,
    rows: Keyspace,
    at_hand: Runs,
}

impl std::fmt::Debug for DiskView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskView").finish_non_exhaustive()
    }
}

/// What the engine could not do, in our words.
fn failed(operation: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| match error {
        fjall::Error::Io(error) => StoreError::Io { operation, reason: error.to_string() },
        fjall::Error::Locked => StoreError::Io { operation, reason: "another process has it open".into() },
        error => StoreError::Corrupt { what: format!("the engine cannot {operation}: {error}") },
    }
}

impl DiskStore {
    /// Opens the store in the folder `path`, or makes an empty one there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be used or another process has it open;
    /// [`StoreError::Corrupt`] if it holds something else, or has lost what it once acknowledged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let io = |error: std::io::Error| StoreError::Io {
            operation: "use the folder",
            reason: format!("{}: {error}", path.display()),
        };
        std::fs::create_dir_all(path).map_err(io)?;
        let progress = Progress::open(path)?;
        // A damaged file may surprise the engine itself; that is the file's fault and not the caller's.
        let opened = std::panic::catch_unwind(|| {
            let database = Database::builder(path.join("rows")).worker_threads(1).open()?;
            let rows = database.keyspace("rows", KeyspaceCreateOptions::default)?;
            Ok((database, rows))
        });
        let (database, rows) = opened
            .map_err(|_| StoreError::Corrupt { what: "the engine cannot make sense of its files".into() })?
            .map_err(failed("open its files"))?;
        let mut store = Self {
            database,
            rows,
            progress,
            commits: 0,
            at_hand: Runs::default(),
            rows_at_hand: 0,
            failed: false,
        };
        store.check_format()?;
        let commits = store.view().read(COMMITS_KEY)?;
        store.commits = match commits.as_deref().map(TryInto::try_into) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(StoreError::Corrupt { what: "the number of commits".into() }),
        };
        let acknowledged = store.progress.last();
        if store.commits > acknowledged + 1 {
            // A crash leaves the counter one behind at most.
            return Err(StoreError::Corrupt { what: "its counter of commits was lost".into() });
        }
        if store.commits < acknowledged {
            let found = store.commits;
            let what = format!("{acknowledged} batches were acknowledged and {found} are there");
            return Err(StoreError::Corrupt { what });
        }
        Ok(store)
    }

    /// As [`DiskStore::open`], but only what is there already.
    ///
    /// # Errors
    /// As [`DiskStore::open`]; [`StoreError::Io`] if there is no store at `path`.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        if !path.as_ref().join("rows").is_dir() {
            let reason = format!("there is no store at {}", path.as_ref().display());
            return Err(StoreError::Io { operation: "open it", reason });
        }
        Self::open(path)
    }

    fn check_format(&mut self) -> Result<(), StoreError> {
        match self.view().read(FORMAT_KEY)? {
            Some(format) if *format == *FORMAT => Ok(()),
            Some(_) => Err(StoreError::Corrupt { what: "it is of another format".into() }),
            None if self.progress.last() > 0 => Err(StoreError::Corrupt { what: "its rows are gone".into() }),
            None => {
                let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.rows, FORMAT_KEY, FORMAT);
                batch.commit().map_err(failed("write its format"))
            }
        }
    }

    /// Keeps at hand what a batch has done to the index.
    fn remember(&mut self, batch: &WriteBatch) {
        for (key, edit) in batch.edits() {
            self.at_hand.amend(key, edit);
            self.rows_at_hand += edit.map_or(0, |edit| edit.len());
        }
        if !self.at_hand.is_empty() {
            batch.iter().for_each(|(key, _)| drop(self.at_hand.remove_covering(key)));
        }
        if self.rows_at_hand > ROWS_AT_HAND {
            // Rows that changed again were counted again.
            self.rows_at_hand = self.at_hand.len();
            if self.rows_at_hand > ROWS_AT_HAND / 2 {
                (self.at_hand, self.rows_at_hand) = (Runs::default(), 0);
            }
        }
    }

    /// How many batches were applied.
    pub const fn commits(&self) -> u64 {
        self.commits
    }
}

impl Store for DiskStore {
    type View = DiskView;

    fn view(&self) -> DiskView {
        DiskView {
            snapshot: Arc::new(self.database.snapshot()),
            rows: self.rows.clone(),
            at_hand: self.at_hand.clone(),
        }
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        if self.failed {
            let reason = "an earlier batch failed; open the store again to see what is there".into();
            return Err(StoreError::Io { operation: "write a batch", reason });
        }
        self.failed = true;
        let commits = self.commits + 1;
        let mut writes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.len() + 1)
            .durability(Some(PersistMode::SyncData));
        let mut write = |key: &[u8], value: Option<&Bytes>| match value {
            Some(value) => writes.insert(&self.rows, key, &**value),
            None => writes.remove(&self.rows, key),
        };
        batch.iter().for_each(|(key, value)| write(key, value));
        for (key, edit) in batch.edits() {
            let rows = edit.iter().flat_map(|edit| edit.rows());
            rows.for_each(|(suffix, value)| write(&Key::of(&[key, &suffix]), value.as_ref()));
        }
        writes.insert(&self.rows, COMMITS_KEY, commits.to_be_bytes());
        writes.commit().map_err(failed("write a batch"))?;
        self.progress.write(commits)?;
        self.remember(&batch);
        (self.commits, self.failed) = (commits, false);
        Ok(())
    }
}

impl ReadView for DiskView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.snapshot.get(&self.rows, key).map_err(failed("read a row"))?;
        Ok(value.map(|value| Bytes::from(&*value)))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.snapshot.range(&self.rows, from.to_vec()..to.to_vec()).take(limit);
        let row = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(failed("read rows"))?;
            Ok((Key::from(&*key), Bytes::from(&*value)))
        };
        rows.map(row).collect()
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn Run>> {
        self.at_hand.get(key)
    }
}
