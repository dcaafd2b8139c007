//! What hides a record is joined before it.
//!
//! Of two members with equal horizons, one may have collected a deleted collection, and the other one may have kept it,
//! because something in it was later than the horizon. A session gives the first one all of it again: the delete, and what
//! it hides. If the session were cut off between the two, the hidden record would be visible there; and once the other
//! member collects its delete, everywhere. So a record that its receiver may have collected, since all of it is from before
//! the horizon, is joined after the records above it. The responder joins pushes in their order, so that the initiator
//! decides for both directions.

use super::{Exchange, PendingPush};
use crate::transaction::Transaction;
use syncline_storage::{Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc};

/// Whether one who has collected up to the horizon may have collected the record. A position without content shows nothing.
fn may_be_collected(record: &Record, horizon: Hlc) -> bool {
    let latest = record.latest_stamp();
    latest != Hlc::ZERO && latest <= horizon
}

impl Exchange {
    /// Notes that the peer has answered the request for a record.
    pub(super) fn note_known(&mut self, id: EntityId) {
        if self.asked_above.contains(&id) {
            self.known_above.insert(id);
        }
    }

    /// Whether a record of the peer must not be joined yet, because the peer has not sent the records above it: the entity
    /// to wait for. Requests those that were not requested yet. O(1) for a record that cannot have been collected here,
    /// and otherwise O(depth).
    pub(super) fn waits_for_above<V: ReadView>(
        &mut self,
        id: EntityId,
        record: &Record,
        work: &mut Transaction<V>,
    ) -> Result<Option<EntityId>, StorageError> {
        let horizon = work.state.horizon();
        let may_be_collected = may_be_collected(record, horizon);
        // The peer's past state of a snapshot is complete before it is visible.
        if self.staging.is_some() || !may_be_collected || work.state.record(id)?.is_some() {
            return Ok(None);
        }
        let mut lowest = None;
        let mut next = (id != EntityId::ROOT).then_some(record.parent);
        while let Some(above) = next {
            let found = work.state.record(above)?;
            if found.is_none() && lowest.is_none() && above == record.parent && above != EntityId::ROOT {
                // Without its parent the record waits in any case.
                return Ok(None);
            }
            if !self.known_above.contains(&above) {
                lowest = lowest.or(Some(above));
                // What is higher up comes to stand before it, and is answered first.
                if self.asked_above.insert(above) {
                    self.wants.push_front(above);
                }
            }
            next = found.filter(|_| above != EntityId::ROOT).map(|found| found.parent);
        }
        Ok(lowest)
    }

    /// Queues the deletes that hide a record of ours before it, if the peer may have collected it and they were not pushed
    /// yet. Returns whether there are any. O(1) for a record that the peer cannot have collected, and otherwise O(depth).
    pub(super) fn push_above_first<V: ReadView>(
        &mut self,
        id: EntityId,
        work: &mut Transaction<V>,
    ) -> Result<bool, StorageError> {
        let horizon = work.state.horizon();
        let Some(record) = work.state.record(id)? else { return Ok(false) };
        if id == EntityId::ROOT || !may_be_collected(&record, horizon) {
            return Ok(false);
        }
        let mut deleted = Vec::new();
        let mut above = record.parent;
        while let Some(found) = work.state.record(above)? {
            if found.deleted_at != Hlc::ZERO && self.pushed_above.insert(above) {
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
