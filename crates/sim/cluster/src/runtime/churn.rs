//! Nodes that leave, return, join late or retire.

use crate::runtime::sim_runtime::SimRuntime;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::network::PartitionSpec;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::random::Stream;
use syncline_types::{Choice, SimDuration, SimTime};

impl SimRuntime {
    /// Takes the links of a node away at a time, for a while or until [`SimRuntime::return_at`]. Unlike in a
    /// crash, the node retains its memory, and its application continues to write.
    pub fn leave_at(&mut self, at: SimTime, node: impl NodeRef, away_for: Option<SimDuration>) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeLeave { node, away_for });
    }

    /// Gives a node that left its links back at a time.
    pub fn return_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeReturn { node, departure: None });
    }

    /// Adds an empty node that starts at a time. The others count it as a member from now on, so they
    /// collect no tombstone that it has not seen. The run does not converge before the node has joined.
    pub fn join_at(&mut self, at: SimTime, name: impl Into<String>) -> NodeId {
        let actor = self.actor(name.into(), Vec::new());
        let joiner = self.world.add_late(actor, at);
        self.spread_namings(joiner, at);
        joiner
    }

    /// Removes a node permanently at a time. The others are notified: they no longer wait for the node, and
    /// collect tombstones that it has not seen. A write that only this node had is lost, and the run reports
    /// the loss.
    pub fn retire_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeRetire { node });
    }

    /// Whether a node has retired.
    pub fn is_retired(&self, node: impl NodeRef) -> bool {
        self.world.is_retired(self.resolve(node))
    }

    /// Starts a partition at a time, for a while or permanently.
    pub fn partition_at(&mut self, at: SimTime, spec: PartitionSpec, lasting: Option<SimDuration>) {
        self.world.schedule(at, SimEvent::PartitionAt { spec: Box::new(spec), lasting });
    }

    /// Whether a node has left and has not returned.
    pub fn is_away(&self, node: impl NodeRef) -> bool {
        self.world.is_away(self.resolve(node))
    }

    /// Adds the nodes that join late at random times.
    pub(super) fn add_late_joiners(&mut self) {
        let joiners = self.config.faults.late_joiners;
        let when = self.config.faults.join_ms.clone();
        let low = when.start * 1_000;
        let high = (when.end * 1_000).saturating_sub(1);
        for joiner in 1..=joiners {
            let stream = Stream::Churn(self.world.len() as u32);
            let after = self.world.choices_mut().between(stream, Choice::JoinTime, low, high);
            self.join_at(self.now() + SimDuration::from_micros(after), format!("late-{joiner}"));
        }
    }
}
