//! The simulated disk of a node, and what goes wrong with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use sync_sim_engine::actor::Commit;
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, RowRun, StoreError, WriteBatch};
use syncline_types::canary;

/// What a node has on disk. Sound, it is a [`MemoryStore`] that commits at once; a clone or a view costs
/// O(1).
///
/// Like the stores of production it keeps a checksum of every row, so that a row which is not what was
/// written is an error when it is read, and it counts its commits in another place, so that a loss of
/// the last ones is noticed when it is opened.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    rows: MemoryStore,
    /// What a crash would leave, if that is less.
    synced: Option<MemoryStore>,
    /// How many commits it would lose.
    unsynced: u64,
    /// A crash has lost commits that were acknowledged.
    has_lost: bool,
    /// Rows whose checksum is wrong.
    rotten: Option<Arc<BTreeSet<Key>>>,
    faults: DiskFaults,
}

/// What was wrong with a disk so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DiskFaults {
    pub(super) failed_writes: u64,
    pub(super) lying_syncs: u64,
    pub(super) lost_commits: u64,
    pub(super) torn_writes: u64,
}

impl SimDisk {
    /// A disk that holds this.
    pub(super) fn holding(rows: MemoryStore) -> Self {
        Self { rows, ..Self::default() }
    }

    /// An empty disk instead of this one; only what was wrong with it is still known.
    pub(super) fn replaced(&self) -> Self {
        Self { faults: self.faults, ..Self::default() }
    }

    /// All its rows, as they are.
    pub const fn rows(&self) -> &MemoryStore {
        &self.rows
    }

    /// What a crash would leave.
    pub(super) fn durable(&self) -> &MemoryStore {
        self.synced.as_ref().unwrap_or(&self.rows)
    }

    /// Its rows, checked as they are read.
    pub fn view(&self) -> DiskView {
        DiskView { rows: self.rows.clone(), rotten: self.rotten.clone() }
    }

    pub(super) const fn faults(&self) -> DiskFaults {
        self.faults
    }

    /// Whether a row is not what was written.
    pub(super) const fn is_rotten(&self) -> bool {
        self.rotten.is_some()
    }

    /// Whether a crash has lost commits that were acknowledged.
    pub(super) const fn has_lost(&self) -> bool {
        self.has_lost
    }

    /// Writes a batch: all of it, or nothing and an error. A batch without writes is no commit.
    pub(super) fn commit(&mut self, batch: WriteBatch, commit: Commit) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        match commit {
            Commit::Lost => return Ok(()),
            Commit::Torn { permille } => {
                self.faults.torn_writes += 1;
                return self.tear(&batch, permille);
            }
            Commit::Fails => {
                self.faults.failed_writes += 1;
                let (operation, reason) = ("write a batch", "the medium refused".to_owned());
                return Err(StoreError::Io { operation, reason });
            }
            Commit::Unsynced => {
                self.faults.lying_syncs += 1;
                self.unsynced += 1;
                self.synced.get_or_insert_with(|| self.rows.clone());
            }
            Commit::Durable => (self.synced, self.unsynced) = (None, 0),
        }
        self.write(batch)
    }

    fn write(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        use syncline_store::Store;
        if let Some(rotten) = &mut self.rotten {
            let rotten = Arc::make_mut(rotten);
            for (key, _) in batch.as_rows().iter() {
                rotten.remove(key);
            }
        }
        if self.rotten.as_ref().is_some_and(|rotten| rotten.is_empty()) {
            self.rotten = None;
        }
        self.rows.apply(batch)
    }

    /// Power fails within a commit. The batch was on its way to a journal, and one that is not whole there
    /// is passed over when the disk is read again.
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

    /// The machine goes down: what was never synced is gone.
    pub(super) fn crash(&mut self) {
        if let Some(synced) = self.synced.take() {
            self.faults.lost_commits += std::mem::take(&mut self.unsynced);
            (self.rows, self.has_lost) = (synced, true);
        }
    }

    /// From now on what it holds is all that was ever acknowledged, as far as anybody knows.
    pub(super) const fn forget_the_loss(&mut self) {
        self.has_lost = false;
    }

    /// A bit of a row flips, of a row and at a place that `place` decides. Says whether there is a row. O(n).
    pub(super) fn rot(&mut self, place: u64) -> bool {
        let rows = self.rows.range(&[], &[0xff], usize::MAX).unwrap_or_default();
        let full: Vec<&Row> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
        let Some((key, value)) = full.get((place % full.len().max(1) as u64) as usize) else { return false };
        let mut bytes = value.to_vec();
        let bit = (place >> 20) % (bytes.len() as u64 * 8);
        if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
        let mut flip = WriteBatch::default();
        flip.put(key.clone(), bytes);
        use syncline_store::Store;
        let flipped = self.rows.apply(flip);
        Arc::make_mut(self.rotten.get_or_insert_default()).insert(key.clone());
        flipped.is_ok()
    }
}

