//! The door to the state: apply, merge, read, and end as one batch.

mod derived;
mod held;
mod refresh;
mod staging;

use crate::action::Action;
use crate::changes::Changes;
use crate::error::{ApplyError, StorageError};
use crate::index::{Entry, Node, Prefix, Tries};
use crate::keys::{self, Slot};
use crate::record::Record;
use crate::record_codec::own_hash;
use crate::stats::Stats;
use held::{Held, Records, Touched};
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_crdt::{Merges, Value};
use syncline_store::{Bytes, Key, ReadView, Row, WriteBatch};
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, Moment, Writer, canary};

/// What a change is judged by besides the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApplyContext {
    /// Now, as the local clock has it.
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

/// What a change did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The record, or the place of an ancestor, changed.
    Changed,
    /// The state knew it all already.
    Unchanged,
}

impl Applied {
    const fn from_flag(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Unchanged }
    }
}

/// The state of one context as one batch of work sees and changes it. Nothing reaches the store
/// until [`Interface::finish`]'s batch is applied; dropping it discards the work.
#[derive(Clone, Debug)]
pub struct Interface<V> {
    view: V,
    /// Where the rows of the state are.
    slot: Slot,
    /// Whether finishing shows this state instead of the other.
    published: bool,
    records: Records,
    /// Whether the root is known to be there.
    rooted: bool,
    tries: Tries,
    /// The places of the records whose entries must be brought up to date.
    touched: Vec<u32>,
    stats: Stats,
    changed: bool,
    latest: Hlc,
    work: Work,
    buffer: Writer,
    /// Rows besides the index that this batch adds, or takes out.
    derived: BTreeMap<Key, bool>,
    merges: Merges,
    pub(crate) changes: Changes,
}

/// What a batch of work has cost so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Rows read from the view.
    pub storage_reads: u64,
    /// SHA-256 hashes computed.
    pub hash_computations: u64,
}

impl<V: ReadView> Interface<V> {
    /// Opens the state that `view` shows. O(1).
    pub fn open(view: V) -> Result<Self, StorageError> {
        Self::open_with(view, Merges::default())
    }

    /// Opens the state that `view` shows, with the merge functions of the application's own types. O(1).
    pub fn open_with(view: V, merges: Merges) -> Result<Self, StorageError> {
        let slot = Slot::active(&view)?;
        Self::open_slot(view, slot, merges)
    }

    /// Opens the state in one of the two slots. O(1).
    pub(crate) fn open_slot(view: V, slot: Slot, merges: Merges) -> Result<Self, StorageError> {
        let stats = match view.read(&keys::stats(slot))? {
            Some(row) => Stats::from_bytes(&row).map_err(StorageError::row("the statistics"))?,
            None => Stats::default(),
        };
        Ok(Self {
            view,
            slot,
            published: false,
            records: Records::default(),
            rooted: false,
            tries: Tries::of(slot),
            touched: Vec::new(),
            stats,
            changed: false,
            latest: Hlc::ZERO,
            work: Work { storage_reads: 2, hash_computations: 0 },
            buffer: Writer::default(),
            derived: BTreeMap::new(),
            merges,
            changes: Changes::default(),
        })
    }

    /// The view underneath.
    pub const fn view(&self) -> &V {
        &self.view
    }

    /// Applies a change: all of it or, on an error, none of it. O(depth + log n) and independent of
    /// the order in which changes arrive.
    pub fn apply_action(&mut self, action: &Action, context: &ApplyContext) -> Result<Applied, ApplyError> {
        let mut record = action.to_record()?;
        record.check_drift(context.moment, context.max_drift_ms)?;
        self.check_merge(action.id(), &record)?;
        if canary!(TombstoneBeforeAddDropped)
            && record.deleted_at != Hlc::ZERO
            && self.held(action.id())?.home.is_none()
        {
            return Ok(Applied::Unchanged);
        }
        if self.is_past(action.id(), &record)? {
            return Ok(Applied::Unchanged);
        }
        let (mut parent, mut changed) = (EntityId::ROOT, self.ensure_root()?);
        for (depth, &ancestor) in (1..).zip(action.ancestors()) {
            // Nearly always the ancestor is in its place already.
            let placed = self.held(ancestor)?.home;
            if placed.is_none() && canary!(LeafAtGuessedPosition) {
                (record.depth, record.parent) = (1, EntityId::ROOT);
                break;
            }
            if placed.is_none_or(|own| (depth, parent) < own) {
                changed |= self.join(ancestor, Record::placeholder(depth, parent))?;
            }
            parent = ancestor;
        }
        changed |= self.join(action.id(), record)?;
        Ok(Applied::from_flag(changed))
    }

