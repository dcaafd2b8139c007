//! A store in memory.

use crate::radix::RadixMap;
use crate::{Bytes, ReadView, Row, Store, StoreError, WriteBatch};

/// A store in memory: a clone or a view costs O(1) and shares all rows; a write copies what of its
/// path is shared. `read` and each write cost O(log n).
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(RadixMap);

impl MemoryStore {
    /// How many rows it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl ReadView for MemoryStore {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.0.walk(from, |key, value| {
            let ends = **key >= *to || rows.len() >= limit;
            if !ends {
                rows.push((key.clone(), value.clone()));
            }
            ends
        });
        Ok(rows)
    }
}

impl Store for MemoryStore {
    type View = Self;

    fn view(&self) -> Self {
        self.clone()
    }

    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StoreError> {
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(key),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

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
        store.apply(&batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
        let view = store.view();
        store.apply(&batch(&[("a", None), ("b", Some("3"))])).unwrap();
        assert_eq!(view.range(b"", b"z", 9).unwrap().len(), 2);
        assert_eq!(store.read(b"a").unwrap(), None);
        assert_eq!(store.read(b"b").unwrap().as_deref(), Some(&b"3"[..]));
    }

    #[test]
    fn ranges_are_ordered_half_open_and_bounded() {
        let mut store = MemoryStore::default();
        store.apply(&batch(&[("a", Some("")), ("b", Some("")), ("c", Some(""))])).unwrap();
        let keys = |from: &str, to: &str, limit| -> Vec<Key> {
            let rows = store.range(from.as_bytes(), to.as_bytes(), limit).unwrap();
            rows.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("a", "c", 9), [Key::of(&[b"a"]), Key::of(&[b"b"])]);
        assert_eq!(keys("a", "z", 1), [Key::of(&[b"a"])]);
        assert!(keys("c", "a", 9).is_empty());
    }
}
