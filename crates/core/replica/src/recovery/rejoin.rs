//! Joins the records of an old store into the present state.
//!
//! The old store may be the only one that still has a record: one from before the log began, one whose delta was pruned,
//! or another replica's write that all others have lost. A record is joined as in a session of two states, with two
//! differences. What the former id did after the fork counts in the name of its branch, so that writing it again changes
//! nothing. And a record that is absent here may have been collected: it is joined only if that cannot be.

use super::legacy::{self, Branch, FormerId, LegacyPart, damaged};
use super::reissue::count_of;
use super::restamp::Restamp;
use std::collections::BTreeMap;
use syncline_crdt::{Element, GCounter, PnCounter, Value};
use syncline_storage::{ApplyContext, ApplyError, Interface, Record, StorageError};
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{Decode, Encode, EntityId, Hlc, InternalError, Reader, ReplicaId, Writer};

/// The invariant on which the join relies.
const JOINS: &str = "a record that was checked joins a state that has its parent";

/// What became of a record of the old store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rejoined {
    /// The state has it.
    Joined,
    /// It may have been collected, or the writes that made it are written again.
    LeftOut,
    /// It has a stamp of another replica that is ahead of time.
    Ahead,
}

/// Joins records of the old store of a `former` id.
pub(crate) struct Rejoin<'a> {
    pub(crate) former: ReplicaId,
    pub(crate) known: &'a FormerId,
    pub(crate) branch: &'a Branch,
    pub(crate) context: &'a ApplyContext,
}

impl Rejoin<'_> {
    /// Joins a record. One that is left out leaves its position in `batch`: records below it may need it.
    /// O(log n), and O(depth) in all for each record that is left out.
    pub(crate) fn join<V: ReadView>(
        &self,
        id: EntityId,
        mut record: Record,
        state: &mut Interface<V>,
        batch: &mut WriteBatch,
    ) -> Result<Rejoined, StorageError> {
        let position = (record.depth, record.parent);
        let horizon = state.horizon();
        let is_written_again = self.is_any_moved(&record.value, horizon);
        self.drop_moved(&mut record, horizon);
        let is_ahead = !self.branch.is_everything() && self.is_ahead(record.latest_stamp());
        let is_left_out = is_written_again || is_ahead || !self.is_certain(id, &mut record, state)?;
        if is_left_out || !self.place_parent(record.parent, record.depth, state, batch)? {
            write_position(self.former, id, position, batch);
            return Ok(if is_ahead { Rejoined::Ahead } else { Rejoined::LeftOut });
        }
        self.rename(&mut record);
        if !self.known.has_one_life
            && count_of(&record.value, self.former).is_some()
            && let Some(base) = legacy::base(state.view(), self.former, id)?
        {
            record.value = capped(record.value, self.former, base);
        }
        self.merge(id, &record, state)?;
        Ok(Rejoined::Joined)
    }

    fn merge<V: ReadView>(
        &self,
        id: EntityId,
        record: &Record,
        state: &mut Interface<V>,
    ) -> Result<(), StorageError> {
        let own = ApplyContext { max_drift_ms: u64::MAX, ..*self.context };
        match state.merge_record(id, record, &own) {
            Ok(_) => Ok(()),
            Err(ApplyError::Storage(error)) => Err(error),
            Err(error) => {
                debug_assert!(false, "{JOINS}: {error}");
                Err(InternalError::broken(JOINS).into())
            }
        }
    }

    fn is_ahead(&self, stamp: Hlc) -> bool {
        stamp.check_drift(self.context.moment, self.context.max_drift_ms).is_err()
    }

    /// Whether a change of the former id may get a new time when it is written again.
    fn is_moved(&self, stamp: Hlc, horizon: Hlc) -> bool {
        let is_of_branch = stamp.replica() == self.former && stamp.time() > self.branch.until;
        // If the first writes of the branch are moved after the horizon, they may move later ones.
        let may_have_moved = self.branch.until < horizon.time();
        is_of_branch && stamp != Hlc::MAX && (may_have_moved || self.is_ahead(stamp))
    }

    /// Whether a value has a part that is moved.
    fn is_any_moved(&self, value: &Value, horizon: Hlc) -> bool {
        let is_moved = |stamp| self.is_moved(stamp, horizon);
        let at = |time: u64, replica| Hlc::new(time >> 16, time as u16, replica);
        match value {
            Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => {
                is_moved(register.stamp())
            }
            Value::User(owned) => is_moved(owned.register.stamp()),
            Value::Element(element) => {
                element.entries().any(|(replica, presence)| is_moved(at(presence.added, replica)))
            }
            Value::Rga(text) => text.runs().any(|(run, _)| is_moved(run.stamp)),
            Value::Custom(custom) => custom.writers().any(|(writer, operands)| {
                operands.live.keys().chain([&operands.covered]).any(|time| is_moved(at(*time, writer)))
            }),
            // Counts are relative to the fork, and a collection has no parts.
            _ => false,
        }
    }

    /// Removes the stamps that are moved.
    fn drop_moved(&self, record: &mut Record, horizon: Hlc) {
        if self.is_moved(record.created_at, horizon) {
            record.created_at = Hlc::MAX;
        }
        if self.is_moved(record.deleted_at, horizon) {
            record.deleted_at = Hlc::ZERO;
        }
        if self.is_moved(record.updated_at, horizon) {
            let created = if record.created_at == Hlc::MAX { Hlc::ZERO } else { record.created_at };
            record.updated_at = created.max(record.value.latest_stamp());
        }
    }

    /// Whether it is certain that the record was not collected here. Every member had seen what is from before the
    /// horizon; of that, only what the state still has is kept.
    fn is_certain<V: ReadView>(
        &self,
        id: EntityId,
        record: &mut Record,
        state: &mut Interface<V>,
    ) -> Result<bool, StorageError> {
        let horizon = state.horizon();
        if self.known.horizon >= horizon || !record.is_collectable() {
            return Ok(true);
        }
        let present = state.record(id)?;
        // An entity that was created again after its collection is a younger one.
        if present.is_some_and(|present| present.created_at <= record.created_at) {
            return Ok(true);
        }
        if let Value::Element(element) = &record.value {
            let later = element.entries().filter(|(_, presence)| presence.added > horizon.time());
            record.value = Value::Element(Element::from_entries(later));
        }
        Ok(record.latest_stamp() > horizon)
    }

    /// Puts what the former id did after the fork into the name of its branch.
    fn rename(&self, record: &mut Record) {
        let moved = BTreeMap::new();
        let Branch { name, until, .. } = *self.branch;
        let has_one_life = self.known.has_one_life;
        let former = self.former;
        let restamp =
            Restamp { former, maker: former, heir: name, known_until: until, has_one_life, moved: &moved };
        record.created_at = restamp.stamp(record.created_at);
        record.updated_at = restamp.stamp(record.updated_at);
        record.deleted_at = restamp.stamp(record.deleted_at);
        record.value = restamp.value(&record.value);
        if matches!(record.value, Value::Lww(_) | Value::Opaque(_) | Value::Custom(_)) {
            // Of two stamps of one time, the other may be the later one now.
            record.updated_at = record.updated_at.max(record.value.latest_stamp());
        }
    }

    /// Makes sure that the state has `parent` above `depth`. Returns false if it cannot: then the parent was collected.
    fn place_parent<V: ReadView>(
        &self,
        parent: EntityId,
        depth: u32,
        state: &mut Interface<V>,
        batch: &WriteBatch,
    ) -> Result<bool, StorageError> {
        let mut missing = Vec::new();
        let mut id = parent;
        let mut below = depth;
        while below > 1 {
            let present = state.record(id)?;
            if present.is_some_and(|present| present.depth < below) {
                break;
            }
            // The former store has not had this ancestor either: the change has no place here.
            let Some((depth, above)) = read_position(state.view(), batch, self.former, id)? else {
                return Ok(false);
            };
            missing.push((id, Record::placeholder(depth, above)));
            id = above;
            below = depth;
        }
        for (id, placeholder) in missing.iter().rev() {
            self.merge(*id, placeholder, state)?;
        }
        Ok(true)
    }
}

