//! A reference state: accepted writes joined without a network.

use super::visible_value::VisibleValue;
use crate::disk_view::CheckedDiskView;
use std::collections::BTreeMap;
use syncline_crdt::Value;
use syncline_storage::{Action, ApplyContext, ApplyError, Interface, Record, StorageError, record_page};
use syncline_store::{MemoryStore, Store, WriteBatch};
use syncline_types::{Decode, Digest, EntityId, Hlc, Moment, SimTime};

/// The records of a store with their depths, parents before children.
fn records(store: &MemoryStore) -> Result<Vec<(u32, EntityId, Record)>, StorageError> {
    let mut records = Vec::new();
    for (id, bytes) in record_page(store, None, usize::MAX)?.records {
        let record = Record::from_bytes(&bytes);
        let record = record.map_err(|error| StorageError::Row { what: "a record", error })?;
        records.push((record.depth, id, record));
    }
    records.sort_by_key(|(depth, id, _)| (*depth, *id));
    Ok(records)
}

/// Whether the join with `record` leaves `whole` as it is.
fn includes(whole: &Record, record: &Record) -> bool {
    !whole.clone().join(record)
}

/// No clock and no drift bound: whatever a replica has accepted is accepted here.
const ANY_TIME: ApplyContext = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };

/// A state that has joined every accepted write, in the order of acceptance.
#[derive(Clone, Debug, Default)]
pub struct ReferenceState {
    state: MemoryStore,
}

impl ReferenceState {
    /// A reference state that begins with this state.
    pub const fn new(state: MemoryStore) -> Self {
        Self { state }
    }

    /// The rows of the state.
    pub const fn state(&self) -> &MemoryStore {
        &self.state
    }

    /// The join of the states in these stores.
    ///
    /// # Errors
    ///
    /// If a store cannot be read.
    pub(crate) fn join_of(stores: Vec<MemoryStore>) -> Result<Self, ApplyError> {
        let horizon = |store: &MemoryStore| Ok(Interface::open(CheckedDiskView::from(store))?.horizon());
        let horizons = stores.iter().map(horizon).collect::<Result<Vec<_>, StorageError>>()?;
        // Least horizon first, so that no record is merged after its parent was collected.
        let mut order: Vec<(Hlc, MemoryStore)> = horizons.into_iter().zip(stores).collect();
        order.retain(|(_, store)| !store.is_empty());
        order.sort_by_key(|(horizon, _)| *horizon);
        let mut joined = Self::default();
        let mut last = Hlc::ZERO;
        for (horizon, store) in order {
            assert!(horizon >= last, "horizons ascend");
            joined.merge(&store)?;
            last = horizon;
        }
        joined.raise_horizon(last)?;
        Ok(joined)
    }

    /// Whether joining `other` would change nothing here.
    pub(crate) fn includes(&self, other: &MemoryStore) -> Result<bool, ApplyError> {
        let mut own = self.clone();
        let before = own.root()?;
        own.merge(other)?;
        Ok(own.root()? == before)
    }

    /// Whether `other` has all that this state has; see [`ReferenceState::first_missing_in`].
    pub(crate) fn is_included_in(&self, other: &MemoryStore) -> Result<bool, ApplyError> {
        Ok(self.first_missing_in(other, false, BTreeMap::new)?.is_none())
    }

    /// The first entity of which `other` lacks what this state has. If `other` has collected tombstones, only what is
    /// visible here counts, since nobody knows which invisible records it had. What one of the `deletes` hides does not
    /// count either: `other` may have applied the delete and collected it. `deletes` gives the stamp of the latest delete
    /// of each entity. If parts `may_be_renamed`, because a node that was brought back has written them again under another
    /// id, a record has what another one has if it shows the same. O(n log n), and `deletes` is called at most once.
    pub(crate) fn first_missing_in(
        &self,
        other: &MemoryStore,
        may_be_renamed: bool,
        deletes: impl FnOnce() -> BTreeMap<EntityId, Hlc>,
    ) -> Result<Option<EntityId>, ApplyError> {
        let whole = Self::new(other.clone());
        if whole.includes(&self.state) == Ok(true) {
            return Ok(None);
        }
        let has = |found: &Record, record: &Record| {
            let shows_the_same = || VisibleValue::of(&found.value) == VisibleValue::of(&record.value);
            includes(found, record) || (may_be_renamed && shows_the_same())
        };
        let mut theirs = Interface::open(CheckedDiskView::from(other))?;
        if theirs.horizon() == Hlc::ZERO {
            for (_, id, record) in records(&self.state)? {
                let own = theirs.record(id)?;
                if !own.is_some_and(|own| has(&own, &record)) {
                    return Ok(Some(id));
                }
            }
            return Ok(None);
        }
        let deletes = deletes();
        let mut own = Interface::open(CheckedDiskView::from(&self.state))?;
        for (id, record) in own.visible()? {
            // A delete wins over a write of the same stamp.
            if deletes.get(&id).is_some_and(|delete| *delete >= record.updated_at) {
                continue;
            }
            let found = theirs.record(id)?;
            let is_there = found.is_some_and(|found| has(&found, &record));
            if !is_there || !theirs.is_visible(id)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Raises the horizon, up to which every member has seen every write, and collects tombstones.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<(), ApplyError> {
        self.change(|state| Ok(state.raise_horizon(horizon).map(drop)?))
    }

    /// Whether an application sees the same in `other`. After tombstones were collected, records may differ
    /// in the traces of deletes that are not visible.
    pub fn shows_the_same_as(&self, other: &MemoryStore) -> Result<bool, StorageError> {
        let seen = |store: &MemoryStore| -> Result<Vec<_>, StorageError> {
            let visible = Interface::open(CheckedDiskView::from(store))?.visible()?;
            let value = |record: &Record| match &record.value {
                Value::Element(_) => Value::Empty,
                value => value.clone(),
            };
            Ok(visible.into_iter().map(|(id, record)| (id, record.updated_at, value(&record))).collect())
        };
        Ok(seen(&self.state)? == seen(other)?)
    }

    /// The root of the state.
    pub fn root(&self) -> Result<Digest, StorageError> {
        Interface::open(CheckedDiskView::from(&self.state))?.root_hash()
    }

    /// Joins another state into this one.
    pub fn merge(&mut self, whole: &MemoryStore) -> Result<(), ApplyError> {
        if self.state.is_empty() {
            self.state = whole.clone();
            return Ok(());
        }
        let records = records(whole)?;
        self.change(|state| {
            records
                .iter()
                .try_for_each(|(_, id, record)| state.merge_record(*id, record, &ANY_TIME).map(drop))
        })
    }

    /// Joins the actions of an accepted write.
    pub fn apply(&mut self, actions: &[Action]) -> Result<(), ApplyError> {
        self.change(|state| {
            actions.iter().try_for_each(|action| state.apply_action(action, &ANY_TIME).map(drop))
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Interface<CheckedDiskView>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let mut state = Interface::open(CheckedDiskView::from(&self.state))?;
        change(&mut state)?;
        let batch: WriteBatch = state.finish()?;
        Ok(self.state.apply(batch)?)
    }
}
