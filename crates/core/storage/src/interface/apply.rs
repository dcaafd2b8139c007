//! Changing records: actions, joins of whole records, and removals.

use super::record_cache::{CachedRecord, StaleParts};
use super::{ApplyContext, ApplyOutcome, Interface};
use crate::error::{ApplyError, StorageError};
use crate::keys;
use crate::record::{Action, Record, RelativeAction};
use syncline_crdt::Value;
use syncline_store::{Bytes, Key, ReadView};
use syncline_types::{Decode, Encode, EntityId, Hlc, canary};

impl<V: ReadView> Interface<V> {
    /// Applies a change: all of it or, on an error, none of it. The result does not depend on the order in
    /// which changes arrive. O(depth + log n).
    pub fn apply_action(
        &mut self,
        action: &Action,
        context: &ApplyContext,
    ) -> Result<ApplyOutcome, ApplyError> {
        self.apply(action, action.to_record()?, None, self.stats.horizon, context)
    }

    /// [`Interface::apply_action`] for an action whose path begins at an anchor. The result is that of the action
    /// with its whole path, if the state has all that the state of the author had, which had collected tombstones up to
    /// the horizon `collected`. O(named ancestors + log n).
    ///
    /// # Errors
    /// As [`Interface::apply_action`], and [`ApplyError::MissingParent`] without the anchor: see
    /// [`Interface::has_anchors`].
    pub fn apply_relative(
        &mut self,
        relative: &RelativeAction,
        collected: Hlc,
        context: &ApplyContext,
    ) -> Result<ApplyOutcome, ApplyError> {
        let action = &relative.action;
        let record = relative.to_record()?;
        let anchor = relative.anchor();
        if let Some((parent, depth)) = anchor
            && !self.has_anchor(parent, depth)?
        {
            return Err(ApplyError::MissingParent { id: action.id(), parent });
        }
        self.apply(action, record, anchor, collected, context)
    }

    /// Applies an action, of which this is the record, by an author with the horizon `collected`. If there is an anchor,
    /// the path begins with it, and the state has it at this depth or a smaller one.
    fn apply(
        &mut self,
        action: &Action,
        record: Record,
        anchor: Option<(EntityId, u32)>,
        collected: Hlc,
        context: &ApplyContext,
    ) -> Result<ApplyOutcome, ApplyError> {
        record.check_drift(context.moment, context.max_drift_ms)?;
        if canary!(TombstoneBeforeAddDropped)
            && record.deleted_at != Hlc::ZERO
            && self.cached(action.id())?.position.is_none()
        {
            return Ok(ApplyOutcome::Unchanged);
        }
        if self.was_collected(action.id(), &record)? {
            return Ok(ApplyOutcome::Unchanged);
        }
        // From the root or the anchor down, so that every record has its parent in the state when it is joined.
        let mut changed = self.ensure_root()?;
        let (mut parent, above) = anchor.unwrap_or((EntityId::ROOT, 0));
        let path = action.ancestors().iter().skip(usize::from(anchor.is_some()));
        for (depth, &ancestor) in (above + 1..).zip(path) {
            let known = self.cached(ancestor)?.position;
            if known.is_none() && canary!(LeafAtGuessedPosition) {
                let guessed = Record { depth: 1, parent: EntityId::ROOT, ..record };
                return Ok(ApplyOutcome::from_flag(changed | self.join(action.id(), guessed)?));
            }
            // The join of a placeholder changes nothing but the position. Nearly always the ancestor is at this
            // position already, and the join can be skipped.
            if known.is_none_or(|known| (depth, parent) < known) {
                changed |= self.join(ancestor, Record::placeholder(depth, parent))?;
            }
            parent = ancestor;
        }
        changed |= self.join_encoded(action.id(), record, None, collected)?;
        Ok(ApplyOutcome::from_flag(changed))
    }

    /// Joins a whole record, as a state sync transfers it. Its parent must be present already, at a smaller
    /// depth. On an error nothing changes.
    ///
    /// Records are exchanged between states of equal horizons only. The other state may have a tombstone that
    /// was collected here, because a later write below the tombstone prevents the collection there. Such a
    /// tombstone is joined nevertheless: otherwise its descendants would never find their parent.
    pub fn merge_record(
        &mut self,
        id: EntityId,
        record: &Record,
        context: &ApplyContext,
    ) -> Result<ApplyOutcome, ApplyError> {
        self.check(id, record, context)?;
        if canary!(RemergedForEver) && record.deleted_at != Hlc::ZERO {
            return Ok(ApplyOutcome::Unchanged);
        }
        let rooted = self.ensure_root()?;
        Ok(ApplyOutcome::from_flag(self.join(id, record.clone())? | rooted))
    }

