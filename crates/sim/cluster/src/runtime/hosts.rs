//! Faults within hosts as tests script them, and what a run expects after a disk has lost commits.

use crate::oracle::ReferenceState;
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::{Check, SimPart};
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::{HostEffects, HostEvent};
use syncline_types::{SimDuration, SimTime};

/// What a node had lost when it last restarted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DiskLosses {
    lost_commits: u64,
    fresh_starts: u16,
    /// How often it was brought back under a new id.
    returns: u16,
}

impl SimRuntime {
    /// Sets the wall clock of a node at a time, in microseconds ahead of the right time; behind, if negative. The
    /// offset stays until the clock is set again, also after chaos has ended.
    pub fn set_clock_at(&mut self, at: SimTime, node: impl NodeRef, ahead_us: i64) {
        self.host_at(at, node, HostEvent::Clock(ahead_us));
    }

    /// Stops the wall clock of a node at a time, for a while. The clock then continues from the time at which
    /// it stopped.
    pub fn freeze_clock_at(&mut self, at: SimTime, node: impl NodeRef, lasting: SimDuration) {
        self.host_at(at, node, HostEvent::Freeze(lasting));
    }

    /// Pauses a node at a time, for a while. Inputs wait in its inbox.
    pub fn pause_at(&mut self, at: SimTime, node: impl NodeRef, lasting: SimDuration) {
        self.host_at(at, node, HostEvent::Pause(lasting));
    }

    /// Makes the first disk write of a node after a time fail. The node stops and restarts from its disk.
    pub fn fail_write_at(&mut self, at: SimTime, node: impl NodeRef) {
        self.host_at(at, node, HostEvent::FailWrite);
    }

    /// Makes the disk of a node acknowledge syncs without doing them from a time on, or stops that. A crash before
    /// the next real sync loses all commits since the last one.
    pub fn lie_about_syncs_at(&mut self, at: SimTime, node: impl NodeRef, lying: bool) {
        self.host_at(at, node, HostEvent::Lying(lying));
    }

    /// Flips a bit in a row on the disk of a node at a time.
    pub fn rot_at(&mut self, at: SimTime, node: impl NodeRef) {
        self.host_at(at, node, HostEvent::Rot);
    }

    fn host_at(&mut self, at: SimTime, node: impl NodeRef, what: HostEvent) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::Host { node, what });
    }

    /// How far the wall clock of a node is ahead of the right time, in microseconds; behind, if negative.
    pub fn clock_offset_us(&self, node: impl NodeRef) -> i64 {
        self.world.clock_offset_us(self.resolve(node))
    }

    /// The effects of host faults so far, those of disks included.
    pub(super) fn host_effects(&self) -> HostEffects {
        let mut effects = self.world.host_effects();
        self.world.actors().for_each(|(_, actor)| effects.add(&actor.disk_effects()));
        effects
    }

    /// A node has restarted. If its disk has lost commits, only writes on the disk of some honest node must survive
    /// from now on. If the node made a fresh start or was brought back, the membership of all nodes gains its new
    /// replica id.
    pub(super) fn on_restarted(&mut self, node: NodeId) {
        // A node may retire in the step in which it restarts.
        let Some(actor) = self.world.actor(node) else { return };
        let (name, fresh_starts) = actor.identity();
        let lost_commits = actor.disk_effects().lost_commits;
        let losses = DiskLosses { lost_commits, fresh_starts, returns: actor.returns() };
        let before = self.disk_losses.insert(node, losses).unwrap_or_default();
        assert!(before.fresh_starts <= fresh_starts, "fresh starts are never uncounted");
        if losses == before {
            return;
        }
        let has_new_id = fresh_starts != before.fresh_starts || losses.returns != before.returns;
        let has_lost = DiskLosses { returns: before.returns, ..losses } != before;
        for context in 0..self.contexts() {
            if has_new_id {
                self.context_state_mut(context).catching_up.insert(node);
            }
            if !has_lost {
                continue;
            }
            // This crash cannot lose rows that another honest disk has now. Rows of a node that makes a fresh
            // start count as lost.
            let disks = self.honest().map(|(_, actor)| actor.durable(context));
            match ReferenceState::join_of(disks.collect()) {
                Ok(certain) => self.context_state_mut(context).certain = Some(certain),
                Err(error) => self.report_oracle_error(&error.to_string()),
            }
        }
        if has_new_id && !self.hostility.roles.is_outsider(node) {
            for other in (0..self.world.len() as u32).map(NodeId) {
                self.world.change(other, |actor| actor.add_member(name));
            }
        }
    }

    /// Whether some node was brought back under a new id.
    pub(super) fn has_returns(&self) -> bool {
        self.disk_losses.values().any(|losses| losses.returns > 0)
    }

    /// Reports that the oracle refused a write that a replica had accepted.
    pub(super) fn report_oracle_error(&mut self, detail: &str) {
        self.violate(Check::Internal { part: SimPart::Oracle, detail: detail.to_owned() });
    }
}
