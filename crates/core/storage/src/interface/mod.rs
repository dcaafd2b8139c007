//! One batch of work on a state: reads, changes, and the resulting write batch.

mod anchors;
mod apply;
mod change_feed;
mod counters;
mod derived_rows;
mod index_refresh;
mod reads;
mod record_cache;
mod replay;
mod staged_state;
mod tombstone_collection;
mod visibility;

pub use change_feed::Change;
pub use replay::redo;
pub use tombstone_collection::TombstonePass;

use crate::error::StorageError;
use crate::index::Tries;
use crate::keys::{self, Slot};
use crate::stats::Stats;
use change_feed::ChangeFeed;
use counters::DepthCounts;
use record_cache::RecordCache;
use std::collections::BTreeMap;
use syncline_crdt::Merges;
use syncline_store::{Bytes, Key, ReadView, WriteBatch};
use syncline_types::{Digest, Encode, Hlc, Moment, ShortIdKey, Writer};

/// The context in which a change is checked: the local time and the drift limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApplyContext {
    /// The time of the local clock.
    pub moment: Moment,
    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub max_drift_ms: u64,
}

impl ApplyContext {
    /// The default drift limit: five seconds.
    pub const DEFAULT_MAX_DRIFT_MS: u64 = 5_000;

    /// The context of a change at `moment`, with the default drift limit.
    pub const fn new(moment: Moment) -> Self {
        Self { moment, max_drift_ms: Self::DEFAULT_MAX_DRIFT_MS }
    }
}

/// The effect of a change that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplyOutcome {
    /// The record, or the position of an ancestor, changed.
    Changed,
    /// The state contained the change already.
    Unchanged,
}

impl ApplyOutcome {
    const fn from_flag(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Unchanged }
    }
}

/// The state of one context as one batch of work reads and changes it. Nothing reaches the store until the batch
/// of [`Interface::finish`] is applied. Dropping an interface discards its changes.
///
/// Changed records are cached at once; their index entries are brought up to date later, together, by
/// `refresh`. Invariant: the cache indices in `stale` are exactly those of the records whose `stale` parts
/// are set, so that the index is in step with the records exactly if `stale` is empty. Every method that reads
/// the index refreshes it first.
#[derive(Clone, Debug)]
pub struct Interface<V> {
    view: V,
    /// The slot in which the rows of the state are.
    slot: Slot,
    /// Whether the batch makes this slot the active one.
    published: bool,
    records: RecordCache,
    /// Whether the root's record is known to exist.
    rooted: bool,
    tries: Tries,
    /// Cache indices of the records whose index entries are out of date.
    stale: Vec<u32>,
    stats: Stats,
    depths: DepthCounts,
    /// Whether the batch differs from the view.
    changed: bool,
    /// The latest stamp that entered the state in this batch.
    latest: Hlc,
    /// The cost so far, the index aside.
    work: WorkCounters,
    /// Scratch memory for encoding.
    buffer: Writer,
    /// Derived rows (order and tombstones) that the batch adds (true) or removes (false).
    derived: BTreeMap<Key, bool>,
    merges: Merges,
    change_feed: ChangeFeed,
}

/// The cost of a batch of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkCounters {
    /// Rows, or nodes of tries in memory, read from the view.
    pub storage_reads: u64,
    /// SHA-256 hashes computed, of records and of index nodes.
    pub hash_computations: u64,
}

impl<V: ReadView> Interface<V> {
    /// Opens the active state of `view`. O(1).
    pub fn open(view: V) -> Result<Self, StorageError> {
        Self::open_with(view, Merges::default())
    }

    /// Opens the active state of `view`, with the merge functions that show application-defined types. O(1).
    pub fn open_with(view: V, merges: Merges) -> Result<Self, StorageError> {
        let slot = Slot::active(&view)?;
        Self::open_slot(view, slot, merges)
    }

