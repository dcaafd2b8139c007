//! Index nodes in memory, and which of their rows the engine does not have yet.

use crate::unflushed::UnflushedRows;
use std::sync::Arc;
use syncline_store::{Bytes, Key, RowRun, RowRuns, StoreError, WriteBatch};

/// The limit on cached nodes unless [`DiskStore::set_cache_limit`](crate::DiskStore::set_cache_limit) says
/// otherwise.
const DEFAULT_LIMIT: usize = 1 << 17;

/// Index nodes that were read or written lately, each trie as one run of rows. A clone costs O(1).
///
/// Every unflushed row belongs to a trie in this cache, because its current value is nowhere else. So the
/// cache may be cleared only after a flush.
#[derive(Clone)]
pub(crate) struct IndexCache {
    tries: RowRuns,
    unflushed: UnflushedRows,
    /// An upper bound of the number of cached nodes: a node that changes again is counted again.
    nodes: usize,
    limit: usize,
}

impl Default for IndexCache {
    fn default() -> Self {
        Self {
            tries: RowRuns::default(),
            unflushed: UnflushedRows::default(),
            nodes: 0,
            limit: DEFAULT_LIMIT,
        }
    }
}

impl IndexCache {
    pub(crate) const fn set_limit(&mut self, nodes: usize) {
        self.limit = nodes;
    }

    /// Brings the cache to the state after `batch`. `is_logged` says that the redo log has its index changes,
    /// so that the engine does not have their rows yet.
    pub(crate) fn record(&mut self, batch: &WriteBatch, is_logged: bool) -> Result<(), StoreError> {
        for (trie, edit) in batch.edits() {
            self.tries.amend(trie, edit);
            self.nodes += edit.map_or(0, |edit| edit.len());
            if let Some(edit) = edit.filter(|_| is_logged) {
                self.unflushed.insert(trie, &**edit)?;
            }
        }
        // A batch may also write index rows one by one. The cached trie does not know of these changes: drop it.
        // `DiskStore::must_flush` has made sure that none of its rows was unflushed.
        if !self.tries.is_empty() {
            for (key, _) in batch.iter() {
                self.tries.remove_covering(key);
            }
        }
        Ok(())
    }

    /// Whether the cache holds so many nodes that it is to be cleared. O(1) until the estimate exceeds the
    /// limit, then O(nodes).
    pub(crate) fn is_full(&mut self) -> bool {
        if self.nodes <= self.limit {
            return false;
        }
        self.nodes = self.tries.len();
        // A quarter of the limit is the least distance to the next count: without it a cache that stays just
        // below its limit would be counted with every batch.
        self.nodes > self.limit / 4 * 3
    }

    /// Drops all nodes.
    pub(crate) fn clear(&mut self) {
        debug_assert!(!self.has_unflushed_rows(), "unflushed rows have their values in the cache alone");
        self.tries = RowRuns::default();
        self.nodes = 0;
    }

    /// Records that the engine has every row.
    pub(crate) fn mark_flushed(&mut self) {
        self.unflushed = UnflushedRows::default();
    }

    pub(crate) fn has_unflushed_rows(&self) -> bool {
        self.unflushed.len() > 0
    }

    /// The rows that the engine does not have yet.
    pub(crate) const fn unflushed(&self) -> &UnflushedRows {
        &self.unflushed
    }

    /// Whether the row `key` belongs to a cached trie, or is unflushed.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.tries.covering(key).is_some() || self.unflushed.contains(key)?)
    }

    /// The row `key` as the cached trie has it; `None` if there is none, or its trie is not cached.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Bytes> {
        let (trie, run) = self.tries.covering(key)?;
        debug_assert!(key.starts_with(trie), "a trie covers the rows whose keys begin with its own");
        run.read(key.split_at(trie.len()).1)
    }

    /// The trie at `key`.
    pub(crate) fn trie(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.tries.get(key)
    }

    /// Touches the tries at `keys`, so that cache misses overlap.
    pub(crate) fn prefetch(&self, keys: &[Key]) {
        self.tries.prefetch(keys);
    }
}
