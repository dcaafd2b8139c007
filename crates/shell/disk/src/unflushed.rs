//! Index rows that changed in memory and are not written to the engine yet.

use syncline_store::{Bytes, Edit, Key, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};

/// The keys of the unflushed rows: the engine has an older value of each, or none. Their current values are in
/// the index cache. A clone costs O(1).
#[derive(Clone, Debug, Default)]
pub(crate) struct UnflushedRows(MemoryStore);

impl UnflushedRows {
    /// The number of unflushed rows.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the rows of the trie with the key `trie` that `edit` changes. Idempotent.
    pub(crate) fn insert(&mut self, trie: &Key, edit: &dyn Edit) -> Result<(), StoreError> {
        // Only the keys matter: the store is used as an ordered set that is cheap to clone.
        let empty = Bytes::from([]);
        let mut keys = Vec::new();
        edit.each_changed(&mut |suffix| keys.push((Key::of(&[trie, suffix]), Some(empty.clone()))));
        self.0.apply(WriteBatch::from_iter(keys))
    }

    /// Whether the row `key` is unflushed.
    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.0.read(key)?.is_some())
    }

    /// The keys of the unflushed rows with `from <= key < to`, ascending.
    pub(crate) fn keys<'a>(
        &'a self,
        from: &[u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = Result<Key, StoreError>> + 'a {
        const PAGE: usize = 1_024;
        // `from` is `None` after the last page, which is the first one that is not full.
        let mut from = Some(Key::from(from));
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if page.len() == 0 {
                let first = from.take()?;
                let rows = match self.0.range(&first, to, PAGE) {
                    Ok(rows) => rows,
                    Err(error) => return Some(Err(error)),
                };
                debug_assert!(rows.iter().all(|(key, _)| *key >= first), "pages do not overlap");
                from = rows.last().filter(|_| rows.len() == PAGE).map(|(last, _)| Key::of(&[last, &[0]]));
                page = rows.into_iter();
            }
            page.next().map(|(key, _)| Ok(key))
        })
    }
}

/// Merges the rows that the engine has stored with the unflushed rows: up to `limit` current rows, ascending.
/// `stored` and `unflushed` must ascend. For an unflushed key `current` gives the value, or `None` if the row
/// was deleted. O(rows looked at).
pub(crate) fn merge(
    stored: impl Iterator<Item = Result<Row, StoreError>>,
    unflushed: impl Iterator<Item = Result<Key, StoreError>>,
    current: impl Fn(&Key) -> Option<Bytes>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut stored = stored.peekable();
    let mut unflushed = unflushed.peekable();
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < limit {
        // The smaller key comes next. With equal keys both iterators advance, and the unflushed row wins.
        let (next_stored, next_unflushed) = match (stored.peek(), unflushed.peek()) {
            (None, None) => break,
            (Some(Ok((stored, _))), Some(Ok(unflushed))) => (stored <= unflushed, unflushed <= stored),
            // One iterator has ended, or an error is next: it is taken below and returned.
            (stored, unflushed) => (stored.is_some(), unflushed.is_some()),
        };
        let row = stored.next_if(|_| next_stored).transpose()?;
        let row = match unflushed.next_if(|_| next_unflushed).transpose()? {
            Some(key) => current(&key).map(|value| (key, value)),
            None => row,
        };
        if let Some(row) = row {
            debug_assert!(rows.last().is_none_or(|(last, _)| *last < row.0), "merged rows ascend");
            rows.push(row);
        }
    }
    debug_assert!(rows.len() <= limit, "at most `limit` rows");
    Ok(rows)
}
