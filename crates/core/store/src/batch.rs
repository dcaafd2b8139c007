//! Writes that take effect together.

use crate::{Bytes, Key};
use std::collections::BTreeMap;

/// A set of writes that take effect together or not at all. The last write to a key counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteBatch(BTreeMap<Key, Option<Bytes>>);

impl WriteBatch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.0.insert(key, Some(value.into()));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: Key) {
        self.0.insert(key, None);
    }

    /// What this batch does to `key`: `None` if nothing, `Some(None)` if it removes it.
    pub fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.0.get(key)
    }

    /// Adds the writes of `later`, which win. O(writes of the smaller), nearly.
    pub fn extend(&mut self, later: Self) {
        if later.len() < self.len() {
            self.0.extend(later.0);
            return;
        }
        for (key, value) in std::mem::replace(self, later).0 {
            self.0.entry(key).or_insert(value);
        }
    }

    /// The writes, ascending by key; `None` removes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, Option<&Bytes>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The writes with `from <= key < to`, ascending.
    pub fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = (&'a Key, Option<&'a Bytes>)> {
        let tail = self.0.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        tail.take_while(move |(key, _)| &***key < to).map(|(key, value)| (key, value.as_ref()))
    }

    /// How many keys it touches.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// From writes in any order, fastest if ascending; of two to one key the later counts.
impl FromIterator<(Key, Option<Bytes>)> for WriteBatch {
    fn from_iter<I: IntoIterator<Item = (Key, Option<Bytes>)>>(writes: I) -> Self {
        Self(writes.into_iter().collect())
    }
}
