//! Rows of the index that the engine does not have yet.
//!
//! A thousand inserts into a large state change two thousand nodes of a kilobyte, and nearly all of these
//! change again soon. So a batch brings the engine its records and the [notes](syncline_store::Edit::redo_entry)
//! of what it has done to the index, a twentieth of the bytes; the nodes stay at hand, and many batches later
//! the row of each is written once. Notes that are on the disk when a store is opened are made again.

use syncline_store::{Bytes, Edit, Key, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};

/// The keys of the rows of the index that the engine has as they were, or not at all; the values are empty. A
/// clone costs O(1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Owed(MemoryStore);

impl Owed {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in the rows of the trie `trie` that an edit changes.
    pub(crate) fn take(&mut self, trie: &Key, edit: &dyn Edit) -> Result<(), StoreError> {
        let (nothing, mut keys) = (Bytes::from([]), Vec::new());
        edit.each_changed(&mut |suffix| keys.push((Key::of(&[trie, suffix]), Some(nothing.clone()))));
        self.0.apply(WriteBatch::from_iter(keys))
    }

    /// Whether the row `key` is among them.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.0.read(key)?.is_some())
    }

    /// Their keys with `from <= key < to`, ascending.
    pub(crate) fn keys<'a>(
        &'a self,
        from: &[u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = Result<Key, StoreError>> + 'a {
        const PAGE: usize = 1_024;
        let (mut from, mut page) = (Some(Key::from(from)), Vec::new().into_iter());
        std::iter::from_fn(move || {
            if page.len() == 0 {
                let rows = match self.0.range(&from.take()?, to, PAGE) {
                    Ok(rows) => rows,
                    Err(error) => return Some(Err(error)),
                };
                from = rows.last().filter(|_| rows.len() == PAGE).map(|(last, _)| Key::of(&[last, &[0]]));
                page = rows.into_iter();
            }
            page.next().map(|(key, _)| Ok(key))
        })
    }
}

/// Up to `limit` rows, ascending: those of the engine, which are `stored`, as they are now. The keys of
/// those that are owed ascend too; `now` tells what each of them is, if it is there.
pub(crate) fn merged(
    stored: impl Iterator<Item = Result<Row, StoreError>>,
    owed: impl Iterator<Item = Result<Key, StoreError>>,
    now: impl Fn(&Key) -> Option<Bytes>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let (mut stored, mut owed) = (stored.peekable(), owed.peekable());
    let mut rows = Vec::new();
    while rows.len() < limit {
        let (of_engine, is_owed) = match (stored.peek(), owed.peek()) {
            (None, None) => break,
            (Some(Ok((key, _))), Some(Ok(owed))) => (key <= owed, owed <= key),
            (stored, owed) => (stored.is_some(), owed.is_some()),
        };
        let row = stored.next_if(|_| of_engine).transpose()?;
        match owed.next_if(|_| is_owed).transpose()? {
            Some(key) => rows.extend(now(&key).map(|value| (key, value))),
            None => rows.extend(row),
        }
    }
    Ok(rows)
}
