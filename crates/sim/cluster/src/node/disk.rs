//! The simulated disk of a node and its faults.

use crate::disk_view::CheckedDiskView;
use std::collections::BTreeSet;
use std::sync::Arc;
use sync_sim_engine::actor::Commit;
use syncline_store::{Key, MemoryStore, ReadView, Row, StoreError, WriteBatch};
use syncline_types::canary;

/// The disk of a node. Without faults it is a [`MemoryStore`] in which every commit is durable at once; a clone or a
/// view costs O(1).
///
/// Like the stores of production it has a checksum for every row, so that reading a corrupt row is an error, and it
/// stores its commit count in a separate place, so that a loss of the last commits is detected when it is opened.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    rows: MemoryStore,
    /// The rows that survive a crash; `None` if all rows do.
    synced: Option<MemoryStore>,
    /// Number of commits that a crash loses.
    unsynced: u64,
    /// Whether a crash has lost acknowledged commits.
    has_lost_commits: bool,
    /// The keys of rows whose checksum does not match; never an empty set.
    corrupt_rows: Option<Arc<BTreeSet<Key>>>,
    faults: DiskFaults,
}

/// Counts of the faults of a disk so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DiskFaults {
    pub(super) failed_writes: u64,
    pub(super) lying_syncs: u64,
    pub(super) lost_commits: u64,
    pub(super) torn_writes: u64,
}

impl SimDisk {
    /// A disk with these rows, all durable.
    pub(super) fn with_rows(rows: MemoryStore) -> Self {
        Self { rows, ..Self::default() }
    }

    /// An empty disk with the fault counts of this one.
    pub(super) fn erased(&self) -> Self {
        Self { faults: self.faults, ..Self::default() }
    }

    /// A disk with these rows, all durable, and the fault counts of this one.
    pub(super) fn with_rows_of(&self, rows: &MemoryStore) -> Self {
        Self { rows: rows.clone(), ..self.erased() }
    }

    /// All rows of the disk, corrupt ones included.
    pub const fn rows(&self) -> &MemoryStore {
        &self.rows
    }

    /// The rows that survive a crash.
    pub(super) fn durable(&self) -> &MemoryStore {
        self.synced.as_ref().unwrap_or(&self.rows)
    }

    /// A view that verifies checksums as rows are read. O(1).
    pub fn view(&self) -> CheckedDiskView {
        CheckedDiskView::new(self.rows.clone(), self.corrupt_rows.clone())
    }

    pub(super) const fn faults(&self) -> DiskFaults {
        self.faults
    }

    /// Whether some row is corrupt.
    pub(super) const fn is_corrupt(&self) -> bool {
        self.corrupt_rows.is_some()
    }

    /// Whether a crash has lost acknowledged commits.
    pub(super) const fn has_lost_commits(&self) -> bool {
        self.has_lost_commits
    }

