//! Reading records and the index through a batch.

use super::Interface;
use crate::error::StorageError;
use crate::index::{Entry, Node};
use crate::keys;
use crate::prefix::Prefix;
use crate::record::{Record, own_hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_store::{Bytes, ReadView, Row};
use syncline_types::{Digest, Encode, EntityId, canary};

impl<V: ReadView> Interface<V> {
    /// The record of `id`, if there is one.
    pub fn record(&mut self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        Ok(self.cached(id)?.record()?.cloned())
    }

    /// Up to `limit` entities with this [short id](syncline_types::ShortIdKey), each with the bytes of its record.
    /// O(log n + limit).
    pub fn records_with_short_id(
        &mut self,
        short_id: u32,
        limit: usize,
    ) -> Result<Vec<(EntityId, Bytes)>, StorageError> {
        Ok(self.records_with_short_ids(&[short_id], limit)?.pop().unwrap_or_default())
    }

    /// [`Interface::records_with_short_id`] for each of these short ids. The lookups overlap their cache misses: in
    /// a large state in memory this takes a fraction of the time.
    pub fn records_with_short_ids(
        &mut self,
        short_ids: &[u32],
        limit: usize,
    ) -> Result<Vec<Vec<(EntityId, Bytes)>>, StorageError> {
        // Small enough that the rows of a chunk are still in the CPU's cache when they are returned.
        const AT_ONCE: usize = 64;
        let dirty = |short_id: &u32| self.records.with_short_id(*short_id).filter(|cached| cached.dirty);
        // Rows that the batch removes must not count towards the limit: ask the view for as many more.
        let removed = short_ids.iter().flat_map(dirty).filter(|cached| cached.position.is_none()).count();
        let with_changes = |(short_id, rows): (&u32, Vec<Row>)| {
            let rows = rows.into_iter().filter_map(|(key, row)| Some((keys::record_id(&key)?, row)));
            let mut dirty = dirty(short_id).peekable();
            if dirty.peek().is_none() {
                return rows.take(limit).collect();
            }
            let mut found: BTreeMap<EntityId, Bytes> = rows.collect();
            for cached in dirty {
                match cached.encoded() {
                    Some(bytes) => found.insert(cached.id, bytes),
                    None => found.remove(&cached.id),
                };
            }
            found.into_iter().take(limit).collect()
        };
        let mut all = Vec::with_capacity(short_ids.len());
        for short_ids in short_ids.chunks(AT_ONCE) {
            let bounds = |short_id: &u32| keys::records_with_short_id(self.slot, *short_id);
            let bounds: Vec<_> = short_ids.iter().map(bounds).collect();
            let found = self.view.ranges(&bounds, limit.saturating_add(removed))?;
            debug_assert_eq!(found.len(), bounds.len(), "a view returns one list of rows for each range");
            self.work.storage_reads += short_ids.len() as u64;
            all.extend(short_ids.iter().zip(found).map(with_changes));
        }
        Ok(all)
    }

    /// Up to `limit` children of `id` with ids above `after`, ascending. O(log n + limit).
    pub fn children(
        &mut self,
        id: EntityId,
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = after.map_or(Some(EntityId::ROOT), EntityId::successor);
        from.map_or(Ok(Vec::new()), |from| self.children_between(id, from, EntityId::LAST, limit))
    }

    /// Up to `limit` children of `id` with `from <= child <= to`, ascending. O(log n + limit).
    pub fn children_between(
        &mut self,
        id: EntityId,
        from: EntityId,
        to: EntityId,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        self.refresh()?;
        if canary!(ChildrenBeyond256Ignored) {
            let mut first = self.tries.children(&self.view, id, (EntityId::ROOT, EntityId::LAST), 256)?;
            first.retain(|entry| from <= entry.id && entry.id <= to);
            first.truncate(limit);
            return Ok(first);
        }
        self.tries.children(&self.view, id, (from, to), limit)
    }

    /// The index entry of `id`: the digest of its record and the root of its children. O(log n).
    pub fn entry(&mut self, id: EntityId) -> Result<Option<Entry>, StorageError> {
        self.refresh()?;
        // An entity without a record has no entry.
        let Some(record) = self.record(id)? else { return Ok(None) };
        if id == EntityId::ROOT {
            let kids = self.tries.root(&self.view, id)?;
            return Ok(Some(Entry { id, own: own_hash(id, &record.to_bytes()), kids }));
        }
        self.tries.entry(&self.view, record.parent, id)
    }

    /// The index node at exactly `prefix` among the children of `id`. O(log n).
    pub fn node(&mut self, id: EntityId, prefix: Prefix) -> Result<Option<Node>, StorageError> {
        self.refresh()?;
        self.tries.node(&self.view, id, prefix)
    }

    /// The index node at which the children of `id` under `prefix` first part, with its position; see
    /// [`Tries::branch`](crate::index::Tries::branch).
    pub fn branch(&mut self, id: EntityId, prefix: Prefix) -> Result<Option<(Prefix, Node)>, StorageError> {
        self.refresh()?;
        self.tries.branch(&self.view, id, prefix)
    }

    /// The hash of the children of `id` under `prefix`; see [`Tries::hash_at`](crate::index::Tries::hash_at).
    pub fn hash_at(&mut self, id: EntityId, prefix: Prefix) -> Result<Digest, StorageError> {
        self.refresh()?;
        self.tries.hash_at(&self.view, id, prefix)
    }

    /// Calls `each` with every child of `id`, ascending, without caching anything. O(n).
    pub(super) fn scan_children(
        &mut self,
        id: EntityId,
        each: &mut impl FnMut(&Entry),
    ) -> Result<(), StorageError> {
        self.refresh()?;
        self.tries.scan(&self.view, id, each)
    }
}
