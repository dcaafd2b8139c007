//! The store: opening, batches, and flushing the index.

use crate::commit_counter::CommitCounter;
use crate::engine_error;
use crate::index_cache::IndexCache;
use crate::redo_log::{self, RedoRows};
use crate::view::DiskStoreView;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::Path;
use syncline_storage::{StorageError, index, trie_roots_match};
use syncline_store::{Bytes, Key, ReadView, Store, StoreError, WriteBatch};
use syncline_types::Writer;

/// The row that names the format of the store.
const FORMAT_KEY: &[u8] = &[0, 1];
/// The row with the number of commits, 8 bytes, big-endian.
const COMMITS_KEY: &[u8] = &[0, 2];
const FORMAT: &[u8] = b"syncline store 3";
/// How many bytes the engine gathers in memory before it sorts them into a file. A quarter of the engine's
/// default allows a tenth more inserts per second, because every read searches the rows gathered so far.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// A store in a folder. One process at a time can have it open.
pub struct DiskStore {
    database: Database,
    rows: Keyspace,
    counter: CommitCounter,
    commits: u64,
    cache: IndexCache,
    redo_log: RedoRows,
    /// A write failed, and it is unknown how much of it is on disk. All later writes are refused.
    failed: bool,
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("commits", &self.commits).finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens the store in the folder `path`, or makes an empty one there. After a crash this replays the redo
    /// log, which takes one to two seconds at most.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be used or another process has it open;
    /// [`StoreError::Corrupt`] if it holds something else, or has lost acknowledged batches.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(|error| StoreError::Io {
            operation: "use the folder",
            reason: format!("{}: {error}", path.display()),
        })?;
        let counter = CommitCounter::open(path)?;
        let (database, rows) = open_engine(path)?;
        let mut store = Self {
            database,
            rows,
            counter,
            commits: 0,
            cache: IndexCache::default(),
            redo_log: RedoRows::default(),
            // Set until all checks have passed: dropping a store that failed a check must not write to it.
            failed: true,
        };
        store.check_format()?;
        store.check_commits()?;
        store.replay_redo_log()?;
        store.catch_up_counter()?;
        store.failed = false;
        Ok(store)
    }

    /// As [`DiskStore::open`], but never makes a store.
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

    /// Checks the format of the store, or writes it into an empty one.
    fn check_format(&mut self) -> Result<(), StoreError> {
        match self.view().read(FORMAT_KEY)? {
            Some(format) if *format == *FORMAT => Ok(()),
            Some(_) => Err(StoreError::Corrupt { what: "it is of another format".into() }),
            None if self.counter.last() > 0 => {
                Err(StoreError::Corrupt { what: "its rows are missing".into() })
            }
            None => {
                let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.rows, FORMAT_KEY, FORMAT);
                batch.commit().map_err(engine_error("write its format"))
            }
        }
    }

    /// Reads the number of commits, and compares it with the counter.
    fn check_commits(&mut self) -> Result<(), StoreError> {
        let commits = self.view().read(COMMITS_KEY)?;
        self.commits = match commits.as_deref().map(TryInto::try_into) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(StoreError::Corrupt { what: "the number of commits".into() }),
        };
        let acknowledged = self.counter.last();
        // The counter is written after each commit, so a crash between the two leaves it one behind at most.
        if self.commits > acknowledged + 1 {
            return Err(StoreError::Corrupt { what: "its counter of commits was lost".into() });
        }
        if self.commits < acknowledged {
            let found = self.commits;
            let what = format!("{acknowledged} batches were acknowledged and {found} are there");
            return Err(StoreError::Corrupt { what });
        }
        Ok(())
    }

    /// Writes the number of a commit after which a crash prevented the write of the counter.
    ///
    /// The counter's slots alternate with each commit. Without this write the next one would go to the slot of
    /// the last acknowledged commit, and if it were torn, only a count two commits older would be left.
    fn catch_up_counter(&mut self) -> Result<(), StoreError> {
        if self.commits > self.counter.last() {
            self.counter.write(self.commits)?;
        }
        Ok(())
    }

    /// Applies the redo log to the index, in the cache.
    fn replay_redo_log(&mut self) -> Result<(), StoreError> {
        let corrupt = |error: StorageError| match error {
            StorageError::Store(error) => error,
            error => StoreError::Corrupt { what: format!("its redo log cannot be replayed: {error}") },
        };
        let (log, changes_by_trie) = RedoRows::read(self.view().snapshot(), &self.rows)?;
        self.redo_log = log;
        for (trie, changes) in &changes_by_trie {
            let batch = index::redo(&self.view(), trie, changes).map_err(corrupt)?;
            debug_assert!(batch.iter().len() == 0, "a replay changes the index and no records");
            self.cache.record(&batch, true)?;
        }
        // The log decodes, but is it the log of this state? Its result must have the acknowledged hashes.
        if !trie_roots_match(&self.view(), changes_by_trie.keys()).map_err(corrupt)? {
            let what = "replaying its redo log does not give the root that was acknowledged";
            return Err(StoreError::Corrupt { what: what.into() });
        }
        self.debug_check();
        Ok(())
    }

    /// Writes the unflushed rows of the index, in one durable batch, and deletes the redo log.
    /// [`Store::apply`] calls this when necessary, and so does dropping the store. An additional call makes
    /// the next opening shorter. O(unflushed rows).
    ///
    /// # Errors
    /// As [`Store::apply`]. A failed flush loses nothing: the redo log is still there.
    pub fn flush_index(&mut self) -> Result<(), StoreError> {
        if self.redo_log.is_empty() {
            self.debug_check();
            return Ok(());
        }
        self.check_usable()?;
        let unflushed = self.cache.unflushed();
        let mut writes = self.durable_batch(unflushed.len());
        for key in unflushed.keys(&[], &[0xff]) {
            let key = key?;
            match self.cache.read(&key) {
                Some(value) => writes.insert(&self.rows, &*key, &*value),
                None => writes.remove(&self.rows, &*key),
            }
        }
        // The entries are deleted in the same batch: an entry that survived the flush of its rows would be
        // replayed on a newer index.
        for key in self.redo_log.keys() {
            writes.remove(&self.rows, &**key);
        }
        self.failed = true;
        writes.commit().map_err(engine_error("write its index"))?;
        self.cache.mark_flushed();
        self.redo_log.clear();
        self.failed = false;
        self.debug_check();
        Ok(())
    }

    /// Flushes and clears the cache if it holds too many nodes.
    fn limit_cache(&mut self) -> Result<(), StoreError> {
        if self.cache.is_full() {
            self.flush_index()?;
            self.cache.clear();
        }
        Ok(())
    }

    /// Whether the index must be flushed before `batch` is written. `entry` is the batch's redo log entry.
    fn must_flush(&self, batch: &WriteBatch, entry: Option<&Writer>) -> Result<bool, StoreError> {
        if self.redo_log.is_empty() {
            return Ok(false);
        }
        // The log is replayed in the order of commits, on rows as of the last flush. A batch without an entry
        // writes index rows that earlier entries would be replayed on top of.
        if self.redo_log.is_full() || entry.is_none() {
            return Ok(true);
        }
        // The same holds for single rows of cached tries.
        for (key, _) in batch.iter() {
            if self.cache.contains(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses to write after a failure.
    fn check_usable(&self) -> Result<(), StoreError> {
        if self.failed {
            let reason = "an earlier batch failed; open the store again to see what is there".into();
            return Err(StoreError::Io { operation: "write a batch", reason });
        }
        Ok(())
    }

    fn durable_batch(&self, rows: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.database.clone(), rows).durability(Some(PersistMode::SyncData))
    }

    /// Checks the invariants that hold between any two batches.
    fn debug_check(&self) {
        debug_assert!(
            !self.redo_log.is_empty() || !self.cache.has_unflushed_rows(),
            "every unflushed row has an entry in the redo log"
        );
        debug_assert!(
            self.commits - self.counter.last() <= 1,
            "the counter is at most one commit behind: {} of {}",
            self.counter.last(),
            self.commits
        );
    }

    /// Sets how many index nodes may stay in memory, about 1 KiB each: 131,072 unless set otherwise, which is
    /// the whole index of about a million entities.
    pub const fn set_cache_limit(&mut self, nodes: usize) {
        self.cache.set_limit(nodes);
    }

    /// The number of batches applied since the store was made.
    pub const fn commits(&self) -> u64 {
        self.commits
    }
}

/// Opens the engine in `path`, and its only keyspace.
fn open_engine(path: &Path) -> Result<(Database, Keyspace), StoreError> {
    // The engine may panic on a damaged file. The file is at fault then and not the caller, so this is an error.
    let opened = std::panic::catch_unwind(|| {
        // Digests, which make up most of the redo log, do not compress.
        let builder = Database::builder(path.join("rows")).journal_compression(CompressionType::None);
        let database = builder.worker_threads(1).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let rows = database.keyspace("rows", options)?;
        Ok((database, rows))
    });
    opened
        .map_err(|_| StoreError::Corrupt { what: "the engine cannot read its files".into() })?
        .map_err(engine_error("open its files"))
}

impl Store for DiskStore {
    type View = DiskStoreView;

    fn view(&self) -> DiskStoreView {
        DiskStoreView::new(self.database.snapshot(), self.rows.clone(), self.cache.clone())
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.check_usable()?;
        let entry = redo_log::encode(&batch);
        if self.must_flush(&batch, entry.as_ref())? {
            self.flush_index()?;
        }
        self.limit_cache()?;
        // Every early return from here on leaves the store refusing writes: disk and memory may differ.
        self.failed = true;
        let commit = self.commits + 1;
        let mut writes = self.durable_batch(batch.len() + 2);
        let mut write = |key: &[u8], value: Option<&Bytes>| match value {
            Some(value) => writes.insert(&self.rows, key, &**value),
            None => writes.remove(&self.rows, key),
        };
        batch.iter().for_each(|(key, value)| write(key, value));
        if entry.is_none() {
            for (trie, edit) in batch.edits().filter_map(|(trie, edit)| Some((trie, edit?))) {
                edit.rows()
                    .iter()
                    .for_each(|(suffix, value)| write(&Key::of(&[trie, suffix]), value.as_ref()));
            }
        }
        let entry = entry.filter(|entry| !entry.is_empty());
        let entry_key = redo_log::entry_key(commit);
        if let Some(entry) = &entry {
            writes.insert(&self.rows, &*entry_key, entry.as_slice());
        }
        writes.insert(&self.rows, COMMITS_KEY, commit.to_be_bytes());
        writes.commit().map_err(engine_error("write a batch"))?;
        // The counter is written only after the commit is durable, because it states that the batch exists.
        self.counter.write(commit)?;
        self.cache.record(&batch, entry.is_some())?;
        if let Some(entry) = entry {
            self.redo_log.push(entry_key, entry.len());
        }
        self.commits = commit;
        self.failed = false;
        self.debug_check();
        Ok(())
    }
}

impl Drop for DiskStore {
    /// Flushes the index. If that fails, the redo log stays and the next opening replays it.
    fn drop(&mut self) {
        if !self.failed {
            let _ignored = self.flush_index();
        }
    }
}