    /// Commits a batch: all of it, or nothing and an error. An empty batch is no commit.
    pub(super) fn commit(&mut self, batch: WriteBatch, commit: Commit) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        match commit {
            // The node crashes before the write reaches the disk.
            Commit::Lost => return Ok(()),
            Commit::Torn { permille } => {
                self.faults.torn_writes += 1;
                return self.tear(&batch, permille);
            }
            Commit::Fails => {
                self.faults.failed_writes += 1;
                let reason = "the medium refused".to_owned();
                return Err(StoreError::Io { operation: "write a batch", reason });
            }
            Commit::Unsynced => {
                self.faults.lying_syncs += 1;
                self.unsynced += 1;
                // The first unsynced commit saves the rows that a crash restores.
                self.synced.get_or_insert_with(|| self.rows.clone());
            }
            Commit::Durable => {
                self.synced = None;
                self.unsynced = 0;
            }
        }
        self.write(batch)
    }

    fn write(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        use syncline_store::Store;
        // A row that is written again has a valid checksum.
        if let Some(corrupt_rows) = &mut self.corrupt_rows {
            let corrupt_rows = Arc::make_mut(corrupt_rows);
            for (key, _) in batch.as_rows().iter() {
                corrupt_rows.remove(key);
            }
        }
        if self.corrupt_rows.as_ref().is_some_and(|rows| rows.is_empty()) {
            self.corrupt_rows = None;
        }
        self.rows.apply(batch)
    }

    /// Power fails within a commit. The batch was being written to a journal, and recovery skips a journal entry that
    /// is not complete.
    fn tear(&mut self, batch: &WriteBatch, permille: u64) -> Result<(), StoreError> {
        if canary!(TornCommit) {
            let batch = batch.as_rows();
            let written = batch.len() as u64 * permille / 1_000;
            let rows = batch.iter().take(written as usize);
            let torn = rows.map(|(key, value)| (key.clone(), value.cloned())).collect();
            return self.write(torn);
        }
        let _ = permille;
        Ok(())
    }

    /// The machine goes down: commits that were never synced are lost.
    pub(super) fn crash(&mut self) {
        if let Some(synced) = self.synced.take() {
            self.faults.lost_commits += std::mem::take(&mut self.unsynced);
            self.rows = synced;
            self.has_lost_commits = true;
        } else {
            assert!(self.unsynced == 0, "without a synced state every commit is durable");
        }
    }

    /// The host has handled the loss: from now on the rows of the disk count as all that was acknowledged.
    pub(super) const fn clear_loss(&mut self) {
        self.has_lost_commits = false;
    }

    /// Flips one bit of one row, both chosen by `place`. Returns whether there is a row. O(n).
    pub(super) fn rot(&mut self, place: u64) -> bool {
        let rows = self.rows.range(&[], &[0xff], usize::MAX).unwrap_or_default();
        // An empty value has no bit to flip.
        let full: Vec<&Row> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
        if full.is_empty() {
            return false;
        }
        let (key, value) = full[(place % full.len() as u64) as usize];
        let mut bytes = value.to_vec();
        let bit = (place >> 20) % (bytes.len() as u64 * 8);
        if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
        let mut flip = WriteBatch::default();
        flip.put(key.clone(), bytes);
        use syncline_store::Store;
        self.rows.apply(flip).expect("a store in memory takes any batch");
        Arc::make_mut(self.corrupt_rows.get_or_insert_default()).insert(key.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: &[(&str, &str)]) -> WriteBatch {
        let mut batch = WriteBatch::default();
        rows.iter().for_each(|(key, value)| batch.put(Key::of(&[key.as_bytes()]), value.as_bytes()));
        batch
    }

    #[test]
    fn crash_loses_unsynced_commits_only() {
        let mut disk = SimDisk::default();
        disk.commit(batch(&[("a", "1")]), Commit::Durable).unwrap();
        disk.commit(batch(&[("b", "1")]), Commit::Unsynced).unwrap();
        disk.commit(batch(&[("c", "1")]), Commit::Unsynced).unwrap();
        let mut lucky = disk.clone();
        disk.crash();
        assert_eq!((disk.rows().len(), disk.faults().lost_commits, disk.has_lost_commits()), (1, 2, true));
        lucky.commit(batch(&[("d", "1")]), Commit::Durable).unwrap();
        lucky.crash();
        assert_eq!(
            (lucky.rows().len(), lucky.faults().lost_commits, lucky.has_lost_commits()),
            (4, 0, false)
        );
    }

    #[test]
    fn failed_and_torn_writes_leave_nothing() {
        let mut disk = SimDisk::default();
        let rows = batch(&[("a", "1"), ("b", "2")]);
        assert!(disk.commit(rows.clone(), Commit::Fails).is_err());
        disk.commit(rows.clone(), Commit::Torn { permille: 999 }).unwrap();
        disk.commit(rows, Commit::Lost).unwrap();
        assert!(disk.commit(WriteBatch::default(), Commit::Fails).is_ok(), "nothing to write");
        assert!(disk.rows().is_empty());
        assert_eq!((disk.faults().failed_writes, disk.faults().torn_writes), (1, 1));
    }

    #[test]
    fn corrupt_row_fails_until_rewritten() {
        let mut disk = SimDisk::default();
        assert!(!disk.rot(7), "there is nothing to rot");
        disk.commit(batch(&[("a", "1"), ("b", "2")]), Commit::Durable).unwrap();
        let before = disk.view();
        assert!(disk.rot(1));
        assert!(disk.is_corrupt() && before.read(b"b").is_ok());
        let view = disk.view();
        assert!(view.read(b"a").is_ok() && view.read(b"b").is_err() && view.range(b"a", b"z", 9).is_err());
        assert_ne!(disk.rows().read(b"b").unwrap().as_deref(), Some(&b"2"[..]), "a bit has flipped");
        disk.commit(batch(&[("b", "3")]), Commit::Durable).unwrap();
        assert!(!disk.is_corrupt() && disk.view().read(b"b").is_ok());
    }
}