    /// Opens the state in `slot`, active or not. O(1).
    pub(crate) fn open_slot(view: V, slot: Slot, merges: Merges) -> Result<Self, StorageError> {
        let stats = Stats::read(&view, slot)?;
        Ok(Self {
            view,
            slot,
            published: false,
            records: RecordCache::new(stats.short_ids),
            rooted: false,
            tries: Tries::of(slot),
            stale: Vec::new(),
            stats,
            depths: DepthCounts::default(),
            changed: false,
            latest: Hlc::ZERO,
            // The row of the active slot, and that of the statistics.
            work: WorkCounters { storage_reads: 2, hash_computations: 0 },
            buffer: Writer::default(),
            derived: BTreeMap::new(),
            merges,
            change_feed: ChangeFeed::default(),
        })
    }

    /// The same state with this key of short ids, if it has no records yet. Otherwise the state keeps the key that
    /// the rows of its records were written with.
    pub fn with_short_ids(mut self, key: ShortIdKey) -> Self {
        if self.stats.root.is_zero() && !self.changed {
            self.stats.short_ids = key;
            self.records = RecordCache::new(key);
        }
        self
    }

    /// The key of the short ids of this state.
    pub const fn short_ids(&self) -> ShortIdKey {
        self.stats.short_ids
    }

    /// The view that the batch reads.
    pub const fn view(&self) -> &V {
        &self.view
    }

    /// The slot in which the rows of the state are.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// The merge functions of application-defined types. They decide what is shown; no record depends on them.
    pub const fn merges(&self) -> &Merges {
        &self.merges
    }

    /// The stamp up to which every change is causally stable; see [`Interface::raise_horizon`].
    pub const fn horizon(&self) -> Hlc {
        self.stats.horizon
    }

    /// The Merkle root; zero for a state without records. O(1) if nothing changed since the last call, else one
    /// pass over the changes.
    pub fn root_hash(&mut self) -> Result<Digest, StorageError> {
        self.refresh()?;
        Ok(self.stats.root)
    }

    /// The counters of the whole state, root included.
    pub fn stats(&mut self) -> Result<Stats, StorageError> {
        self.refresh()?;
        Ok(Stats { generation: self.stats.generation + u64::from(self.changed), ..self.stats.clone() })
    }

    /// The number of live entities, not counting the root. O(1).
    pub const fn entity_count(&self) -> u64 {
        self.stats.live
    }

    /// The latest stamp that entered the state in this batch. The local clock must exceed it, or a later
    /// local write would lose to the write that it was meant to replace.
    pub const fn latest_stamp(&self) -> Hlc {
        self.latest
    }

    /// The cost of this batch so far.
    pub const fn work(&self) -> WorkCounters {
        let (reads, hashes) = self.tries.work();
        WorkCounters {
            storage_reads: self.work.storage_reads + reads,
            hash_computations: self.work.hash_computations + hashes,
        }
    }

    /// Whether this batch changed any record.
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// The work as one batch: records, index, derived rows and statistics together. Empty if nothing changed.
    pub fn finish(mut self) -> Result<WriteBatch, StorageError> {
        if !self.changed {
            debug_assert!(self.derived.is_empty(), "derived rows change with records only");
            return Ok(WriteBatch::default());
        }
        self.refresh()?;
        debug_assert!(self.stale.is_empty(), "after a refresh the index is in step with the records");
        self.stats.generation += 1;
        let dirty = self.records.dirty();
        let mut rows = Vec::with_capacity(dirty.len() + self.derived.len() + 2);
        rows.push((keys::stats(self.slot), Some(self.stats.to_bytes().into())));
        if self.published {
            rows.push((keys::ACTIVE.into(), Some(self.slot.to_bytes().into())));
        }
        for indices in dirty.chunks(record_cache::PREFETCH) {
            self.records.prefetch(indices.iter().copied());
            for index in indices {
                let cached = self.records.at(*index)?;
                let key = keys::record(self.slot, cached.locator, cached.id);
                rows.push((key, cached.take_bytes(&mut self.buffer)));
            }
        }
        rows.extend(self.depths.rows(self.slot));
        let value = |added: bool| added.then(|| Bytes::from([]));
        rows.extend(self.derived.into_iter().map(|(key, added)| (key, value(added))));
        let mut batch = WriteBatch::from_iter(rows);
        self.tries.finish(&mut batch);
        Ok(batch)
    }
}