    /// [`Interface::merge_record`] with the bytes that the record was decoded from: a record that is new here is
    /// stored and hashed without encoding it again.
    pub fn merge_encoded(
        &mut self,
        id: EntityId,
        record: Record,
        bytes: Bytes,
        context: &ApplyContext,
    ) -> Result<ApplyOutcome, ApplyError> {
        self.check(id, &record, context)?;
        let rooted = self.ensure_root()?;
        Ok(ApplyOutcome::from_flag(self.join_encoded(id, record, Some(bytes), self.stats.horizon)? | rooted))
    }

    /// Refuses a whole record that must not be joined.
    fn check(&mut self, id: EntityId, record: &Record, context: &ApplyContext) -> Result<(), ApplyError> {
        record.check(id)?;
        record.check_drift(context.moment, context.max_drift_ms)?;
        if record.depth > 1 {
            let parent = self.cached(record.parent)?.position;
            if parent.is_none_or(|(depth, _)| depth >= record.depth) {
                return Err(ApplyError::MissingParent { id, parent: record.parent });
            }
        }
        Ok(())
    }

    /// Whether `record` is a tombstone that was collected here: it is unknown, and not later than the horizon.
    /// A delete that arrives again must not bring it back.
    pub(super) fn was_collected(&mut self, id: EntityId, record: &Record) -> Result<bool, StorageError> {
        let stable = record.tombstone_stamp().is_some_and(|stamp| stamp <= self.stats.horizon);
        Ok(stable && self.cached(id)?.position.is_none())
    }

    /// Makes sure that the root's record exists. Returns whether it was added.
    pub(super) fn ensure_root(&mut self) -> Result<bool, StorageError> {
        if std::mem::replace(&mut self.rooted, true) || self.cached(EntityId::ROOT)?.position.is_some() {
            return Ok(false);
        }
        self.join(EntityId::ROOT, Record::placeholder(0, EntityId::ROOT))
    }

    /// The cache index of `id`. An entity that is not cached is read from the view first, whether or not it
    /// has a record.
    pub(super) fn cache_index(&mut self, id: EntityId) -> Result<u32, StorageError> {
        if let Some(index) = self.records.index_of(id) {
            return Ok(index);
        }
        let locator = self.short_ids().locator(id);
        self.read_record(id, locator, &keys::record(self.slot, locator, id))
    }

    /// Reads the record of `id`, which is not cached, into the cache.
    fn read_record(&mut self, id: EntityId, locator: u32, key: &Key) -> Result<u32, StorageError> {
        self.work.storage_reads += 1;
        let row = self.view.read(key)?;
        let record = row.map(|row| Record::from_bytes(&row)).transpose();
        let record = record.map_err(StorageError::row("a record"))?;
        Ok(self.records.push(CachedRecord::new(id, locator, record)))
    }

    /// Caches the records of these entities, which will be read or changed next, so that cache misses overlap.
    /// Halves the time of changes to a large state. Results do not depend on it. O(ids · log n).
    pub fn prefetch(&mut self, ids: impl IntoIterator<Item = EntityId>) -> Result<(), StorageError> {
        const AT_ONCE: usize = 256;
        let is_new = |id: &EntityId| self.records.index_of(*id).is_none();
        let ids = ids.into_iter().filter(is_new);
        let mut ids: Vec<_> = ids.map(|id| (self.short_ids().locator(id), id)).collect();
        if ids.len() < 2 {
            return Ok(());
        }
        // In the order of keys, neighbors share memory of the store. No id may be cached twice.
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(AT_ONCE) {
            let keys: Vec<Key> =
                ids.iter().map(|(locator, id)| keys::record(self.slot, *locator, *id)).collect();
            self.view.prefetch(&keys);
            for ((locator, id), key) in ids.iter().zip(&keys) {
                self.read_record(*id, *locator, key)?;
            }
        }
        Ok(())
    }

    /// The cached record of `id`, read from the view if necessary.
    pub(super) fn cached(&mut self, id: EntityId) -> Result<&mut CachedRecord, StorageError> {
        let index = self.cache_index(id)?;
        self.records.at(index)
    }

    /// The out-of-date parts of the index entry of a cached record, to add to.
    pub(super) fn mark_stale(&mut self, index: u32) -> Result<&mut StaleParts, StorageError> {
        let cached = self.records.at(index)?;
        if cached.stale.is_none() {
            self.stale.push(index);
        }
        Ok(cached.stale.get_or_insert_default())
    }

    /// Joins `incoming` into the record of `id`. Returns whether the record changed.
    ///
    /// The parent of `incoming` must be in the state, at a smaller depth.
    pub(crate) fn join(&mut self, id: EntityId, incoming: Record) -> Result<bool, StorageError> {
        self.join_encoded(id, incoming, None, self.stats.horizon)
    }

