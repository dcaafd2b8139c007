//! Checks of the collection of tombstones.
//!
//! A collection removes the subtrees of deleted entities that nobody sees, that have not changed after the horizon, and
//! of whose records no later join needs anything. It removes all of them and nothing else, and nothing that was
//! collected comes back. What that means is computed here from records alone, without the code that collects.

use super::{ContextView, InspectedReplica, Noticed, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::Value;
use syncline_replica::{FrameKind, Notice};
use syncline_storage::{Record, record_page};
use syncline_store::MemoryStore;
use syncline_types::{Decode, EntityId, Hlc};

/// The records of a state, and the children of each.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: BTreeMap<EntityId, Record>,
    children: BTreeMap<EntityId, Vec<EntityId>>,
}

impl Records {
    /// The records on a disk; `None` if one cannot be read, which is for other checks. O(records).
    pub(super) fn of(disk: &MemoryStore) -> Option<Self> {
        let mut all = Self::default();
        for (id, bytes) in record_page(disk, None, usize::MAX).ok()?.records {
            let record = Record::from_bytes(&bytes).ok()?;
            if id != EntityId::ROOT {
                all.children.entry(record.parent).or_default().push(id);
            }
            all.records.insert(id, record);
        }
        Some(all)
    }

    fn children(&self, id: EntityId) -> &[EntityId] {
        self.children.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The latest delete up to `until` of what is above an entity.
    fn deleted_above(&self, id: EntityId, until: Hlc) -> Hlc {
        let mut latest = Hlc::ZERO;
        let mut above = self.records.get(&id);
        while let Some(record) = above.filter(|record| record.depth > 0) {
            above = self.records.get(&record.parent);
            let deleted_at = above.map_or(Hlc::ZERO, |parent| parent.deleted_at);
            if deleted_at <= until {
                latest = latest.max(deleted_at);
            }
        }
        latest
    }

    /// Why the record of an entity must stay where the horizon is `horizon` and what is above it was last deleted at
    /// `hidden_by`; `None` if it may go.
    fn reason_to_stay(record: &Record, hidden_by: Hlc, horizon: Hlc) -> Option<&'static str> {
        if !is_dead(record) && record.updated_at > hidden_by {
            Some("is visible")
        } else if is_needed(&record.value) {
            Some("has a value that a later write needs")
        } else if record.latest_stamp() > horizon {
            Some("was last changed after the horizon")
        } else {
            None
        }
    }

    /// Whether a collection up to `horizon` removes an entity with all that is below it.
    fn is_collected(&self, top: EntityId, horizon: Hlc) -> bool {
        if !self.records.get(&top).is_some_and(is_dead) {
            return false;
        }
        let mut open = vec![(top, self.deleted_above(top, horizon))];
        while let Some((id, hidden_by)) = open.pop() {
            let Some(record) = self.records.get(&id) else { return false };
            if Self::reason_to_stay(record, hidden_by, horizon).is_some() {
                return false;
            }
            let hidden_by = hidden_by.max(record.deleted_at);
            open.extend(self.children(id).iter().map(|child| (*child, hidden_by)));
        }
        true
    }

    /// A record of this state that a collection up to `horizon` must not remove, and that `after` lacks, with the
    /// reason.
    fn wrongly_removed(&self, after: &Self, horizon: Hlc) -> Option<(EntityId, &'static str)> {
        let gone = self.records.iter().filter(|(id, _)| !after.records.contains_key(id));
        gone.filter(|(id, _)| **id != EntityId::ROOT).find_map(|(id, record)| {
            let hidden_by = self.deleted_above(*id, Hlc::MAX);
            Some((*id, Self::reason_to_stay(record, hidden_by, horizon)?))
        })
    }

    /// A deleted entity that a collection up to `horizon` removes, among those that `which` selects.
    fn collectable(&self, horizon: Hlc, which: impl Fn(EntityId) -> bool) -> Option<EntityId> {
        let old = |record: &Record| is_dead(record) && record.deleted_at <= horizon;
        let mut dead = self.records.iter().filter(|(_, record)| old(record)).map(|(id, _)| *id);
        dead.find(|id| which(*id) && self.is_collected(*id, horizon))
    }
}

/// Whether a record was deleted and not written since.
fn is_dead(record: &Record) -> bool {
    record.deleted_at > Hlc::ZERO && record.deleted_at >= record.updated_at
}

/// Whether later writes need what is left of a deleted value: counts, the characters around which others were inserted,
/// states of the application's own types. Values that only their collection deletes stay with it.
const fn is_needed(value: &Value) -> bool {
    matches!(
        value,
        Value::GCounter(_)
            | Value::PnCounter(_)
            | Value::Rga(_)
            | Value::Custom(_)
            | Value::User(_)
            | Value::Frozen(_)
    )
}

