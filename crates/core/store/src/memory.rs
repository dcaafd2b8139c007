//! The store in memory.

use crate::radix::{AT_ONCE, RadixMap};
use crate::{Bytes, Key, ReadView, Row, RowRun, RowRuns, Store, StoreError, WriteBatch};
use std::sync::Arc;

/// A store in memory. A clone or a view takes O(1) and shares all rows; a write copies the shared nodes
/// on its path. A read or a write takes O(log n).
///
/// The store holds runs as they are, until a row of a run is written by itself. Then the run is broken
/// up into single rows. So the rows of a run are either all in `runs` or all in `rows`.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    rows: RadixMap<Bytes>,
    runs: RowRuns,
}

impl MemoryStore {
    /// The number of rows. O(rows in runs).
    pub fn len(&self) -> usize {
        self.rows.len() + self.runs.len()
    }

    /// Whether the store has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0 && self.runs.is_empty()
    }

    /// Adds the rows of runs with `from <= key < to` to `rows`, which has up to `limit` rows of that
    /// range that are not in runs. Up to `limit` rows remain, ascending by key.
    fn add_rows_of_runs(&self, rows: &mut Vec<Row>, from: &[u8], to: &[u8], limit: usize) {
        if self.runs.is_empty() {
            return;
        }
        let in_runs = self.rows_of_runs(from, to, limit);
        if !in_runs.is_empty() {
            // The first `limit` rows of the union are among the first `limit` of each side.
            rows.extend(in_runs);
            rows.sort_by(|(a, _), (b, _)| a.cmp(b));
            debug_assert!(
                rows.is_sorted_by(|(a, _), (b, _)| a < b),
                "a row is in a run or by itself, not both"
            );
            rows.truncate(limit);
        }
    }

    /// Up to `limit` rows of runs with `from <= key < to`, ascending.
    fn rows_of_runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        // Appends the rows of a run from the suffix `from` on. Returns whether no later row is wanted.
        let mut take = |key: &Key, run: &Arc<dyn RowRun>, from: &[u8]| {
            let mut ends = rows.len() >= limit || **key >= *to;
            if !ends {
                run.walk(from, &mut |suffix, value| {
                    let key = Key::of(&[key, suffix]);
                    ends = rows.len() >= limit || *key >= *to;
                    if !ends {
                        rows.push((key, value));
                    }
                    ends
                });
            }
            ends
        };
        // A run that contains `from` has a key less than `from`, so that the walk from there does not
        // find it.
        let first = self.runs.covering(from).filter(|(key, _)| key.len() < from.len());
        let ended = first.is_some_and(|(key, run)| take(key, run, from.split_at(key.len()).1));
        if !ended {
            self.runs.walk(from, |key, run| take(key, run, &[]));
        }
        debug_assert!(rows.len() <= limit && rows.is_sorted_by(|(a, _), (b, _)| a < b), "rows ascend");
        rows
    }

    /// Replaces the run that contains the row `key`, if there is one, by single rows.
    fn break_up(&mut self, key: &[u8]) {
        // The row is in no run, so it is a single row already.
        let Some((run_key, run)) = self.runs.remove_covering(key) else { return };
        run.walk(&[], &mut |suffix, value| {
            self.rows.insert(Key::of(&[&run_key, suffix]), value);
            false
        });
    }

    /// Whether the rows of the run at `key` are single rows, because the run was broken up.
    fn is_broken_up(&self, key: &[u8]) -> bool {
        let mut found = false;
        if self.runs.get(key).is_none() {
            self.rows.walk(key, |row, _| {
                found = row.starts_with(key);
                true
            });
        }
        found
    }

    /// Sets or removes a row that is not in a run.
    fn write(&mut self, key: Key, value: Option<Bytes>) {
        match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        }
    }
}

/// Reads both ends of a value, which loads them into the cache: the reference count is beside the first
/// byte, and a reader reads to the last. The result has no meaning.
fn touch(value: &Bytes) -> u8 {
    value.first().copied().unwrap_or(0) ^ value.last().copied().unwrap_or(0)
}