/// The rows of a disk as they were when the view was taken. A row that has rotten is an error.
#[derive(Clone, Debug)]
pub struct DiskView {
    rows: MemoryStore,
    rotten: Option<Arc<BTreeSet<Key>>>,
}

impl DiskView {
    #[cold]
    fn check(&self, key: &[u8]) -> Result<(), StoreError> {
        if self.rotten.as_ref().is_some_and(|rotten| rotten.contains(key)) {
            let shown: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Err(StoreError::Corrupt { what: format!("the checksum of row {shown}…") });
        }
        Ok(())
    }
}

impl ReadView for DiskView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.rotten.is_some() {
            self.check(key)?;
        }
        self.rows.read(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range(from, to, limit)?;
        if self.rotten.is_some() {
            rows.iter().try_for_each(|(key, _)| self.check(key))?;
        }
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
        if self.rotten.is_some() {
            found.iter().flatten().try_for_each(|(key, _)| self.check(key))?;
        }
        Ok(found)
    }

    // No rotten row is in a run: what is to flip a bit of it breaks the run up.
    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.rows.run(key)
    }

    fn runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Key> {
        self.rows.runs(from, to, limit)
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
    fn a_crash_loses_what_was_committed_since_the_last_true_sync_and_nothing_else() {
        let mut disk = SimDisk::default();
        disk.commit(batch(&[("a", "1")]), Commit::Durable).unwrap();
        disk.commit(batch(&[("b", "1")]), Commit::Unsynced).unwrap();
        disk.commit(batch(&[("c", "1")]), Commit::Unsynced).unwrap();
        let mut lucky = disk.clone();
        disk.crash();
        assert_eq!((disk.rows().len(), disk.faults().lost_commits, disk.has_lost()), (1, 2, true));
        lucky.commit(batch(&[("d", "1")]), Commit::Durable).unwrap();
        lucky.crash();
        assert_eq!((lucky.rows().len(), lucky.faults().lost_commits, lucky.has_lost()), (4, 0, false));
    }

    #[test]
    fn a_write_that_fails_or_is_torn_leaves_nothing_behind() {
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
    fn a_rotten_row_is_an_error_until_it_is_written_anew() {
        let mut disk = SimDisk::default();
        assert!(!disk.rot(7), "there is nothing to rot");
        disk.commit(batch(&[("a", "1"), ("b", "2")]), Commit::Durable).unwrap();
        let before = disk.view();
        assert!(disk.rot(1));
        assert!(disk.is_rotten() && before.read(b"b").is_ok());
        let view = disk.view();
        assert!(view.read(b"a").is_ok() && view.read(b"b").is_err() && view.range(b"a", b"z", 9).is_err());
        assert_ne!(disk.rows().read(b"b").unwrap().as_deref(), Some(&b"2"[..]), "a bit has flipped");
        disk.commit(batch(&[("b", "3")]), Commit::Durable).unwrap();
        assert!(!disk.is_rotten() && disk.view().read(b"b").is_ok());
    }
}
