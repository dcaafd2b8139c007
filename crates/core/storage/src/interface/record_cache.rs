//! The records that one batch has read or changed.

use crate::error::StorageError;
use crate::index;
use crate::record::{Record, own_hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_store::Bytes;
use syncline_types::{Decode, Digest, Encode, EntityId, ShortIdKey, Writer};

/// The number of records that are read at once by [`RecordCache::prefetch`].
pub(super) const PREFETCH: usize = 32;

/// The record of one entity as the batch has it: decoded, encoded, or both. If it is neither, the entity has
/// no record.
#[derive(Clone, Debug)]
pub(super) struct CachedRecord {
    pub(super) id: EntityId,
    /// The [locator](ShortIdKey::locator) of the id.
    pub(super) locator: u32,
    /// The depth and the parent; `None` exactly if there is no record.
    pub(super) position: Option<(u32, EntityId)>,
    record: Option<Arc<Record>>,
    /// The canonical bytes of a dirty record, once they were needed. Bytes of the view are not cached.
    bytes: Option<Bytes>,
    /// The digest of these bytes, once it was needed.
    own: Option<Digest>,
    /// Whether the record differs from the view.
    pub(super) dirty: bool,
    /// The parts of the index entry that are out of date.
    pub(super) stale: Option<StaleParts>,
}

impl CachedRecord {
    /// A record as the view has it.
    pub(super) fn new(id: EntityId, locator: u32, record: Option<Record>) -> Self {
        let position = record.as_ref().map(|record| (record.depth, record.parent));
        let record = record.map(Arc::new);
        Self { id, locator, position, record, bytes: None, own: None, dirty: false, stale: None }
    }

    /// Replaces the record, or removes it.
    pub(super) fn replace(&mut self, record: Option<Record>) {
        self.position = record.as_ref().map(|record| (record.depth, record.parent));
        self.record = record.map(Arc::new);
        self.bytes = None;
        self.own = None;
        self.dirty = true;
    }

    /// Replaces the record by an encoded one. It is decoded only when it is first read.
    pub(super) fn replace_encoded(&mut self, position: (u32, EntityId), bytes: Bytes) {
        self.record = None;
        self.position = Some(position);
        self.dirty = true;
        self.own = Some(own_hash(self.id, &bytes));
        self.bytes = Some(bytes);
    }

    /// The record, if there is one.
    pub(super) fn record(&mut self) -> Result<Option<&Arc<Record>>, StorageError> {
        if let (None, Some(bytes)) = (&self.record, &self.bytes) {
            let record = Record::from_bytes(bytes).map_err(StorageError::row("a record"))?;
            self.record = Some(Arc::new(record));
        }
        Ok(self.record.as_ref())
    }

    /// The canonical bytes of the record, encoded at most once.
    fn bytes(&mut self, buffer: &mut Writer) -> Option<&Bytes> {
        if let (None, Some(record)) = (&self.bytes, &self.record) {
            buffer.clear();
            record.encode(buffer);
            self.bytes = Some(buffer.as_slice().into());
        }
        self.bytes.as_ref()
    }

    /// The canonical bytes of the record, moved out for the write batch.
    pub(super) fn take_bytes(&mut self, buffer: &mut Writer) -> Option<Bytes> {
        self.bytes(buffer);
        debug_assert_eq!(self.bytes.is_some(), self.position.is_some(), "exactly a record has bytes");
        self.bytes.take()
    }

    /// The canonical bytes of the record, without caching them.
    pub(super) fn encoded(&self) -> Option<Bytes> {
        let record = || self.record.as_ref().map(|record| record.to_bytes().into());
        self.bytes.clone().or_else(record)
    }

    /// The digest of a dirty record, hashed at most once.
    pub(super) fn own_hash(&mut self, buffer: &mut Writer, hashes: &mut u64) -> Option<Digest> {
        if self.own.is_none() {
            let id = self.id;
            self.own = self.bytes(buffer).map(|bytes| own_hash(id, bytes));
            *hashes += 1;
        }
        self.own
    }
}

/// The parts of an index entry that are out of date.
#[derive(Clone, Debug, Default)]
pub(super) struct StaleParts {
    /// The digest of the record.
    pub(super) own: bool,
    /// The root of the children's trie.
    pub(super) kids: bool,
    /// The entry that the entity had under its former parent, if it moved in this batch.
    pub(super) moved_from: Option<Box<index::Entry>>,
}

/// The first eight bytes of an id as a number, which orders as ids do except for ties.
pub(super) fn sort_key(id: EntityId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// All records that a batch has read or changed. Each has an index, in the order of its arrival, which stays the
/// same for the whole batch.
///
/// Indices are found with a hash table with open addressing and linear probing. The short id serves as the hash.
/// Ids that an adversary with the key has chosen to share it would make probe sequences long, so an id that finds
/// no free bucket among [`PROBES`] goes to an ordered map instead: a lookup costs O(log n) at worst.
///
/// Invariants:
/// - Nothing is ever removed, so a probe may stop at the first free bucket.
/// - At most half of the buckets are used.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordCache {
    /// The hash table; its length is a power of two, or zero.
    buckets: Vec<HashBucket>,
    /// The indices of locators and ids that found no free bucket.
    overflow: BTreeMap<(u32, EntityId), u32>,
    /// The records by index, in chunks of [`CHUNK`]: small enough that the allocator reuses their memory for
    /// the next batch instead of returning it to the operating system.
    chunks: Vec<Vec<CachedRecord>>,
    count: u32,
    short_ids: ShortIdKey,
}

/// A bucket of the hash table.
#[derive(Clone, Copy, Debug)]
struct HashBucket {
    /// The locator of the id, so that hardly any other record is compared.
    locator: u32,
    /// The index of the record, or [`FREE`].
    index: u32,
}

/// The index of a bucket that is not used.
const FREE: u32 = u32::MAX;
/// The number of records of a chunk.
const CHUNK: u32 = 256;
/// The most buckets that a lookup probes.
const PROBES: usize = 16;

impl RecordCache {
    /// An empty cache of a state with this key of short ids.
    pub(super) fn new(short_ids: ShortIdKey) -> Self {
        Self { short_ids, ..Self::default() }
    }

    /// The buckets in which entities with this short id are looked for, in turn.
    fn probe(&self, short_id: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.buckets.len().wrapping_sub(1);
        let probes = if self.buckets.is_empty() { 0 } else { PROBES };
        (0..probes).map(move |step| (short_id as usize + step) & mask)
    }

    /// The contents of these buckets, up to the first free one.
    fn candidates(&self, short_id: u32) -> impl Iterator<Item = HashBucket> {
        let buckets = self.probe(short_id).filter_map(|at| self.buckets.get(at).copied());
        buckets.take_while(|bucket| bucket.index != FREE)
    }

    /// The index of `id`, if it is cached.
    pub(super) fn index_of(&self, id: EntityId) -> Option<u32> {
        let locator = self.short_ids.locator(id);
        let candidates = self.candidates(ShortIdKey::short_id_of(locator));
        let alike = candidates.filter(|bucket| bucket.locator == locator);
        // Different ids may have equal locators, so the id decides. An id that is not among the probed buckets may
        // still have overflowed.
        let found = alike.map(|bucket| bucket.index).find(|index| self.id(*index) == Some(id));
        found.or_else(|| self.overflow.get(&(locator, id)).copied())
    }

    /// Adds a record whose id is not cached. Returns its index.
    pub(super) fn push(&mut self, record: CachedRecord) -> u32 {
        debug_assert!(self.index_of(record.id).is_none(), "an entity is cached once");
        let index = self.count;
        let CachedRecord { id, locator, .. } = record;
        debug_assert_eq!(locator, self.short_ids.locator(id), "a record is cached under its locator");
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK as usize) {
            Some(last) => last.push(record),
            // The first chunk grows with its content: most batches are small.
            None => {
                let mut chunk = Vec::with_capacity(if index == 0 { 1 } else { CHUNK as usize });
                chunk.push(record);
                self.chunks.push(chunk);
            }
        }
        self.count += 1;
        // At most half full after this, and a quarter after a rehash: probe sequences stay short.
        if self.count as usize * 2 > self.buckets.len() {
            self.rehash();
        } else {
            self.enter(locator, id, index);
        }
        debug_assert_eq!(self.index_of(id), Some(index), "a lookup finds what was added");
        index
    }

    /// Enters an index into the hash table, or into the overflow if no probed bucket is free.
    fn enter(&mut self, locator: u32, id: EntityId, index: u32) {
        let is_free = |at: &usize| self.buckets.get(*at).is_some_and(|bucket| bucket.index == FREE);
        let free = self.probe(ShortIdKey::short_id_of(locator)).find(is_free);
        match free.and_then(|at| self.buckets.get_mut(at)) {
            Some(bucket) => *bucket = HashBucket { locator, index },
            None => {
                self.overflow.insert((locator, id), index);
            }
        }
    }

    fn rehash(&mut self) {
        let buckets = (self.count as usize * 4).next_power_of_two();
        self.buckets = vec![HashBucket { locator: 0, index: FREE }; buckets];
        // With more buckets, ids that overflowed may find one.
        self.overflow.clear();
        for index in 0..self.count {
            if let Some(CachedRecord { id, locator, .. }) = self.get(index) {
                self.enter(*locator, *id, index);
            }
        }
    }

    fn get(&self, index: u32) -> Option<&CachedRecord> {
        self.chunks.get((index / CHUNK) as usize)?.get((index % CHUNK) as usize)
    }

    /// The record at `index`.
    pub(super) fn at(&mut self, index: u32) -> Result<&mut CachedRecord, StorageError> {
        let chunk = self.chunks.get_mut((index / CHUNK) as usize);
        let record = chunk.and_then(|chunk| chunk.get_mut((index % CHUNK) as usize));
        record.ok_or_else(|| StorageError::internal("an index of the record cache leads to a record"))
    }

    /// Reads these records ahead of their use, so that their cache misses overlap.
    pub(super) fn prefetch(&self, indices: impl Iterator<Item = u32>) {
        let records = indices.filter_map(|index| self.get(index));
        let sum = records.fold(0, |sum, record| {
            let own = record.own.map_or(0, |own| own.short());
            sum ^ own ^ u64::from(record.dirty) ^ u64::from(record.stale.is_some()) ^ sort_key(record.id)
        });
        // The sum means nothing; the compiler must not drop the reads.
        std::hint::black_box(sum);
    }

    pub(super) fn id(&self, index: u32) -> Option<EntityId> {
        self.get(index).map(|record| record.id)
    }

    /// The cached records with this short id, in no particular order.
    pub(super) fn with_short_id(&self, short_id: u32) -> impl Iterator<Item = &CachedRecord> {
        let (first, last) = ShortIdKey::locators_of(short_id);
        let indices = self.candidates(short_id).map(|bucket| bucket.index);
        let overflow = self.overflow.range((first, EntityId::ROOT)..=(last, EntityId::LAST));
        let records = indices.chain(overflow.map(|(_, index)| *index)).filter_map(|index| self.get(index));
        records.filter(move |record| (first..=last).contains(&record.locator))
    }

    /// The indices of all dirty records, in the order of their rows.
    pub(super) fn dirty(&self) -> Vec<u32> {
        let dirty = (0u32..).zip(self.chunks.iter().flatten()).filter(|(_, record)| record.dirty);
        let mut dirty: Vec<_> = dirty.map(|(index, record)| (record.locator, index)).collect();
        dirty.sort_unstable_by(|(locator, index), (other_locator, other)| {
            locator.cmp(other_locator).then_with(|| self.id(*index).cmp(&self.id(*other)))
        });
        dirty.into_iter().map(|(_, index)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::btree_map::Entry;
    use std::sync::LazyLock;

    /// Ids, most of which are looked for in the same buckets, and some of which share their short ids.
    static IDS: LazyLock<Vec<EntityId>> = LazyLock::new(|| {
        let key = ShortIdKey::default();
        let ids: Vec<_> = (0..80_000).map(EntityId::from_u64).collect();
        let mut groups = BTreeMap::<u32, Vec<EntityId>>::new();
        ids.iter().for_each(|id| groups.entry(key.short_id(*id)).or_default().push(*id));
        let shared: Vec<_> = groups.into_values().filter(|group| group.len() > 1).flatten().collect();
        assert!(shared.len() > 4, "80,000 ids have about a dozen pairs with a common short id");
        let crowded = ids.iter().filter(|id| key.short_id(**id).is_multiple_of(2_048));
        [shared, crowded.copied().collect(), ids[..60].to_vec()].concat()
    });

    proptest! {
        #[test]
        fn each_entity_has_its_own_index(
            ids in proptest::collection::vec(select(IDS.as_slice()), 0..300),
            absent in select(IDS.as_slice()),
        ) {
            let key = ShortIdKey::default();
            let mut records = RecordCache::new(key);
            let mut model = BTreeMap::new();
            let is_dirty = |id: &EntityId| !id.0[0].is_multiple_of(3);
            for id in ids {
                prop_assert_eq!(records.index_of(id), model.get(&id).copied());
                if let Entry::Vacant(vacant) = model.entry(id) {
                    let mut record = CachedRecord::new(id, key.locator(id), None);
                    record.dirty = is_dirty(&id);
                    vacant.insert(records.push(record));
                }
            }
            prop_assert_eq!(records.index_of(absent), model.get(&absent).copied());
            let mut dirty: Vec<_> = model.iter().filter(|(id, _)| is_dirty(id)).collect();
            dirty.sort_by_key(|(id, _)| (key.locator(**id), **id));
            let dirty: Vec<_> = dirty.into_iter().map(|(_, index)| *index).collect();
            prop_assert_eq!(records.dirty(), dirty);
            for short_id in model.keys().chain([&absent]).map(|id| key.short_id(*id)) {
                let mut found: Vec<_> = records.with_short_id(short_id).map(|record| record.id).collect();
                found.sort_unstable();
                let expected = model.keys().copied().filter(|id| key.short_id(*id) == short_id);
                prop_assert_eq!(found, expected.collect::<Vec<_>>());
            }
        }
    }
}
