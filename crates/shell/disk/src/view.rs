//! Consistent reads.

use crate::engine::Engine;
use crate::errors::engine_error;
use crate::index_cache::IndexCache;
use crate::mirror::Mirror;
use crate::unflushed::merge;
use fjall::{Keyspace, Readable, Snapshot};
use std::path::Path;
use std::sync::Arc;
use syncline_store::{Bytes, Key, ReadView, Row, RowRun, StoreError};

/// The state of a [`DiskStore`](crate::DiskStore) at one moment. Later batches do not change it. A clone costs
/// O(1). The store's files stay open as long as a view of them exists.
#[derive(Clone)]
pub struct DiskStoreView {
    snapshot: Arc<Snapshot>,
    rows: Keyspace,
    cache: IndexCache,
    /// The folder that errors name.
    at: Arc<Path>,
    /// The files of a store that is open to read. It is the last field, so that the files are closed before they
    /// are removed.
    _mirror: Option<Arc<Mirror>>,
}

impl DiskStoreView {
    /// A view of what `engine` has now, with the index as `cache` has it. Both must be of one moment.
    pub(crate) fn new(engine: &Engine, cache: IndexCache) -> Self {
        let snapshot = Arc::new(engine.database.snapshot());
        Self { snapshot, rows: engine.rows.clone(), cache, at: engine.at.clone(), _mirror: None }
    }

    /// The same view, which keeps the files in `mirror` as long as it exists.
    pub(crate) fn of_mirror(self, mirror: Mirror) -> Self {
        Self { _mirror: Some(Arc::new(mirror)), ..self }
    }
}

impl std::fmt::Debug for DiskStoreView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStoreView").finish_non_exhaustive()
    }
}

impl ReadView for DiskStoreView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.cache.unflushed().contains(key)? {
            return Ok(self.cache.read(key));
        }
        let value = self.snapshot.get(&self.rows, key).map_err(engine_error("read a row", &self.at))?;
        Ok(value.map(|value| Bytes::from(&*value)))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        // The engine panics on a range that ends before it begins.
        if from >= to {
            return Ok(Vec::new());
        }
        let stored = self.snapshot.range(&self.rows, from.to_vec()..to.to_vec()).map(|row| {
            let (key, value) = row.into_inner().map_err(engine_error("read rows", &self.at))?;
            Ok((Key::from(&*key), Bytes::from(&*value)))
        });
        merge(stored, self.cache.unflushed().keys(from, to), |key| self.cache.read(key), limit)
    }

    fn wants_redo_entries(&self) -> bool {
        true
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.cache.prefetch(keys);
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.cache.trie(key)
    }
}
