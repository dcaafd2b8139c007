//! What happens within nodes: as a test has it, and what follows when a disk has lost something.

use crate::node::differences;
use crate::oracle::Joined;
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::Check;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::{HostEffects, HostEvent};
use syncline_types::{SimDuration, SimTime};

impl SimRuntime {
    /// Sets a node's wall clock at a time: so many microseconds ahead of the right time, or behind if
    /// negative. It stays so until it is set again, also when chaos is over.
    pub fn set_clock_at(&mut self, at: SimTime, node: impl NodeRef, ahead_us: i64) {
        self.host_at(at, node, HostEvent::Clock(ahead_us));
    }

    /// Has a node's wall clock stand still at a time, for a while; it goes on from where it stood.
    pub fn freeze_clock_at(&mut self, at: SimTime, node: impl NodeRef, lasting: SimDuration) {
        self.host_at(at, node, HostEvent::Freeze(lasting));
    }

    /// Has a node process nothing from a time on, for a while. What comes waits in its inbox.
    pub fn pause_at(&mut self, at: SimTime, node: impl NodeRef, lasting: SimDuration) {
        self.host_at(at, node, HostEvent::Pause(lasting));
    }

    /// Has the first write of a node after a time fail. It stops, and starts again from its disk.
    pub fn fail_write_at(&mut self, at: SimTime, node: impl NodeRef) {
        self.host_at(at, node, HostEvent::FailWrite);
    }

    /// Has a node's disk lie about every sync from a time on, or stop to. A crash before the next true
    /// sync loses what was committed since the last.
    pub fn lie_about_syncs_at(&mut self, at: SimTime, node: impl NodeRef, lying: bool) {
        self.host_at(at, node, HostEvent::Lying(lying));
    }

    /// Flips a bit of some row on a node's disk at a time.
    pub fn rot_at(&mut self, at: SimTime, node: impl NodeRef) {
        self.host_at(at, node, HostEvent::Rot);
    }

    fn host_at(&mut self, at: SimTime, node: impl NodeRef, what: HostEvent) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::Host { node, what });
    }

    /// How far a node's wall clock is ahead of the right time, in microseconds; behind, if negative.
    pub fn clock_offset_us(&self, node: impl NodeRef) -> i64 {
        self.world.clock_offset_us(self.resolve(node))
    }

    /// What the faults of hosts did so far.
    pub(super) fn host_effects(&self) -> HostEffects {
        let mut effects = self.world.host_effects();
        self.world.actors().for_each(|(_, actor)| effects.add(&actor.disk_effects()));
        effects
    }

    /// A node is back. If its disk has lost something, what may be gone from now on is what no other disk
    /// holds; and if it has a new name, all are told.
    pub(super) fn on_restarted(&mut self, node: NodeId) {
        let Some(actor) = self.world.actor(node) else { return };
        let (name, fresh_starts) = actor.identity();
        let losses = actor.disk_effects().lost_commits + u64::from(fresh_starts);
        let before = self.losses.insert(node, (losses, fresh_starts)).unwrap_or_default();
        if losses == before.0 {
            return;
        }
        for context in 0..self.contexts() {
            let disks = self.honest().map(|(_, actor)| actor.durable(context));
            match Joined::joining(disks.collect(), self.config.merges.clone()) {
                Ok(certain) => self.kept_mut(context).certain = Some(certain),
                Err(error) => self.violate_oracle(&error.to_string()),
            }
            if fresh_starts != before.1 {
                self.kept_mut(context).catching_up.insert(node);
            }
        }
        if fresh_starts != before.1 && !self.hostility.cast.is_outsider(node) {
            for other in (0..self.world.len() as u32).map(NodeId) {
                self.world.change(other, |actor| actor.meet(name));
            }
        }
    }

    pub(super) fn violate_oracle(&mut self, detail: &str) {
        self.violate(Check::ReplicaStopped { node: "the oracle".into(), detail: detail.to_owned() });
    }

    /// Where disks have lost something, nodes must agree on all that is certain, and on nothing that was
    /// not written. They are in one state, so that one of them is looked at.
    pub(super) fn check_with_losses(&self, context: usize, certain: &Joined) -> Option<Check> {
        let (node, replica) = self.honest_in(context).next()?;
        let name = self.name_in(context, node);
        let differences = |state: &Joined| {
            let found = differences(state.state(), replica.disk(), 1).unwrap_or_default();
            found.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string)
        };
        if certain.is_included_in(replica.disk()) != Ok(true) {
            let detail = differences(certain);
            return Some(Check::NotDurable { detail: format!("expected | {name} has: {detail}") });
        }
        if self.kept(context).forgotten > 0 {
            return None;
        }
        let written = match self.oracle(context).as_state() {
            Ok(written) => written,
            Err(error) => {
                let detail = error.to_string();
                return Some(Check::ReplicaStopped { node: "the oracle".into(), detail });
            }
        };
        let includes = written.includes(replica.disk()) == Ok(true);
        (!includes).then(|| Check::HiddenDifference { node: name, detail: differences(&written) })
    }
}
