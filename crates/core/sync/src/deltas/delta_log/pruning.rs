//! The bounds of the log: which deltas are pruned with a new one, and which are deleted later.

use super::{DeltaLog, delta_key};
use crate::deltas::Dot;
use std::collections::BTreeMap;
use syncline_storage::StorageError;
use syncline_storage::keys::metadata::{LEFTOVERS, LEFTOVERS_END};
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_types::{Decode, DecodeError, Reader, ReplicaId, Writer};

const LEFTOVERS_ROW: &str = "the row of deltas that are yet to be deleted";
/// How many of these rows one read of the store returns.
const ROWS_PER_READ: usize = 1_024;

/// How many deltas of an author a log stores at least that no other store may have, if their bytes permit.
const UNSHARED: u64 = 1_000;
/// How many deltas are pruned with each new one, at most: what is stored may exceed a retention that has become smaller.
const PRUNED_AT_ONCE: u64 = 16;
/// How many deltas are pruned for the bound in bytes with each new one, at most.
const PRUNED_FOR_BYTES: usize = 256;
/// How many deltas are deleted at once, at most, if the state covers later ones that were not received.
pub(super) const DELETED_AT_ONCE: u64 = 1_024;

/// Runs of deltas below the floor that are yet to be deleted: of each the author, the number before the first one, and
/// the last number. The store has a row for each run: the key ends with the author and the number before.
/// Invariant: it had a delta under each number when the run began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Leftovers(BTreeMap<(ReplicaId, u64), u64>);

impl Leftovers {
    pub(super) fn load<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let mut all = Self::default();
        let mut from = Key::of(&[LEFTOVERS]);
        loop {
            let rows = view.range(&from, LEFTOVERS_END, ROWS_PER_READ)?;
            let Some((last, _)) = rows.last() else { return Ok(all) };
            from = Key::of(&[last, &[0]]);
            for (key, row) in &rows {
                all.load_row(key, row).map_err(|error| StorageError::Row { what: LEFTOVERS_ROW, error })?;
            }
        }
    }

    fn load_row(&mut self, key: &[u8], row: &[u8]) -> Result<(), DecodeError> {
        let mut key = Reader::new(key);
        key.raw(LEFTOVERS.len(), LEFTOVERS_ROW)?;
        let author = ReplicaId::decode(&mut key)?;
        let deleted = key.raw(8, LEFTOVERS_ROW)?.try_into().map(u64::from_be_bytes);
        key.finish()?;
        let mut input = Reader::new(row);
        let last = input.varint()?;
        input.finish()?;
        match deleted {
            Ok(deleted) if deleted < last => self.0.insert((author, deleted), last),
            _ => return Err(DecodeError::NotCanonical { what: LEFTOVERS_ROW }),
        };
        Ok(())
    }

    fn key(author: ReplicaId, deleted: u64) -> Key {
        Key::of(&[LEFTOVERS, author.as_bytes(), &deleted.to_be_bytes()])
    }

    /// The deltas of `author` after number `deleted` and up to `last` are yet to be deleted.
    fn push(&mut self, author: ReplicaId, deleted: u64, last: u64, batch: &mut WriteBatch) {
        debug_assert!(deleted < last, "a run has a delta");
        let mut row = Writer::default();
        row.varint(last);
        batch.put(Self::key(author, deleted), row.into_bytes());
        self.0.insert((author, deleted), last);
    }

    fn pop(&mut self, batch: &mut WriteBatch) -> Option<(ReplicaId, u64, u64)> {
        let ((author, deleted), last) = self.0.pop_first()?;
        batch.delete(Self::key(author, deleted));
        Some((author, deleted, last))
    }
}

impl DeltaLog {
    /// Prunes deltas of an author for as long as the log has more of them than the retention. Another store has those
    /// up to number `taken`.
    pub(super) fn prune_for_retention<V: ReadView>(
        &mut self,
        author: ReplicaId,
        taken: u64,
        view: &V,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        let last = self.covered.of(author);
        let last_pruned = last.saturating_sub(self.retention).min(taken.max(last.saturating_sub(UNSHARED)));
        for _ in 0..PRUNED_AT_ONCE {
            if self.floor.of(author) >= last_pruned {
                break;
            }
            self.prune_first(author, view, batch)?;
        }
        Ok(())
    }