/// Appends a row, unless there are `limit` rows already. Returns whether there were.
fn push_up_to(rows: &mut Vec<Row>, limit: usize, key: &Key, value: &Bytes) -> bool {
    let ends = rows.len() >= limit;
    if !ends {
        rows.push((key.clone(), value.clone()));
    }
    ends
}

impl ReadView for MemoryStore {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let in_run = || {
            let (own, run) = self.runs.covering(key)?;
            run.read(key.split_at(own.len()).1)
        };
        Ok(self.rows.get(key).cloned().or_else(in_run))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.rows.walk_between(from, to, |key, value| push_up_to(&mut rows, limit, key, value));
        self.add_rows_of_runs(&mut rows, from, to, limit);
        Ok(rows)
    }

    fn prefetch(&self, keys: &[Key]) {
        keys.chunks(AT_ONCE).for_each(|keys| self.rows.prefetch(keys, touch));
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.runs.prefetch(keys);
    }

    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        let mut found = vec![Vec::new(); bounds.len()];
        for (bounds, found) in bounds.chunks(AT_ONCE).zip(found.chunks_mut(AT_ONCE)) {
            self.rows.walk_ranges(bounds, touch, |number, key, value| {
                // There is a result for each of the ranges, so that none of them is left out.
                debug_assert!(number < found.len(), "the walk passes only indices of its ranges");
                found.get_mut(number).is_none_or(|rows| push_up_to(rows, limit, key, value))
            });
        }
        for ((from, to), rows) in bounds.iter().zip(&mut found) {
            self.add_rows_of_runs(rows, from, to, limit);
        }
        Ok(found)
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.runs.get(key)
    }

    fn runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        self.runs.walk(from, |key, _| {
            let ends = **key >= *to || keys.len() >= limit;
            keys.extend((!ends).then(|| key.clone()));
            ends
        });
        keys
    }
}

impl Store for MemoryStore {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        // No step can fail, so that a batch is applied as a whole.
        for (key, edit) in batch.edits() {
            match edit.filter(|_| self.is_broken_up(key)) {
                None => self.runs.amend(key, edit),
                // A run that was broken up stays broken up: otherwise its rows would be in two places.
                Some(edit) => {
                    edit.rows().into_iter().for_each(|(end, row)| self.write(Key::of(&[key, &end]), row));
                }
            }
        }
        // Writes go in groups: the paths of a whole group are loaded together before the first write, so that
        // their cache misses overlap. For a short batch the prefetch costs more than it saves.
        let mut writes = batch.into_rows();
        let is_long = writes.len() > AT_ONCE;
        let mut next = Vec::with_capacity(AT_ONCE);
        loop {
            next.extend(writes.by_ref().take(AT_ONCE));
            if next.is_empty() {
                return Ok(());
            }
            if is_long {
                self.rows.prefetch(next.iter().map(|(key, _)| key), touch);
            }
            for (key, value) in next.drain(..) {
                self.break_up(&key);
                self.write(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(writes: &[(&str, Option<&str>)]) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.put(key.as_bytes().into(), value.as_bytes()),
                None => batch.delete(key.as_bytes().into()),
            }
        }
        batch
    }

    #[test]
    fn later_batches_leave_view_unchanged() {
        let mut store = MemoryStore::default();
        store.apply(batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
        let view = store.view();
        store.apply(batch(&[("a", None), ("b", Some("3"))])).unwrap();
        assert_eq!(view.range(b"", b"z", 9).unwrap().len(), 2);
        assert_eq!(store.read(b"a").unwrap(), None);
        assert_eq!(store.read(b"b").unwrap().as_deref(), Some(&b"3"[..]));
    }

    #[test]
    fn ranges_are_ordered_half_open_and_bounded() {
        let mut store = MemoryStore::default();
        store.apply(batch(&[("a", Some("")), ("b", Some("")), ("c", Some(""))])).unwrap();
        let keys = |from: &str, to: &str, limit| -> Vec<Key> {
            let rows = store.range(from.as_bytes(), to.as_bytes(), limit).unwrap();
            rows.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("a", "c", 9), [Key::of(&[b"a"]), Key::of(&[b"b"])]);
        assert_eq!(keys("a", "z", 1), [Key::of(&[b"a"])]);
        assert!(keys("c", "a", 9).is_empty());
    }
}
