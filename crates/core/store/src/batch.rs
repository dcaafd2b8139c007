//! Writes that take effect together.

use crate::{Bytes, Edit, Key};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A set of writes that take effect together or not at all. The last write to a key counts.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    rows: BTreeMap<Key, Option<Bytes>>,
    /// Changes to runs; `None`: the run goes.
    edits: BTreeMap<Key, Option<Arc<dyn Edit>>>,
}

impl WriteBatch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.rows.insert(key, Some(value.into()));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: Key) {
        self.rows.insert(key, None);
    }

    /// Changes the rows whose keys begin with `key`, which are or may be kept as a
    /// [`Run`](crate::Run). They must not be written singly in the same batch.
    pub fn edit(&mut self, key: Key, edit: Arc<dyn Edit>) {
        self.edits.insert(key, Some(edit));
    }

    /// Removes the run at `key`, if the store keeps one there.
    pub fn delete_run(&mut self, key: Key) {
        self.edits.insert(key, None);
    }

    /// What this batch does to `key`, edits aside: `None` if nothing, `Some(None)` if it removes it.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.rows.get(key)
    }

    /// Adds the writes of `later`, which win. O(writes of the smaller), nearly.
    pub fn extend(&mut self, mut later: Self) {
        self.edits.append(&mut later.edits);
        if later.rows.len() < self.rows.len() {
            self.rows.extend(later.rows);
            return;
        }
        for (key, value) in std::mem::replace(&mut self.rows, later.rows) {
            self.rows.entry(key).or_insert(value);
        }
    }

    /// The writes, edits aside, ascending by key; `None` removes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, Option<&Bytes>)> {
        self.rows.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// As [`WriteBatch::iter`], and takes them.
    pub fn into_rows(self) -> impl ExactSizeIterator<Item = (Key, Option<Bytes>)> {
        self.rows.into_iter()
    }

    /// The changes to runs, ascending by key; `None` removes.
    pub fn edits(&self) -> impl ExactSizeIterator<Item = (&Key, Option<&Arc<dyn Edit>>)> {
        self.edits.iter().map(|(key, edit)| (key, edit.as_ref()))
    }

    /// The same writes without edits: for stores that keep no runs.
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

    /// The writes with `from <= key < to`, edits aside, ascending.
    pub fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, Option<&'a Bytes>)> {
        let tail = self.rows.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        tail.take_while(move |(key, _)| &***key < to).map(|(key, value)| (key, value.as_ref()))
    }

    /// How many keys it touches.
    pub fn len(&self) -> usize {
        self.rows.len() + self.edits.values().flatten().map(|edit| edit.len()).sum::<usize>()
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.edits.is_empty()
    }
}

/// Batches are equal if they write the same rows.
impl PartialEq for WriteBatch {
    fn eq(&self, other: &Self) -> bool {
        self.as_rows().rows == other.as_rows().rows
    }
}

impl Eq for WriteBatch {}

/// From writes in any order, fastest if ascending; of two to one key the later counts.
impl FromIterator<(Key, Option<Bytes>)> for WriteBatch {
    fn from_iter<I: IntoIterator<Item = (Key, Option<Bytes>)>>(writes: I) -> Self {
        Self { rows: writes.into_iter().collect(), edits: BTreeMap::new() }
    }
}
