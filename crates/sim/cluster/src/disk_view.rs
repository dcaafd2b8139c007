//! The one type of read view in this crate.
//!
//! The storage and the sessions of core are generic over the view. All states of the simulator, those of the
//! oracle and of adversaries included, are read through [`CheckedDiskView`], so that this code is compiled once.

use crate::read_meter::ReadMeter;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, RowRun, Store, StoreError, WriteBatch};

/// A store in memory without faults, read through a [`CheckedDiskView`].
#[derive(Clone, Debug, Default)]
pub(crate) struct SoundStore(pub(crate) MemoryStore);

impl Store for SoundStore {
    type View = CheckedDiskView;

    fn view(&self) -> CheckedDiskView {
        (&self.0).into()
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.0.apply(batch)
    }
}

/// The rows of a disk at one time. Reading a corrupt row is an error.
#[derive(Clone, Debug)]
pub struct CheckedDiskView {
    rows: MemoryStore,
    corrupt_rows: Option<Arc<BTreeSet<Key>>>,
}

impl CheckedDiskView {
    /// A view of `rows` in which reading one of `corrupt_rows` is an error.
    pub(crate) const fn new(rows: MemoryStore, corrupt_rows: Option<Arc<BTreeSet<Key>>>) -> Self {
        Self { rows, corrupt_rows }
    }

    #[cold]
    fn check(&self, key: &[u8]) -> Result<(), StoreError> {
        if self.corrupt_rows.as_ref().is_some_and(|rows| rows.contains(key)) {
            let shown: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Err(StoreError::Corrupt { what: format!("the checksum of row {shown}…") });
        }
        Ok(())
    }
}

impl From<&MemoryStore> for CheckedDiskView {
    fn from(rows: &MemoryStore) -> Self {
        Self::new(rows.clone(), None)
    }
}

/// Counts rows that were read.
fn count(rows: &[Row]) {
    ReadMeter::add(rows.iter().map(|(key, row)| key.len() + row.len()).sum());
}

impl ReadView for CheckedDiskView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.corrupt_rows.is_some() {
            self.check(key)?;
        }
        let row = self.rows.read(key)?;
        ReadMeter::add(key.len() + row.as_ref().map_or(0, |row| row.len()));
        Ok(row)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range(from, to, limit)?;
        if self.corrupt_rows.is_some() {
            rows.iter().try_for_each(|(key, _)| self.check(key))?;
        }
        count(&rows);
        Ok(rows)
    }

    fn prefetch(&self, keys: &[Key]) {
        self.rows.prefetch(keys);
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.rows.prefetch_runs(keys);
    }

    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        let found = self.rows.ranges(bounds, limit)?;
        if self.corrupt_rows.is_some() {
            found.iter().flatten().try_for_each(|(key, _)| self.check(key))?;
        }
        found.iter().for_each(|rows| count(rows));
        Ok(found)
    }

    // No corrupt row is in a run: the write that flips the bit splits the run.
    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.rows.run(key)
    }

    fn runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Key> {
        self.rows.runs(from, to, limit)
    }
}