    /// Joins a whole record, as state sync brings it. Its parent must be here already, at a smaller
    /// depth. On an error nothing changes.
    ///
    /// Records pass between states of equal horizons only. A tombstone that such a state still has, though it
    /// was forgotten here, holds up something there that was written below it since: it is taken, or what
    /// hangs below it would never find its place.
    pub fn merge_record(
        &mut self,
        id: EntityId,
        record: &Record,
        context: &ApplyContext,
    ) -> Result<Applied, ApplyError> {
        self.check(id, record, context)?;
        if canary!(RemergedForEver) && record.deleted_at != Hlc::ZERO {
            return Ok(Applied::Unchanged);
        }
        let rooted = self.ensure_root()?;
        Ok(Applied::from_flag(self.join(id, record.clone())? | rooted))
    }

    /// Refuses a whole record that may not be joined.
    fn check(&mut self, id: EntityId, record: &Record, context: &ApplyContext) -> Result<(), ApplyError> {
        record.check(id)?;
        record.check_drift(context.moment, context.max_drift_ms)?;
        self.check_merge(id, record)?;
        if record.depth > 1 {
            let in_place = self.held(record.parent)?.home.is_some_and(|(depth, _)| depth < record.depth);
            if !in_place {
                return Err(ApplyError::MissingParent { id, parent: record.parent });
            }
        }
        Ok(())
    }

