//! The hostile nodes of a run: which nodes they are, which lies they tell, and what the run counts of them.

use crate::hostile::{Adversary, AttackPlan, HostileMetrics, HostileRoles, Lie, Lies};
use crate::node::{ContextNotice, SimNode};
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::Check;
use std::collections::BTreeMap;
use std::sync::Arc;
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::StepReport;
use syncline_replica::Notice;
use syncline_sync::Outcome;
use syncline_types::SimTime;

/// The role of a node that becomes hostile when the run begins.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleAssignment {
    plan: AttackPlan,
    /// Whether no other node counts it as a member.
    outsider: bool,
}

/// The state that a run tracks for its hostile nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct HostileState {
    /// Nodes that become hostile when the run begins; empty after that.
    pub(super) assignments: BTreeMap<NodeId, RoleAssignment>,
    /// The hostile nodes of the run that has begun.
    pub(super) roles: Arc<HostileRoles>,
    pub(super) metrics: HostileMetrics,
    /// Whether each node signs with its own key.
    pub(super) own_keys: bool,
}

impl SimRuntime {
    /// Makes a node a hostile member that tells these lies at random; all kinds, if none is named. The settings say
    /// how often ([`HostileFaults::rate`](crate::hostile::HostileFaults::rate)).
    ///
    /// # Panics
    ///
    /// If the run has begun; if nodes with a shared key have written already (then
    /// [`FaultConfig::with_hostile`](sync_sim_engine::faults::FaultConfig::with_hostile) must announce hostile
    /// nodes); if tombstones are retained for ever, since nodes do not know the membership then.
    pub fn make_hostile(&mut self, node: impl NodeRef, lies: impl IntoIterator<Item = Lie>) {
        let node = self.resolve(node);
        let mut lies: Lies = lies.into_iter().collect();
        if lies.is_none() {
            lies = Lies::all();
        }
        self.assignment_of(node).plan.lies = lies.iter().collect();
    }

    /// As [`SimRuntime::make_hostile`], and no other node counts this one as a member.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::make_hostile`].
    pub fn make_outsider(&mut self, node: impl NodeRef, lies: impl IntoIterator<Item = Lie>) {
        let node = self.resolve(node);
        self.make_hostile(node, lies);
        self.assignment_of(node).outsider = true;
    }

    /// Makes a node hostile and has it tell a lie from a time on, in the next `frames` frames to which the lie
    /// applies.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::make_hostile`].
    pub fn lie_at(&mut self, at: SimTime, node: impl NodeRef, lie: Lie, frames: u64) {
        let node = self.resolve(node);
        self.assignment_of(node).plan.script.push((at, lie, frames));
    }

    fn assignment_of(&mut self, node: NodeId) -> &mut RoleAssignment {
        assert!(!self.has_begun, "the run has begun; hostile nodes are chosen before");
        assert!(self.config.knows_members(), "{}", ConfigError::HostileWithoutMembers);
        self.use_own_keys();
        self.hostility.assignments.entry(node).or_default()
    }

    /// Gives each node its own key, so that no node can sign for another. Has no effect if the settings say that the
    /// honest nodes share one that the hostile ones do not know.
    ///
    /// # Panics
    ///
    /// If nodes with a shared key have written already.
    pub fn use_own_keys(&mut self) {
        if self.hostility.own_keys || self.config.faults.hostile.group_key {
            return;
        }
        assert!(
            !self.context_states.iter().any(|state| state.oracle.has_writes()),
            "nodes have signed with one key; say with FaultConfig::with_hostile that some are hostile"
        );
        self.hostility.own_keys = true;
        for node in (0..self.world.len() as u32).map(NodeId) {
            self.world.change(node, |actor| *actor = actor.clone().with_own_key());
        }
    }

    /// Whether a node is hostile.
    pub fn is_hostile(&self, node: impl NodeRef) -> bool {
        let node = self.resolve(node);
        self.hostility.roles.is_hostile(node) || self.hostility.assignments.contains_key(&node)
    }

    /// The honest nodes that have not retired.
    pub fn honest(&self) -> impl Iterator<Item = (NodeId, &SimNode)> {
        self.world.actors().filter(|(node, _)| !self.hostility.roles.is_hostile(*node))
    }

