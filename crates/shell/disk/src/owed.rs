//! Rows of the index that the engine does not have yet.
//!
//! A thousand inserts into a large state change two thousand nodes of a kilobyte, and nearly all of these
//! change again soon. So a batch brings the engine its records and the [notes](syncline_store::Edit::notes)
//! of what it has done to the index, a twentieth of the bytes; the rows wait here, and many batches later
//! each is written once. Notes that are on the disk when a store is opened are made again.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use syncline_store::{Bytes, Edit, Key, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};

/// What the rows of the index are, where the engine has them as they were. A clone costs O(1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Owed {
    rows: MemoryStore,
    /// Keys of rows that the engine may have and that are not there any more.
    gone: MemoryStore,
    /// What the keys of these rows begin with, one for each trie.
    tries: Arc<BTreeSet<Key>>,
}

impl Owed {
    /// What the keys of the rows of each trie begin with.
    pub(crate) fn tries(&self) -> impl Iterator<Item = &Key> {
        self.tries.iter()
    }

    /// How many rows are to be written.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.gone.len()
    }

    /// Takes in what an edit makes of the rows of the trie `trie`.
    pub(crate) fn take(&mut self, trie: &Key, edit: &dyn Edit) -> Result<(), StoreError> {
        let rows = edit.rows().into_iter().map(|(suffix, value)| (Key::of(&[trie, &suffix]), value));
        let (mut gone, mut back) = (Vec::new(), Vec::new());
        let none_gone = self.gone.is_empty();
        let rows = rows.inspect(|(key, value)| match value {
            None => gone.push((key.clone(), Some(Bytes::from([])))),
            Some(_) if !none_gone => back.push((key.clone(), None)),
            Some(_) => {}
        });
        self.rows.apply(WriteBatch::from_iter(rows))?;
        self.gone.apply(back.into_iter().chain(gone).collect())?;
        if !self.tries.contains(trie) {
            Arc::make_mut(&mut self.tries).insert(trie.clone());
        }
        Ok(())
    }

    /// Whether `key` is that of a row of a trie that has rows here.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        let before = (Bound::Unbounded, Bound::Included(key));
        self.tries.range::<Key, _>(before).next_back().is_some_and(|trie| key.starts_with(trie))
    }

    /// What is known of the row `key`: `Some(None)` if it is gone.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, StoreError> {
        if let Some(value) = self.rows.read(key)? {
            return Ok(Some(Some(value)));
        }
        Ok(self.gone.read(key)?.map(|_| None))
    }

    /// Whether it knows of a row with `from <= key < to`.
    pub(crate) fn knows_of(&self, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        Ok(!self.rows.range(from, to, 1)?.is_empty() || !self.gone.range(from, to, 1)?.is_empty())
    }

    /// Up to `limit` rows with `from <= key < to`, ascending: those of the engine, which are `stored`, as they
    /// are now.
    pub(crate) fn range(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        stored: impl Iterator<Item = Result<Row, StoreError>>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut own = self.rows.range(from, to, limit)?.into_iter().peekable();
        let mut rows = Vec::new();
        for row in stored {
            let row = row?;
            while let Some(earlier) = own.next_if(|(key, _)| rows.len() < limit && *key < row.0) {
                rows.push(earlier);
            }
            if rows.len() >= limit {
                return Ok(rows);
            }
            match own.next_if(|(key, _)| *key == row.0) {
                Some(newer) => rows.push(newer),
                None if self.gone.read(&row.0)?.is_some() => {}
                None => rows.push(row),
            }
        }
        let room = limit - rows.len();
        rows.extend(own.take(room));
        Ok(rows)
    }

    /// Passes all rows to `each`, those that are gone as `None`.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Key, Option<&Bytes>)) -> Result<(), StoreError> {
        const PAGE: usize = 4_096;
        for (rows, are_gone) in [(&self.rows, false), (&self.gone, true)] {
            let mut from = Key::from(&[][..]);
            loop {
                let page = rows.range(&from, &[0xff], PAGE)?;
                page.iter().for_each(|(key, value)| each(key, (!are_gone).then_some(value)));
                match page.last() {
                    Some((last, _)) if page.len() == PAGE => from = Key::of(&[last, &[0]]),
                    _ => break,
                }
            }
        }
        Ok(())
    }
}