    /// [`Interface::join`]; `bytes` are the encoding of `incoming`, if the caller has it. Who wrote it had collected
    /// tombstones up to `collected`, or had seen what this state has collected.
    fn join_encoded(
        &mut self,
        id: EntityId,
        incoming: Record,
        bytes: Option<Bytes>,
        collected: Hlc,
    ) -> Result<bool, StorageError> {
        // Taken from the incoming record, because a join may drop a register whose stamp the clock must
        // exceed.
        let latest = incoming.latest_stamp();
        let index = self.cache_index(id)?;
        // The first record of this entity: the join with nothing is the record itself.
        let Some(before) = self.records.at(index)?.record()?.cloned() else {
            self.add(index, incoming, bytes)?;
            self.latest = self.latest.max(latest);
            return Ok(true);
        };
        let mut after = Record::clone(&before);
        let mut incoming = incoming;
        let mut changed = false;
        if before.crdt_type() != incoming.crdt_type() {
            // An author that had not collected so much did not see what it replaces: its write is concurrent.
            changed = after.forget_content_replaced_by(&incoming, collected.min(self.stats.horizon));
            incoming.forget_content_replaced_by(&before, self.stats.horizon);
        }
        changed |= after.join(&incoming);
        // Joins are idempotent: a change that arrives again ends here, without a write and without a hash.
        if !changed {
            return Ok(false);
        }
        debug_assert!(
            (after.depth, after.parent) <= (before.depth, before.parent),
            "positions only become smaller, so that a parent stays at a smaller depth than its children"
        );
        let parent = after.parent;
        self.derive(id, Some(&before), Some(&after))?;
        self.latest = self.latest.max(latest);
        let stale = self.mark_stale(index)?;
        stale.own = true;
        if canary!(IndexMissesMerges) && after != incoming {
            stale.own = false;
        }
        self.replace(index, Some(after))?;
        if before.parent != parent {
            self.move_entry(id, index, before.parent)?;
        }
        Ok(true)
    }

    /// Removes the index entry of `id`, whose record has a new parent, from the trie of the old parent.
    ///
    /// The next refresh adds an entry to the trie of the new parent. The root of the children's trie is
    /// copied from the old entry, because the children did not move. Without an old entry there is nothing to
    /// copy: neither the entity nor its children have been refreshed since this batch added them, so all of
    /// them are stale.
    fn move_entry(&mut self, id: EntityId, index: u32, from: EntityId) -> Result<(), StorageError> {
        let entry = self.tries.remove(&self.view, from, id)?;
        let old_parent = self.cache_index(from)?;
        self.mark_stale(old_parent)?.kids = true;
        if let Some(entry) = entry {
            self.mark_stale(index)?.moved_from = Some(Box::new(entry));
        }
        Ok(())
    }

    /// Adds a record where there was none.
    fn add(&mut self, index: u32, mut record: Record, bytes: Option<Bytes>) -> Result<(), StorageError> {
        record.drop_unobservable();
        let id = self.records.at(index)?.id;
        self.derive(id, None, Some(&record))?;
        self.mark_stale(index)?.own = true;
        if record.value == Value::Empty && bytes.is_none() {
            // A placeholder is likely to be joined again in this batch: encoding it now would be wasted.
            return self.replace(index, Some(record));
        }
        let bytes = bytes.unwrap_or_else(|| {
            self.buffer.clear();
            record.encode(&mut self.buffer);
            self.buffer.as_slice().into()
        });
        debug_assert_eq!(Record::depth_of(&bytes), Ok(record.depth), "the bytes are those of the record");
        self.work.hash_computations += 1;
        self.records.at(index)?.replace_encoded((record.depth, record.parent), bytes);
        self.changed = true;
        Ok(())
    }

    pub(super) fn replace(&mut self, index: u32, record: Option<Record>) -> Result<(), StorageError> {
        self.records.at(index)?.replace(record);
        self.changed = true;
        Ok(())
    }

    /// Removes the record of `id` from the state. Its children must be gone already.
    pub(super) fn remove_record(&mut self, id: EntityId) -> Result<(), StorageError> {
        debug_assert!(id != EntityId::ROOT, "the record of the root is never removed");
        self.refresh()?;
        let index = self.cache_index(id)?;
        // There is no such record: removing it again changes nothing.
        let Some(record) = self.records.at(index)?.record()?.cloned() else { return Ok(()) };
        self.derive(id, Some(&record), None)?;
        let entry = self.tries.remove(&self.view, record.parent, id)?;
        self.change_feed.push(id, entry.map(|entry| entry.own), None);
        let parent = self.cache_index(record.parent)?;
        self.mark_stale(parent)?.kids = true;
        self.replace(index, None)
    }
}