    /// Refuses a value of an application's own type that could not be merged here: all replicas must
    /// merge it alike.
    fn check_merge(&self, id: EntityId, record: &Record) -> Result<(), ApplyError> {
        match &record.value {
            Value::Custom(custom) if !self.can_merge(record) => {
                Err(ApplyError::NoMerge { id, name: custom.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether this is a tombstone that was forgotten here: dead before the horizon, and unknown.
    fn is_past(&mut self, id: EntityId, record: &Record) -> Result<bool, StorageError> {
        let past = record.grave().is_some_and(|stamp| stamp <= self.stats.horizon);
        Ok(past && self.held(id)?.home.is_none())
    }

    /// Whether the value can be merged here: it is of a built-in type, or its merge function is
    /// registered.
    pub fn can_merge(&self, record: &Record) -> bool {
        !matches!(&record.value, Value::Custom(custom) if !self.merges.knows(&custom.name))
    }

    /// The merge functions of the application's own types.
    pub const fn merges(&self) -> &Merges {
        &self.merges
    }

    fn ensure_root(&mut self) -> Result<bool, StorageError> {
        if std::mem::replace(&mut self.rooted, true) || self.held(EntityId::ROOT)?.home.is_some() {
            return Ok(false);
        }
        self.join(EntityId::ROOT, Record::placeholder(0, EntityId::ROOT))
    }

    /// Where the record of `id` is held, read from the view if it is not held yet.
    fn place(&mut self, id: EntityId) -> Result<u32, StorageError> {
        if let Some(place) = self.records.place(id) {
            return Ok(place);
        }
        self.read_record(id, &keys::record(self.slot, id))
    }

    /// Holds the record of `id`, which is not held yet.
    fn read_record(&mut self, id: EntityId, key: &Key) -> Result<u32, StorageError> {
        self.work.storage_reads += 1;
        let row = self.view.read(key)?;
        let record = row.map(|row| Record::from_bytes(&row)).transpose();
        Ok(self.records.push(Held::new(id, record.map_err(StorageError::row("a record"))?)))
    }

    /// Reads the records of these entities, which are to be changed or read next, side by side: changes to a
    /// large state take about half the time then. What they do does not depend on it. O(ids · log n).
    pub fn prefetch(&mut self, ids: impl IntoIterator<Item = EntityId>) -> Result<(), StorageError> {
        const AT_ONCE: usize = 256;
        let is_new = |id: &EntityId| self.records.place(*id).is_none();
        let mut ids: Vec<_> = ids.into_iter().filter(is_new).map(|id| (held::first(id), id)).collect();
        if ids.len() < 2 {
            return Ok(());
        }
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(AT_ONCE) {
            let keys: Vec<Key> = ids.iter().map(|(_, id)| keys::record(self.slot, *id)).collect();
            self.view.prefetch(&keys);
            for ((_, id), key) in ids.iter().zip(&keys) {
                self.read_record(*id, key)?;
            }
        }
        Ok(())
    }

    fn held(&mut self, id: EntityId) -> Result<&mut Held, StorageError> {
        let place = self.place(id)?;
        self.records.at(place)
    }

    /// What of the entry of `id` must be brought up to date, to be added to.
    fn touch(&mut self, place: u32) -> Result<&mut Touched, StorageError> {
        let held = self.records.at(place)?;
        if held.touched.is_none() {
            self.touched.push(place);
        }
        Ok(held.touched.get_or_insert_default())
    }

    pub(crate) fn join(&mut self, id: EntityId, incoming: Record) -> Result<bool, StorageError> {
        self.join_encoded(id, incoming, None)
    }

    /// `bytes` are those of `incoming`: a record that is new here needs no others.
    fn join_encoded(
        &mut self,
        id: EntityId,
        incoming: Record,
        bytes: Option<Bytes>,
    ) -> Result<bool, StorageError> {
        let latest = incoming.latest_stamp();
        let place = self.place(id)?;
        let Some(before) = self.records.at(place)?.record()?.cloned() else {
            self.add(place, incoming, bytes)?;
            self.latest = self.latest.max(latest);
            return Ok(true);
        };
        let mut after = Record::clone(&before);
        if !after.join(&incoming, &self.merges) {
            return Ok(false);
        }
        let told = !canary!(IndexMissesMerges) || after == incoming;
        let parent = after.parent;
        if id != EntityId::ROOT {
            self.stats.remove(&before);
            self.stats.add(&after);
        }
        self.derive(id, Some(&before), Some(&after));
        self.latest = self.latest.max(latest);
        self.replace(place, Some(after))?;
        self.touch(place)?.own = told;
        if before.parent != parent {
            let entry = self.tries.remove(&self.view, before.parent, id)?;
            let parent = self.place(before.parent)?;
            self.touch(parent)?.kids = true;
            if let Some(entry) = entry {
                self.touch(place)?.moved_from = Some(Box::new(entry));
            }
        }
        Ok(true)
    }

    /// Holds a record where there was none.
    fn add(&mut self, place: u32, mut record: Record, bytes: Option<Bytes>) -> Result<(), StorageError> {
        record.drop_unobservable();
        let id = self.records.at(place)?.id;
        if id != EntityId::ROOT {
            self.stats.add(&record);
        }
        self.derive(id, None, Some(&record));
        self.touch(place)?.own = true;
        if record.value == Value::Empty && bytes.is_none() {
            // More is to come, most likely.
            return self.replace(place, Some(record));
        }
        let bytes = bytes.unwrap_or_else(|| {
            self.buffer.clear();
            record.encode(&mut self.buffer);
            self.buffer.as_slice().into()
        });
        self.work.hash_computations += 1;
        self.records.at(place)?.replace_encoded((record.depth, record.parent), bytes);
        self.changed = true;
        Ok(())
    }

    fn replace(&mut self, place: u32, record: Option<Record>) -> Result<(), StorageError> {
        self.records.at(place)?.replace(record);
        self.changed = true;
        Ok(())
    }

    /// Takes a record out of the state. What hangs below it must be gone already.
    pub(crate) fn forget(&mut self, id: EntityId) -> Result<(), StorageError> {
        self.refresh()?;
        let place = self.place(id)?;
        let Some(record) = self.records.at(place)?.record()?.cloned() else { return Ok(()) };
        self.derive(id, Some(&record), None);
        self.stats.remove(&record);
        let entry = self.tries.remove(&self.view, record.parent, id)?;
        self.changes.note(id, entry.map(|entry| entry.own), None);
        let parent = self.place(record.parent)?;
        self.touch(parent)?.kids = true;
        self.replace(place, None)
    }

    /// Up to which stamp everything is stable; see [`Interface::raise_horizon`].
    pub const fn horizon(&self) -> Hlc {
        self.stats.horizon
    }

    pub(crate) const fn set_horizon(&mut self, horizon: Hlc) {
        self.stats.horizon = horizon;
        self.changed = true;
    }

    /// The Merkle root; zero for a state without records. O(1) when nothing changed since it was
    /// last asked for, else one pass over what changed.
    pub fn root_hash(&mut self) -> Result<Digest, StorageError> {
        self.refresh()?;
        Ok(self.stats.root)
    }

    /// The figures of the whole state, root included.
    pub fn stats(&mut self) -> Result<Stats, StorageError> {
        self.refresh()?;
        Ok(Stats { generation: self.stats.generation + u64::from(self.changed), ..self.stats.clone() })
    }

    /// Live entities, not counting the root. O(1).
    pub const fn entity_count(&self) -> u64 {
        self.stats.live
    }

    /// The record of `id`, if there is one.
    pub fn record(&mut self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        Ok(self.held(id)?.record()?.cloned())
    }

    /// Up to `limit` entities with this [`EntityId::beginning`], ascending, each with the bytes of its record.
    /// O(log n + limit).
    pub fn records_beginning(
        &mut self,
        first: u32,
        limit: usize,
    ) -> Result<Vec<(EntityId, Bytes)>, StorageError> {
        Ok(self.records_beginning_each(&[first], limit)?.pop().unwrap_or_default())
    }

    /// The keys between which the records of entities with this beginning are.
    fn rows_beginning(&self, first: u32) -> (Key, Key) {
        let (from, to) = EntityId::range_of_prefix(first);
        let end = to.successor().map(|id| keys::record(self.slot, id));
        (keys::record(self.slot, from), end.unwrap_or_else(|| keys::records_end(self.slot)))
    }

    /// [`Interface::records_beginning`] of each of these, found side by side: of a large state in memory that
    /// takes a fraction of the time.
    pub fn records_beginning_each(
        &mut self,
        firsts: &[u32],
        limit: usize,
    ) -> Result<Vec<Vec<(EntityId, Bytes)>>, StorageError> {
        // So many that what was found is still near when it is passed on.
        const AT_ONCE: usize = 64;
        let changed = |first: &u32| self.records.beginning(*first).filter(|held| held.dirty);
        let removed = firsts.iter().flat_map(changed).filter(|held| held.home.is_none()).count();
        let with_changes = |(first, rows): (&u32, Vec<Row>)| {
            let rows = rows.into_iter().filter_map(|(key, row)| Some((keys::record_id(&key)?, row)));
            let mut changed = changed(first).peekable();
            if changed.peek().is_none() {
                return rows.take(limit).collect();
            }
            let mut found: BTreeMap<EntityId, Bytes> = rows.collect();
            for held in changed {
                match held.encoded() {
                    Some(bytes) => found.insert(held.id, bytes),
                    None => found.remove(&held.id),
                };
            }
            found.into_iter().take(limit).collect()
        };
        let mut all = Vec::with_capacity(firsts.len());
        for firsts in firsts.chunks(AT_ONCE) {
            let bounds: Vec<_> = firsts.iter().map(|first| self.rows_beginning(*first)).collect();
            let found = self.view.ranges(&bounds, limit.saturating_add(removed))?;
            self.work.storage_reads += firsts.len() as u64;
            all.extend(firsts.iter().zip(found).map(with_changes));
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

    /// Up to `limit` children of `id` with `from <= child <= to`, ascending.
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

    /// The index entry of `id`: the digests of its record and of its children.
    pub fn entry(&mut self, id: EntityId) -> Result<Option<Entry>, StorageError> {
        self.refresh()?;
        let Some(record) = self.record(id)? else { return Ok(None) };
        if id == EntityId::ROOT {
            let kids = self.tries.root(&self.view, id)?;
            return Ok(Some(Entry { id, own: own_hash(id, &record.to_bytes()), kids }));
        }
        self.tries.entry(&self.view, record.parent, id)
    }

    /// The index node at exactly `prefix` among the children of `id`.
    pub fn node(&mut self, id: EntityId, prefix: Prefix) -> Result<Option<Node>, StorageError> {
        self.refresh()?;
        self.tries.node(&self.view, id, prefix)
    }

    /// The hash of the children of `id` under `prefix`; see [`Tries::hash_at`].
    pub fn hash_at(&mut self, id: EntityId, prefix: Prefix) -> Result<Digest, StorageError> {
        self.refresh()?;
        self.tries.hash_at(&self.view, id, prefix)
    }

    /// The latest stamp that this batch took in: what the local clock must exceed from now on, or
    /// a later local write would lose to what it was meant to replace.
    pub const fn latest_stamp(&self) -> Hlc {
        self.latest
    }

    /// What this batch has cost so far.
    pub const fn work(&self) -> Work {
        let (reads, hashes) = self.tries.work();
        Work {
            storage_reads: self.work.storage_reads + reads,
            hash_computations: self.work.hash_computations + hashes,
        }
    }

    /// Whether this batch changed any record.
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Calls `each` with every child of `id`, ascending, without keeping what is read. O(n).
    pub(crate) fn scan_children(
        &mut self,
        id: EntityId,
        each: &mut impl FnMut(&Entry),
    ) -> Result<(), StorageError> {
        self.refresh()?;
        self.tries.scan(&self.view, id, each)
    }

    /// The work as one batch: records, index and statistics together.
    pub fn finish(mut self) -> Result<WriteBatch, StorageError> {
        if !self.changed {
            return Ok(WriteBatch::default());
        }
        self.refresh()?;
        self.stats.generation += 1;
        let changed = self.records.changed();
        let mut rows = Vec::with_capacity(changed.len() + self.derived.len() + 2);
        rows.push((keys::stats(self.slot), Some(self.stats.to_bytes().into())));
        if self.published {
            rows.push((keys::ACTIVE.into(), Some(self.slot.to_bytes().into())));
        }
        for places in changed.chunks(held::SIDE_BY_SIDE) {
            self.records.visit(places.iter().copied());
            for place in places {
                let held = self.records.at(*place)?;
                rows.push((keys::record(self.slot, held.id), held.take_bytes(&mut self.buffer)));
            }
        }
        let place = |there: bool| there.then(|| Bytes::from([]));
        rows.extend(self.derived.into_iter().map(|(key, there)| (key, place(there))));
        let mut batch = WriteBatch::from_iter(rows);
        self.tries.finish(&mut batch);
        Ok(batch)
    }
}