    /// Prunes deltas for as long as the log is above its bound in bytes: the first ones of the author with the most
    /// bytes. If possible these are of an author whose first ones every member covers, and own ones that nobody has taken
    /// are the last to go.
    pub(super) fn prune_for_bytes<V: ReadView>(
        &mut self,
        view: &V,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        for _ in 0..PRUNED_FOR_BYTES {
            if self.sizes.total() <= self.capacity {
                break;
            }
            let loss = |author: &ReplicaId| {
                let first = self.floor.of(*author) + 1;
                let is_untaken = self.own == Some(*author) && first > self.taken;
                u8::from(first > self.stable.of(*author)) + u8::from(is_untaken)
            };
            let Some(author) = self.sizes.largest(loss) else { break };
            self.prune_first(author, view, batch)?;
        }
        Ok(())
    }

    /// Prunes the first stored delta of an author, who has one.
    fn prune_first<V: ReadView>(
        &mut self,
        author: ReplicaId,
        view: &V,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        let dot = Dot { author, seq: self.floor.of(author) + 1 };
        debug_assert!(self.covered.covers(dot), "only covered deltas are pruned");
        let key = delta_key(dot);
        let row = match batch.get(&key) {
            Some(written) => written.clone(),
            None => Self::read(view, dot)?,
        };
        let row = row.ok_or(StorageError::Index { what: "a delta above the floor of the log" })?;
        batch.delete(key);
        self.floor.cover(dot);
        self.pruned.cover(dot);
        self.unwritten.insert(author);
        self.sizes.subtract(author, row.len() as u64);
        Ok(())
    }

    /// Raises the floor of an author to `floor`, because the state covers deltas up to there that were not received.
    /// Those up to `stored` were. Deletes up to `most` of these, and leaves the others to [`DeltaLog::sweep`]. Returns
    /// how many it has deleted.
    pub(super) fn raise_floor(
        &mut self,
        author: ReplicaId,
        stored: u64,
        floor: u64,
        most: u64,
        batch: &mut WriteBatch,
    ) -> u64 {
        debug_assert!(stored <= floor && floor <= self.covered.of(author), "only covered deltas are pruned");
        let before = self.floor.of(author);
        let deleted = stored.min(before.saturating_add(most));
        for seq in before + 1..=deleted {
            batch.delete(delta_key(Dot { author, seq }));
        }
        if deleted < stored {
            self.leftovers.push(author, deleted, stored, batch);
        }
        self.floor.cover(Dot { author, seq: floor });
        self.sizes.clear(author);
        deleted - before
    }

    /// Deletes up to `most` rows of deltas below the floor that are yet to be deleted, and of runs of them.
    pub(crate) fn sweep(&mut self, most: u64, batch: &mut WriteBatch) {
        let mut left = most;
        while left > 0 {
            let Some((author, deleted, last)) = self.leftovers.pop(batch) else { return };
            left -= 1;
            let now = last.min(deleted.saturating_add(left.max(1)));
            for seq in deleted + 1..=now {
                batch.delete(delta_key(Dot { author, seq }));
            }
            left = left.saturating_sub(now - deleted);
            if now < last {
                self.leftovers.push(author, now, last, batch);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::MemoryStore;

    /// What nobody has taken is lost if this replica has to come back under another id.
    #[test]
    fn own_deltas_that_nobody_has_taken_are_pruned_last() {
        let own = ReplicaId::from_u64(1);
        let other = ReplicaId::from_u64(2);
        let mut log = DeltaLog::default().with_capacity(52).written_by(own);
        let mut batch = WriteBatch::default();
        for (author, bytes) in [(own, 10), (other, 4)] {
            for seq in 1..=5 {
                let dot = Dot { author, seq };
                log.covered.cover(dot);
                log.sizes.add(author, bytes);
                batch.put(delta_key(dot), vec![0; bytes as usize]);
            }
        }
        let view = MemoryStore::default();
        log.prune_for_bytes(&view, &mut batch).unwrap();
        assert_eq!([own, other].map(|author| log.floor.of(author)), [0, 5], "the own ones have more bytes");
        log.capacity = 25;
        log.prune_for_bytes(&view, &mut batch).unwrap();
        assert_eq!(log.floor.of(own), 3, "the bound holds in any case");
    }

    /// Each run counts as a row, too, so that a heartbeat deletes many short ones.
    #[test]
    fn sweep_deletes_many_runs_and_always_goes_on() {
        let mut log = DeltaLog::default();
        let mut batch = WriteBatch::default();
        let author = ReplicaId::from_u64;
        (0..100).for_each(|n| log.leftovers.push(author(n), 0, 2, &mut batch));
        log.sweep(150, &mut batch);
        assert_eq!(log.leftovers.0.len(), 50);
        log.sweep(150, &mut batch);
        assert_eq!(log.leftovers, Leftovers::default());
        log.leftovers.push(author(1), 0, 3, &mut batch);
        (0..3).for_each(|_| log.sweep(1, &mut batch));
        assert_eq!(log.leftovers, Leftovers::default());
    }
}
