//! Nodes that leave, come back, or join late.

use crate::runtime::sim_runtime::SimRuntime;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::network::PartitionSpec;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::random::Stream;
use syncline_types::{Choice, SimDuration, SimTime};

impl SimRuntime {
    /// Takes a node's links away at a time, for a while or until [`SimRuntime::return_at`]. Unlike a
    /// crash this leaves it its memory, and its application goes on writing.
    pub fn leave_at(&mut self, at: SimTime, node: impl NodeRef, away_for: Option<SimDuration>) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeLeave { node, away_for });
    }

    /// Brings a node that left back at a time.
    pub fn return_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeReturn { node, departure: None });
    }

    /// Adds an empty node that comes up at a time. The others know from now on that it takes part, so
    /// that they forget nothing it has not seen; the run is not over before it has come.
    pub fn join_at(&mut self, at: SimTime, name: impl Into<String>) -> NodeId {
        let actor = self.actor(name.into(), Vec::new());
        self.world.add_late(actor, at)
    }

    /// Takes a node out for good at a time. The others are told: they wait for it no more, and forget
    /// what it has not seen. A write that it alone had is lost with it, and the run says so.
    pub fn retire_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeRetire { node });
    }

    /// Whether a node is gone for good.
    pub fn is_retired(&self, node: impl NodeRef) -> bool {
        self.world.is_retired(self.resolve(node))
    }

    /// Puts up a partition at a time, for a while or for good.
    pub fn partition_at(&mut self, at: SimTime, spec: PartitionSpec, lasting: Option<SimDuration>) {
        self.world.schedule(at, SimEvent::PartitionAt { spec: Box::new(spec), lasting });
    }

    /// Whether a node has left and is not back.
    pub fn is_away(&self, node: impl NodeRef) -> bool {
        self.world.is_away(self.resolve(node))
    }

    /// Adds the nodes that join late by chance.
    pub(super) fn add_late_joiners(&mut self) {
        let (joiners, when) = (self.config.faults.late_joiners, self.config.faults.join_ms.clone());
        for joiner in 1..=joiners {
            let stream = Stream::Churn(self.world.len() as u32);
            let (low, high) = (when.start * 1_000, (when.end * 1_000).saturating_sub(1));
            let after = self.world.choices_mut().between(stream, Choice::JoinTime, low, high);
            self.join_at(self.now() + SimDuration::from_micros(after), format!("late-{joiner}"));
        }
    }
}
