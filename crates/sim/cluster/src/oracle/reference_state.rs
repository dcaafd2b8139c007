//! One state of accepted writes, joined without a network.

use syncline_crdt::{Merges, Value};
use syncline_storage::{Action, ApplyContext, ApplyError, Interface, Record, StorageError, record_page};
use syncline_store::{MemoryStore, Store, WriteBatch};
use syncline_types::{Decode, Digest, Hlc, Moment, SimTime};

/// Whatever a replica accepted is accepted here: there is no clock.
const ANY_TIME: ApplyContext = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };

/// One state that saw every accepted write, in the order of acceptance.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    state: MemoryStore,
    merges: Merges,
}

impl Joined {
    /// This state, and what is still to come.
    pub const fn new(state: MemoryStore, merges: Merges) -> Self {
        Self { state, merges }
    }

    /// The state.
    pub const fn state(&self) -> &MemoryStore {
        &self.state
    }

    /// The merge functions of the application's own types.
    pub const fn merges(&self) -> &Merges {
        &self.merges
    }

    /// One that has seen what these stores hold.
    pub(crate) fn joining(stores: Vec<MemoryStore>, merges: Merges) -> Result<Self, ApplyError> {
        let horizon = |store: &MemoryStore| Ok(Interface::open(store.view())?.horizon());
        let horizons = stores.iter().map(horizon).collect::<Result<Vec<_>, StorageError>>()?;
        // Who has forgotten least comes first, so that no record comes where its parent is forgotten.
        let mut order: Vec<(Hlc, MemoryStore)> = horizons.into_iter().zip(stores).collect();
        order.retain(|(_, store)| !store.is_empty());
        order.sort_by_key(|(horizon, _)| *horizon);
        let (mut joined, mut last) = (Self::new(MemoryStore::default(), merges), Hlc::ZERO);
        for (horizon, store) in order {
            joined.merge(&store)?;
            last = horizon;
        }
        joined.raise_horizon(last)?;
        Ok(joined)
    }

    /// Whether `other` brings nothing that is not here.
    pub(crate) fn includes(&self, other: &MemoryStore) -> Result<bool, ApplyError> {
        let mut own = self.clone();
        let before = own.root()?;
        own.merge(other)?;
        Ok(own.root()? == before)
    }

    /// Whether all that is here is in `other` as well. What `other` has forgotten nobody sees.
    pub(crate) fn is_included_in(&self, other: &MemoryStore) -> Result<bool, ApplyError> {
        let whole = Self { state: other.clone(), merges: self.merges.clone() };
        if whole.includes(&self.state) == Ok(true) {
            return Ok(true);
        }
        let mut theirs = Interface::open_with(other.view(), self.merges.clone())?;
        if theirs.horizon() == Hlc::ZERO {
            return Ok(false);
        }
        for (id, record) in Interface::open_with(self.state.view(), self.merges.clone())?.visible()? {
            let mut joined = match theirs.record(id)? {
                Some(own) if theirs.is_visible(id)? => Record::clone(&own),
                _ => return Ok(false),
            };
            if joined.join(&record, &self.merges) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every node has seen everything up to `horizon`: forgets what they may forget.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<(), ApplyError> {
        self.change(|state| Ok(state.raise_horizon(horizon).map(drop)?))
    }

    /// Whether an application sees the same in `other`. Once something was forgotten, records may differ
    /// in what they remember of deletes that nobody can see any more.
    pub fn shows_the_same_as(&self, other: &MemoryStore) -> Result<bool, StorageError> {
        let seen = |store: &MemoryStore| -> Result<Vec<_>, StorageError> {
            let visible = Interface::open(store.view())?.visible()?;
            let value = |record: &Record| match &record.value {
                Value::Element(_) => Value::Empty,
                value => value.clone(),
            };
            Ok(visible.into_iter().map(|(id, record)| (id, record.updated_at, value(&record))).collect())
        };
        Ok(seen(&self.state)? == seen(other)?)
    }

    /// Its root.
    pub fn root(&self) -> Result<Digest, StorageError> {
        Interface::open(self.state.view())?.root_hash()
    }

    /// Takes in what nodes begin with.
    pub fn merge(&mut self, whole: &MemoryStore) -> Result<(), ApplyError> {
        if self.state.is_empty() {
            self.state = whole.clone();
            return Ok(());
        }
        let mut records = Vec::new();
        for (id, bytes) in record_page(whole, None, usize::MAX)?.records {
            let record = Record::from_bytes(&bytes);
            let record = record.map_err(|error| StorageError::Row { what: "a record", error })?;
            records.push((record.depth, id, record));
        }
        records.sort_by_key(|(depth, id, _)| (*depth, *id));
        self.change(|state| {
            records
                .iter()
                .try_for_each(|(_, id, record)| state.merge_record(*id, record, &ANY_TIME).map(drop))
        })
    }

    /// Takes in an accepted write.
    pub fn apply(&mut self, actions: &[Action]) -> Result<(), ApplyError> {
        self.change(|state| {
            actions.iter().try_for_each(|action| state.apply_action(action, &ANY_TIME).map(drop))
        })
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Interface<MemoryStore>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let mut state = Interface::open_with(self.state.view(), self.merges.clone())?;
        change(&mut state)?;
        let batch: WriteBatch = state.finish()?;
        Ok(self.state.apply(batch)?)
    }
}