    /// Chooses hostile nodes as the settings say: the last of the nodes that the run begins with.
    fn choose_hostile(&mut self) {
        let faults = self.config.faults.hostile;
        if faults.nodes == 0 {
            return;
        }
        // Late joiners stay honest: the number of hostile nodes is that of the settings from the
        // beginning.
        let early: Vec<NodeId> =
            self.world.actors().map(|(node, _)| node).filter(|node| !self.world.is_late(*node)).collect();
        for (from_last, node) in early.into_iter().rev().take(faults.nodes).enumerate() {
            let part = self.hostility.assignments.entry(node).or_default();
            part.plan.lies = faults.kinds().iter().collect();
            part.outsider = from_last < faults.outsiders;
        }
    }

    /// Assigns the roles, once all nodes are known. From here on the run does not wait for hostile nodes.
    pub(super) fn assign_hostile_roles(&mut self) {
        self.choose_hostile();
        if self.hostility.assignments.is_empty() {
            return;
        }
        let mut roles = HostileRoles::default();
        for (node, RoleAssignment { plan, outsider }) in std::mem::take(&mut self.hostility.assignments) {
            roles.add(node, outsider, plan.is_taken_on_trust());
            let rate = self.config.faults.hostile.rate;
            self.world.change(node, |actor| actor.turn_hostile(&AttackPlan { rate, ..plan }));
            self.world.exclude_from_convergence(node);
            if self.config.faults.hostile.group_key {
                self.world.change(node, SimNode::forget_group_key);
                self.hostility.metrics.keyless += 1;
            }
        }
        // Honest nodes that only hostile ones connect are not promised to converge.
        if !roles.leaves_honest_joined(self.config.topology, self.world.len()) {
            self.violate(Check::HonestApart);
        }
        self.hostility.roles = Arc::new(roles);
        for node in (0..self.world.len() as u32).map(NodeId) {
            let roles = self.hostility.roles.clone();
            self.world.change(node, |actor| actor.set_roles(&roles));
        }
    }

    /// Counts what an event shows of hostile nodes.
    pub(super) fn count_hostile_effects(&mut self, stepped: &StepReport<ContextNotice>) {
        // Network events, and runs without hostile nodes, have nothing to count.
        let Some(node) = stepped.node.filter(|_| !self.hostility.roles.is_empty()) else { return };
        if self.hostility.roles.is_hostile(node) {
            return;
        }
        let metrics = &mut self.hostility.metrics;
        for noticed in &stepped.notices {
            match &noticed.notice {
                Notice::SessionStarted { peer } if self.hostility.roles.is_hostile((*peer).into()) => {
                    metrics.sessions_started += 1;
                }
                Notice::SessionEnded { peer, outcome: Outcome::Failed(_), .. }
                    if self.hostility.roles.is_hostile((*peer).into()) =>
                {
                    metrics.sessions_failed += 1;
                }
                Notice::DeltaRefused { .. } => metrics.deltas_refused += 1,
                _ => {}
            }
        }
        // A hostile node as sender explains a refusal, unless the network corrupted the frame.
        let from_hostile = stepped.frame.is_some_and(|(from, _)| self.hostility.roles.is_hostile(from));
        let is_senders_fault =
            stepped.refused.is_some_and(|cause| crate::checks::SENDER_FAULTS.contains(&cause));
        metrics.frames_refused += u64::from(from_hostile && is_senders_fault && !stepped.corrupt);
    }

    /// The counts of hostile nodes so far.
    pub(super) fn hostile_metrics(&self) -> HostileMetrics {
        let mut metrics = self.hostility.metrics.clone();
        for node in self.hostility.roles.hostile() {
            let adversaries = self.world.actor(node).into_iter().flat_map(SimNode::adversaries);
            for (lie, count) in adversaries.flat_map(Adversary::lie_counts) {
                *metrics.lies.entry(*lie).or_default() += count;
                metrics.lies_by_outsiders += if self.hostility.roles.is_outsider(node) { *count } else { 0 };
            }
        }
        metrics
    }
}
