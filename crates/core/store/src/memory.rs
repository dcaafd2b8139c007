//! A store in memory.

use crate::radix::{AT_ONCE, RadixMap};
use crate::{Bytes, Key, ReadView, Row, Run, Runs, Store, StoreError, WriteBatch};
use std::sync::Arc;

/// A store in memory: a clone or a view costs O(1) and shares all rows; a write copies what of its
/// path is shared. `read` and each write cost O(log n). It keeps runs as they are; one of whose rows
/// is written singly falls apart into rows.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    rows: RadixMap<Bytes>,
    runs: Runs,
}

impl MemoryStore {
    /// How many rows it holds. O(rows of runs).
    pub fn len(&self) -> usize {
        self.rows.len() + self.runs.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0 && self.runs.is_empty()
    }

    /// Makes `rows`, which are not of runs, up to `limit` of all rows with `from <= key < to`.
    fn add_rows_of_runs(&self, rows: &mut Vec<Row>, from: &[u8], to: &[u8], limit: usize) {
        if self.runs.is_empty() {
            return;
        }
        let in_runs = self.rows_of_runs(from, to, limit);
        if !in_runs.is_empty() {
            rows.extend(in_runs);
            rows.sort_by(|(a, _), (b, _)| a.cmp(b));
            rows.truncate(limit);
        }
    }

    /// Up to `limit` rows of runs with `from <= key < to`, ascending.
    fn rows_of_runs(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut take = |key: &Key, run: &Arc<dyn Run>, from: &[u8]| {
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
        // The run that `from` lies in begins before it.
        let begun = self.runs.covering(from).filter(|(key, _)| key.len() < from.len());
        let begun = begun.map(|(key, run)| take(key, run, from.split_at(key.len()).1));
        if begun != Some(true) {
            self.runs.walk(from, |key, run| take(key, run, &[]));
        }
        rows
    }

    /// Makes single rows of the run that `key` lies in, if it lies in one.
    fn break_up(&mut self, key: &[u8]) {
        let Some((run_key, run)) = self.runs.remove_covering(key) else { return };
        run.walk(&[], &mut |suffix, value| {
            self.rows.insert(Key::of(&[&run_key, suffix]), value);
            false
        });
    }

    /// Whether a run that would be at `key` was broken up.
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

    fn write(&mut self, key: Key, value: Option<Bytes>) {
        match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        }
    }
}

/// Looks at both ends of a value: beside its first byte is how often it is shared, and it is read to its last.
fn touch(value: &Bytes) -> u8 {
    value.first().copied().unwrap_or(0) ^ value.last().copied().unwrap_or(0)
}

/// Adds a row, unless there are `limit` already. Says whether there are.
fn keep(rows: &mut Vec<Row>, limit: usize, key: &Key, value: &Bytes) -> bool {
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
        self.rows.walk_between(from, to, |key, value| keep(&mut rows, limit, key, value));
        self.add_rows_of_runs(&mut rows, from, to, limit);
        Ok(rows)
    }

    fn prefetch(&self, keys: &[Key]) {
        keys.chunks(AT_ONCE).for_each(|keys| self.rows.visit(keys, touch));
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.runs.prefetch(keys);
    }

    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        let mut found = vec![Vec::new(); bounds.len()];
        for (bounds, found) in bounds.chunks(AT_ONCE).zip(found.chunks_mut(AT_ONCE)) {
            self.rows.walk_ranges(bounds, touch, |number, key, value| {
                found.get_mut(number).is_none_or(|rows| keep(rows, limit, key, value))
            });
        }
        for ((from, to), rows) in bounds.iter().zip(&mut found) {
            self.add_rows_of_runs(rows, from, to, limit);
        }
        Ok(found)
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn Run>> {
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
        for (key, edit) in batch.edits() {
            match edit.filter(|_| self.is_broken_up(key)) {
                None => self.runs.amend(key, edit),
                Some(edit) => {
                    edit.rows().into_iter().for_each(|(end, row)| self.write(Key::of(&[key, &end]), row));
                }
            }
        }
        let mut writes = batch.into_rows();
        let is_long = writes.len() > AT_ONCE;
        let mut next = Vec::with_capacity(AT_ONCE);
        loop {
            next.extend(writes.by_ref().take(AT_ONCE));
            if next.is_empty() {
                return Ok(());
            }
            if is_long {
                self.rows.visit(next.iter().map(|(key, _)| key), touch);
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
    fn a_view_keeps_what_later_batches_change() {
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