/// A counter with no more of a replica than these counts.
fn capped(value: Value, replica: ReplicaId, base: legacy::Counts) -> Value {
    match value {
        Value::GCounter(counter) => {
            let entries = counter.entries().map(|(id, count)| {
                let is_own = id == replica;
                (id, if is_own { count.min(base.0) } else { count })
            });
            Value::GCounter(GCounter::from_entries(entries.filter(|(_, count)| *count > 0)))
        }
        Value::PnCounter(counter) => {
            let entries = counter.entries().map(|(id, (added, taken))| {
                let is_own = id == replica;
                (id, if is_own { (added.min(base.0), taken.min(base.1)) } else { (added, taken) })
            });
            Value::PnCounter(PnCounter::from_entries(entries.filter(|(_, counts)| *counts != (0, 0))))
        }
        other => other,
    }
}

fn write_position(former: ReplicaId, id: EntityId, (depth, parent): (u32, EntityId), batch: &mut WriteBatch) {
    let mut row = Writer::default();
    row.varint(u64::from(depth));
    parent.encode(&mut row);
    batch.put(LegacyPart::Positions.key(former, id.as_bytes()), row.into_bytes());
}

fn read_position<V: ReadView>(
    view: &V,
    batch: &WriteBatch,
    former: ReplicaId,
    id: EntityId,
) -> Result<Option<(u32, EntityId)>, StorageError> {
    let key = LegacyPart::Positions.key(former, id.as_bytes());
    let row = match batch.get(&key) {
        Some(written) => written.clone(),
        None => view.read(&key)?,
    };
    let Some(row) = row else { return Ok(None) };
    let mut input = Reader::new(&row);
    let depth = input.varint().map_err(damaged("a position"))?;
    let parent = EntityId::decode(&mut input).map_err(damaged("a position"))?;
    input.finish().map_err(damaged("a position"))?;
    Ok(Some((depth as u32, parent)))
}
