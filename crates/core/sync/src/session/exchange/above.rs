//! What hides a record is joined before it.
//!
//! Of two members with equal horizons, one may have collected a deleted collection, and the other one may have kept it,
//! because something in it was later than the horizon. A session gives the first one all of it again: the delete, and what
//! it hides. If the session were cut off between the two, the hidden record would be visible there; and once the other
//! member collects its delete, everywhere. So what its receiver may have collected, since it is from before the horizon, is
//! joined after the records above it. The responder joins pushes in their order, so that the initiator decides for both
//! directions.

use super::{Exchange, PendingPush};
use crate::transaction::Transaction;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncline_storage::{Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, limits};

/// What is known of the records above others. Sets of ids: an entity is asked for, and looked at on the way up, once.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Above {
    /// Entities that were requested because something below them waits for what may hide it.
    asked: BTreeSet<EntityId>,
    /// Entities whose record of the peer is joined, or which the peer does not have.
    known: BTreeSet<EntityId>,
    /// Known entities above which all are known.
    complete: BTreeSet<EntityId>,
    /// Entities whose delete was pushed, because something below them is to be.
    pushed: BTreeSet<EntityId>,
    /// Entities whose deletes, and all deletes above them, were pushed.
    cleared: BTreeSet<EntityId>,
}

impl Above {
    /// The number of ids.
    pub(super) fn len(&self) -> usize {
        let Self { asked, known, complete, pushed, cleared } = self;
        asked.len() + known.len() + complete.len() + pushed.len() + cleared.len()
    }

    /// The state of the peer has changed by other means than this session: what it has above others may be later now.
    pub(super) fn on_remote_change(&mut self) {
        self.asked.clear();
        self.known.clear();
        self.complete.clear();
    }

    /// The same of our state.
    pub(super) fn on_local_change(&mut self) {
        self.pushed.clear();
        self.cleared.clear();
    }

    /// The peer has no record of an entity.
    pub(super) fn on_absent(&mut self, id: EntityId) {
        if self.asked.contains(&id) {
            self.known.insert(id);
        }
    }

    /// The peer's record of an entity below `parent` is joined. What is below it need not ask for it, if it was asked for
    /// or all above it is known.
    pub(super) fn on_joined(&mut self, id: EntityId, parent: EntityId) {
        if self.asked.contains(&id) || self.complete.contains(&parent) {
            self.known.insert(id);
        }
    }
}

impl Exchange {
    /// Whether a record of the peer must not be joined yet, because the peer has not sent the records above it: the entity
    /// to wait for. Requests those that were not requested yet. O(1) for a record that cannot have been collected here;
    /// otherwise a step up for each entity above that was not looked at yet.
    pub(super) fn waits_for_above<V: ReadView>(
        &mut self,
        id: EntityId,
        record: &Record,
        work: &mut Transaction<V>,
    ) -> Result<Option<EntityId>, StorageError> {
        let horizon = work.state.horizon();
        // The peer's past state of a snapshot is complete before it is visible.
        if self.staging.is_some() || id == EntityId::ROOT || !record.may_be_collected(horizon) {
            return Ok(None);
        }
        let brings_nothing = |ours: Arc<Record>| !Arc::unwrap_or_clone(ours).join(record);
        if record.check(id).is_err() || work.state.record(id)?.is_some_and(brings_nothing) {
            return Ok(None);
        }
        let mut lowest = None;
        let mut above = record.parent;
        loop {
            let found = work.state.record(above)?;
            if found.is_none() && above == record.parent && above != EntityId::ROOT {
                // Without its parent the record waits in any case.
                return Ok(None);
            }
            if self.above.complete.contains(&above) {
                break;
            }
            if !self.above.known.contains(&above) {
                lowest = lowest.or(Some(above));
                // What is higher up comes to stand before it, and is answered first. If it was asked for, all above it
                // was, too.
                if !self.above.asked.insert(above) || self.above.len() > limits::MAX_SESSION_QUEUE {
                    break;
                }
                self.wants.push_front(above);
            }
            match found.filter(|_| above != EntityId::ROOT) {
                Some(found) => above = found.parent,
                None => break,
            }
        }
        if lowest.is_none() {
            self.above.complete.insert(record.parent);
        }
        Ok(lowest)
    }

    /// Queues the deletes that hide a record of ours before it, if the peer may have collected it and they were not pushed
    /// yet. Returns whether there are any. The cost is that of [`Exchange::waits_for_above`].
    pub(super) fn push_above_first<V: ReadView>(
        &mut self,
        id: EntityId,
        work: &mut Transaction<V>,
    ) -> Result<bool, StorageError> {
        let horizon = work.state.horizon();
        let Some(record) = work.state.record(id)? else { return Ok(false) };
        if id == EntityId::ROOT || !record.may_be_collected(horizon) {
            return Ok(false);
        }
        let mut deleted = Vec::new();
        let mut above = record.parent;
        while self.above.cleared.insert(above) {
            let Some(found) = work.state.record(above)? else { break };
            if found.deleted_at != Hlc::ZERO && self.above.pushed.insert(above) {
                deleted.push(above);
            }
            if above == EntityId::ROOT {
                break;
            }
            above = found.parent;
        }
        if deleted.is_empty() {
            return Ok(false);
        }
        self.pushes.push_front(PendingPush::One(id));
        // The one at the top is pushed first.
        deleted.into_iter().for_each(|above| self.pushes.push_front(PendingPush::One(above)));
        Ok(true)
    }
}