/// A step that collects has removed only what the horizon allows to remove, and nothing of that is left after the last step
/// of a collection. O(records).
pub(super) fn collection(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::TombstonesCollected { .. } = noticed.notice else { return None };
    if noticed.step.went_down || noticed.step.undone || has_changed_before(noticed) {
        return None;
    }
    let replica = world.replica(noticed.context, noticed.node).filter(|replica| !replica.is_corrupt())?;
    // A step may collect twice: what a peer has collected, and then what is stable by the progress that the peer announces.
    let horizon = replica.state().ok()?.horizon();
    let before = Records::of(replica.before_collection()?)?;
    let after = Records::of(replica.disk())?;
    let node = || world.name_in(noticed.context, noticed.node);
    if let Some((id, reason)) = before.wrongly_removed(&after, horizon) {
        return Some(Check::CollectionWrong {
            node: node(),
            detail: format!("{id} was removed up to {horizon}, although it {reason}"),
        });
    }
    // What a member deleted before all knew of it has to reach those who have collected without it.
    if may_have_joined(noticed, replica) || world.names_late() || replica.is_collecting() {
        return None;
    }
    let left = before.collectable(horizon, |id| after.records.contains_key(&id))?;
    Some(Check::CollectionWrong { node: node(), detail: format!("{left} was left up to {horizon}") })
}

/// Whether something other than the collection may have changed the state before it in the same step.
fn has_changed_before(noticed: &Noticed<'_>) -> bool {
    let own = noticed.step.notices.iter().map(|noticed| &noticed.notice);
    let before = own.take_while(|notice| *notice != noticed.notice);
    let changes = |notice: &Notice| !matches!(notice, Notice::SessionStarted { .. });
    // Without a frame, the step goes on with a collection.
    let is_announcement = noticed
        .step
        .frame
        .is_none_or(|(_, kind)| [FrameKind::Heartbeat, FrameKind::Handshake].map(u8::from).contains(&kind));
    !is_announcement || before.into_iter().any(changes)
}

/// Whether the step may have joined records of the sender after the collection: it may have been a reply to a handshake.
fn may_have_joined(noticed: &Noticed<'_>, replica: &SimReplica) -> bool {
    let Some((from, kind)) = noticed.step.frame else { return false };
    let has_ended =
        |notice: &Notice| matches!(notice, Notice::SessionEnded { peer, .. } if NodeId::from(*peer) == from);
    kind != u8::from(FrameKind::Heartbeat)
        && (replica
            .replica()
            .is_none_or(|replica| replica.syncing_with().any(|peer| NodeId::from(peer) == from))
            || noticed.step.notices.iter().any(|noticed| has_ended(&noticed.notice)))
}

/// Nothing that has nothing below it is on a disk in spite of the horizon. O(records of all nodes).
pub(super) fn leaves_stay_collected(view: &ContextView<'_>) -> Option<Check> {
    // A peer may have retained a deleted entity for the sake of one below it, and sends the upper one first.
    stay_collected(view, |all, id| all.children(id).is_empty() && !view.oracle.has_below(id))
}

/// Nothing at all is. O(records of all nodes).
pub(super) fn all_stay_collected(view: &ContextView<'_>) -> Option<Check> {
    stay_collected(view, |_, _| true)
}

fn stay_collected(view: &ContextView<'_>, which: impl Fn(&Records, EntityId) -> bool) -> Option<Check> {
    // Members take the records of each other on trust. What a replaced disk has forgotten, it may bring back. What a
    // member deleted before all knew of it stays until the next horizon.
    if !view.roles.is_empty()
        || view.hazards.names_late
        || view.hazards.replaced_disks
        || view.certain.is_some()
    {
        return None;
    }
    view.nodes.iter().find_map(|inspected| {
        let InspectedReplica { name, replica, .. } = inspected;
        let horizon = replica.state().ok().filter(|_| !replica.is_corrupt())?.horizon();
        if horizon == Hlc::ZERO || replica.is_collecting() {
            return None;
        }
        let all = Records::of(replica.disk())?;
        let found = all.collectable(horizon, |id| which(&all, id))?;
        let detail = format!("{found} is there, although its horizon is {horizon}");
        Some(Check::CollectionWrong { node: name.clone(), detail })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::ReplicaId;

    fn at(ms: u64) -> Hlc {
        Hlc::new(ms, 0, ReplicaId::from_u64(1))
    }

    /// Children of the root, each with the times of its last write and its last delete.
    fn records(all: &[(u64, u64, u64)]) -> Records {
        let record = |(id, written, deleted): &(u64, u64, u64)| {
            let mut record = Record::placeholder(1, EntityId::ROOT);
            record.updated_at = at(*written);
            record.deleted_at = if *deleted > 0 { at(*deleted) } else { Hlc::ZERO };
            (EntityId::from_u64(*id), record)
        };
        Records { records: all.iter().map(record).collect(), children: BTreeMap::new() }
    }

    #[test]
    fn finds_what_was_wrongly_removed_or_left() {
        let before = records(&[(1, 5, 0), (2, 5, 6), (3, 5, 9)]);
        let wrong = |after: &[(u64, u64, u64)]| before.wrongly_removed(&records(after), at(7));
        assert_eq!(wrong(&[(1, 5, 0), (3, 5, 9)]), None);
        assert_eq!(wrong(&[(3, 5, 9)]), Some((EntityId::from_u64(1), "is visible")));
        assert_eq!(wrong(&[(1, 5, 0)]), Some((EntityId::from_u64(3), "was last changed after the horizon")));
        assert_eq!(before.collectable(at(7), |_| true), Some(EntityId::from_u64(2)));
        assert_eq!(before.collectable(at(5), |_| true), None);
    }
}
