//! Writes that take effect together.

use crate::{Bytes, Edit, Key};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a row of an edit counts in [`WriteBatch::approximate_bytes`].
const EDITED_ROW_BYTES: usize = 128;

/// A set of writes that a store applies atomically. Of two writes to one key the later counts.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    rows: BTreeMap<Key, Option<Bytes>>,
    /// Edits of runs; `None` removes the run.
    edits: BTreeMap<Key, Option<Arc<dyn Edit>>>,
}

impl WriteBatch {
    /// Sets the row `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.rows.insert(key, Some(value.into()));
    }

    /// Removes the row `key`, if it exists.
    pub fn delete(&mut self, key: Key) {
        self.rows.insert(key, None);
    }

    /// Edits the rows whose keys begin with `key`, which a store may hold as a
    /// [`RowRun`](crate::RowRun). The same batch must not write these rows one by one. Of two edits of
    /// one run the later counts.
    pub fn edit(&mut self, key: Key, edit: Arc<dyn Edit>) {
        self.edits.insert(key, Some(edit));
    }

    /// Removes the run at `key`, if the store holds one there. Single rows remain.
    pub fn delete_run(&mut self, key: Key) {
        self.edits.insert(key, None);
    }

    /// The write to the row `key`, without edits of runs: `None` if there is none, `Some(None)` if the
    /// row is removed.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.rows.get(key)
    }

    /// Adds the writes of `later`, which win over those of `self`. O(m log n) for m writes in the
    /// smaller batch and n in the larger; edits of runs take as long as those of both.
    pub fn extend(&mut self, mut later: Self) {
        self.edits.append(&mut later.edits);
        // The smaller batch moves into the larger one. A row that is in both is that of `later` either way.
        if later.rows.len() < self.rows.len() {
            self.rows.extend(later.rows);
            return;
        }
        for (key, value) in std::mem::replace(&mut self.rows, later.rows) {
            self.rows.entry(key).or_insert(value);
        }
    }

    /// The writes to rows, without edits of runs, ascending by key; `None` removes a row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, Option<&Bytes>)> {
        self.rows.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Consumes the batch and returns what [`WriteBatch::iter`] does.
    pub fn into_rows(self) -> impl ExactSizeIterator<Item = (Key, Option<Bytes>)> {
        self.rows.into_iter()
    }

    /// The edits of runs, ascending by key; `None` removes a run.
    pub fn edits(&self) -> impl ExactSizeIterator<Item = (&Key, Option<&Arc<dyn Edit>>)> {
        self.edits.iter().map(|(key, edit)| (key, edit.as_ref()))
    }

    /// The same writes with all edits as single rows: for stores without runs. O(writes) if there are
    /// edits, else O(1).
    pub fn as_rows(&self) -> Cow<'_, Self> {
        if self.edits.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut rows = self.rows.clone();
        for (key, edit) in &self.edits {
            let edited = edit.iter().flat_map(|edit| edit.rows());
            rows.extend(edited.map(|(suffix, value)| (Key::of(&[key, &suffix]), value)));
        }
        Cow::Owned(Self { rows, edits: BTreeMap::new() })
    }

    /// The writes to rows with `from <= key < to`, without edits of runs, ascending by key.
    pub fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, Option<&'a Bytes>)> {
        let tail = self.rows.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        tail.take_while(move |(key, _)| &***key < to).map(|(key, value)| (key, value.as_ref()))
    }

    /// The number of rows that the batch writes, those of edits included.
    pub fn len(&self) -> usize {
        self.rows.len() + self.edits.values().flatten().map(|edit| edit.len()).sum::<usize>()
    }

    /// About how many bytes the batch writes: its keys and values, and 128 for each row of an edit.
    /// O(writes).
    pub fn approximate_bytes(&self) -> u64 {
        let rows = self.iter().map(|(key, value)| key.len() + value.map_or(0, |value| value.len()));
        let edited = self.edits.values().flatten().map(|edit| edit.len() * EDITED_ROW_BYTES);
        rows.chain(edited).sum::<usize>() as u64
    }

    /// Whether the batch has no writes and no edits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.edits.is_empty()
    }
}

/// Two batches are equal if they write the same rows, whether by edits or one by one.
impl PartialEq for WriteBatch {
    fn eq(&self, other: &Self) -> bool {
        self.as_rows().rows == other.as_rows().rows
    }
}

impl Eq for WriteBatch {}

/// Collects writes in any order, fastest if ascending. Of two writes to one key the later counts.
impl FromIterator<(Key, Option<Bytes>)> for WriteBatch {
    fn from_iter<I: IntoIterator<Item = (Key, Option<Bytes>)>>(writes: I) -> Self {
        Self { rows: writes.into_iter().collect(), edits: BTreeMap::new() }
    }
}
