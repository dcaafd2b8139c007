//! The store: batches, and flushing the index.

mod opening;

pub use opening::ReadOnlyStore;

use crate::commit_counter::CommitCounter;
use crate::engine::Engine;
use crate::index_cache::IndexCache;
use crate::parameters::COMMITS_KEY;
use crate::redo_log::{self, RedoRows};
use crate::view::DiskStoreView;
use syncline_store::{Bytes, Key, Store, StoreError, WriteBatch};
use syncline_types::Writer;

/// A store in a folder. One process at a time can have it open.
///
/// # Errors
/// A write that fails, because the disk is full for example, stops the store: it refuses all later writes, and its
/// views still read. Open it again once the cause is removed. It then has every acknowledged batch, and the batch
/// that failed either completely or not at all.
pub struct DiskStore {
    engine: Engine,
    counter: CommitCounter,
    commits: u64,
    cache: IndexCache,
    redo_log: RedoRows,
    /// Why all later writes are refused: the write that failed. It is unknown how much of it is on disk.
    stopped: Option<String>,
}

/// The reason for a store to be stopped while a write is under way.
const UNFINISHED: &str = "it did not come to an end";

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("commits", &self.commits).finish_non_exhaustive()
    }
}

impl DiskStore {
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
        let rows = &self.engine.rows;
        let mut writes = self.engine.durable_batch(unflushed.len());
        for key in unflushed.keys(&[], &[0xff]) {
            let key = key?;
            match self.cache.read(&key) {
                Some(value) => writes.insert(rows, &*key, &*value),
                None => writes.remove(rows, &*key),
            }
        }
        // The entries are deleted in the same batch: an entry that survived the flush of its rows would be
        // replayed on a newer index.
        for key in self.redo_log.keys() {
            writes.remove(rows, &*key);
        }
        self.stopped = Some(UNFINISHED.into());
        let written = writes.commit().map_err(self.engine.error("write its index"));
        self.stop_on_error(written)?;
        self.cache.mark_flushed();
        self.redo_log.clear();
        self.stopped = None;
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

    /// Writes `batch` and its redo log entry durably, as the next commit. `entry` is empty if the batch does not
    /// change the index, and `None` if the batch has to write the rows of the index itself.
    fn write(&mut self, batch: &WriteBatch, entry: Option<&Writer>) -> Result<(), StoreError> {
        let commit = self.commits + 1;
        let rows = &self.engine.rows;
        let mut writes = self.engine.durable_batch(batch.len() + 2);
        let mut write = |key: &[u8], value: Option<&Bytes>| match value {
            Some(value) => writes.insert(rows, key, &**value),
            None => writes.remove(rows, key),
        };
        batch.iter().for_each(|(key, value)| write(key, value));
        if entry.is_none() {
            for (trie, edit) in batch.edits().filter_map(|(trie, edit)| Some((trie, edit?))) {
                edit.rows()
                    .iter()
                    .for_each(|(suffix, value)| write(&Key::of(&[trie, suffix]), value.as_ref()));
            }
        }
        if let Some(entry) = entry.filter(|entry| !entry.is_empty()) {
            writes.insert(rows, &*redo_log::entry_key(commit), entry.as_slice());
        }
        writes.insert(rows, COMMITS_KEY, commit.to_be_bytes());
        writes.commit().map_err(self.engine.error("write a batch"))?;
        // The counter is written only after the commit is durable, because it states that the batch exists.
        self.counter.write(commit)
    }

    /// Refuses to write after a failure.
    fn check_usable(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(cause) => Err(StoreError::Stopped { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Remembers why a write failed.
    fn stop_on_error<T>(&mut self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        written.inspect_err(|error| self.stopped = Some(error.to_string()))
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

impl Store for DiskStore {
    type View = DiskStoreView;

    fn view(&self) -> DiskStoreView {
        DiskStoreView::new(&self.engine, self.cache.clone())
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.check_usable()?;
        let entry = redo_log::encode(&batch);
        if self.must_flush(&batch, entry.as_ref())? {
            self.flush_index()?;
        }
        self.limit_cache()?;
        // Every early return from here on leaves the store refusing writes: disk and memory may differ.
        self.stopped = Some(UNFINISHED.into());
        let written = self.write(&batch, entry.as_ref());
        self.stop_on_error(written)?;
        self.cache.record(&batch, entry.is_some())?;
        self.commits += 1;
        if let Some(entry) = entry.filter(|entry| !entry.is_empty()) {
            self.redo_log.push(self.commits, entry.len());
        }
        self.stopped = None;
        self.debug_check();
        Ok(())
    }
}

impl Drop for DiskStore {
    /// Flushes the index. If that fails, the redo log stays and the next opening replays it.
    fn drop(&mut self) {
        if self.stopped.is_none() {
            let _ignored = self.flush_index();
        }
    }
}
