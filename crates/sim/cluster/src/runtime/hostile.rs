//! Hostile nodes of a run: who they are, what they say, and what is checked in spite of them.

use crate::hostile::{Cast, HostileMetrics, Liar, Lie, Lies, Manner};
use crate::node::{Noticed, SimNode};
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::Check;
use std::collections::BTreeMap;
use std::sync::Arc;
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::StepReport;
use syncline_replica::Notice;
use syncline_sync::{LocalSyncState, Outcome, VersionVector};
use syncline_types::SimTime;

/// How a node that will be hostile lies, and whether it is no member.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    manner: Manner,
    outsider: bool,
}

/// What a run knows of its hostile nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Hostility {
    /// Who will be hostile once the run begins.
    pub(super) parts: BTreeMap<NodeId, Part>,
    /// Who is.
    pub(super) cast: Arc<Cast>,
    pub(super) metrics: HostileMetrics,
    /// Whether each node signs with a key of its own.
    pub(super) own_keys: bool,
}

impl SimRuntime {
    /// Makes a node a hostile member, which says these lies by chance; every kind, if none is named. How
    /// often, the settings say ([`HostileFaults::rate`](crate::hostile::HostileFaults::rate)).
    ///
    /// # Panics
    ///
    /// If the run has begun; if nodes have written before it and share one key, since then
    /// [`FaultConfig::with_hostile`](sync_sim_engine::faults::FaultConfig::with_hostile) must say that there are
    /// hostile nodes; if tombstones are kept for ever, since then nobody knows who is a member.
    pub fn make_hostile(&mut self, node: impl NodeRef, lies: impl IntoIterator<Item = Lie>) {
        let (node, mut lies) = (self.resolve(node), lies.into_iter().collect::<Lies>());
        if lies.is_none() {
            lies = Lies::all();
        }
        self.part_of(node).manner.lies = lies.iter().collect();
    }

    /// As [`SimRuntime::make_hostile`], and nobody takes the node for a member.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::make_hostile`].
    pub fn make_outsider(&mut self, node: impl NodeRef, lies: impl IntoIterator<Item = Lie>) {
        let node = self.resolve(node);
        self.make_hostile(node, lies);
        self.part_of(node).outsider = true;
    }

    /// Has a node tell a lie from a time on, in the next so many frames to which it says something. That
    /// makes it a hostile node.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::make_hostile`].
    pub fn lie_at(&mut self, at: SimTime, node: impl NodeRef, lie: Lie, frames: u64) {
        let node = self.resolve(node);
        self.part_of(node).manner.script.push((at, lie, frames));
    }

    fn part_of(&mut self, node: NodeId) -> &mut Part {
        assert!(!self.unleashed, "the run has begun; who is hostile is said before");
        assert!(self.config.knows_members(), "{}", ConfigError::HostileWithoutMembers);
        self.use_own_keys();
        self.hostility.parts.entry(node).or_default()
    }

    /// From now on each node has a key of its own.
    pub fn use_own_keys(&mut self) {
        if self.hostility.own_keys {
            return;
        }
        assert!(
            !self.kept.iter().any(|kept| kept.oracle.has_writes()),
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
        self.hostility.cast.is_hostile(node) || self.hostility.parts.contains_key(&node)
    }

    /// The nodes that are honest and take part.
    pub fn honest(&self) -> impl Iterator<Item = (NodeId, &SimNode)> {
        self.world.actors().filter(|(node, _)| !self.hostility.cast.is_hostile(*node))
    }

    /// Chooses who is hostile by the settings: the last of the nodes that the run begins with.
    fn choose_hostile(&mut self) {
        let faults = self.config.faults.hostile;
        if faults.nodes == 0 {
            return;
        }
        let early: Vec<NodeId> =
            self.world.actors().map(|(node, _)| node).filter(|node| !self.world.is_late(*node)).collect();
        for (from_last, node) in early.into_iter().rev().take(faults.nodes).enumerate() {
            let part = self.hostility.parts.entry(node).or_default();
            part.manner.lies = faults.kinds().iter().collect();
            part.outsider = from_last < faults.outsiders;
        }
    }

    /// Gives everybody a part, once all nodes are known.
    pub(super) fn begin_hostility(&mut self) {
        self.choose_hostile();
        if self.hostility.parts.is_empty() {
            return;
        }
        let mut cast = Cast::default();
        for (node, Part { manner, outsider }) in std::mem::take(&mut self.hostility.parts) {
            cast.add(node, outsider, manner.is_taken_on_trust());
            let rate = self.config.faults.hostile.rate;
            self.world.change(node, |actor| actor.turn_hostile(&Manner { rate, ..manner }));
            self.world.exclude_from_convergence(node);
        }
        if !cast.leaves_honest_joined(self.config.topology, self.world.len()) {
            self.violate(Check::HonestApart);
        }
        self.hostility.cast = Arc::new(cast);
        for node in (0..self.world.len() as u32).map(NodeId) {
            let cast = self.hostility.cast.clone();
            self.world.change(node, |actor| actor.meet_cast(&cast));
        }
    }

    /// Counts what an event shows of hostile nodes. Says whether it is one that says nothing of the honest:
    /// what happens on a hostile node, and how an honest one takes what comes from there.
    pub(super) fn note_hostility(&mut self, stepped: &StepReport<Noticed>) -> bool {
        let Some(node) = stepped.node.filter(|_| !self.hostility.cast.is_empty()) else { return false };
        if self.hostility.cast.is_hostile(node) {
            return true;
        }
        let metrics = &mut self.hostility.metrics;
        for noticed in &stepped.notices {
            match &noticed.notice {
                Notice::SessionStarted { peer } if self.hostility.cast.is_hostile((*peer).into()) => {
                    metrics.sessions_started += 1;
                }
                Notice::SessionEnded { peer, outcome: Outcome::Failed(_), .. }
                    if self.hostility.cast.is_hostile((*peer).into()) =>
                {
                    metrics.sessions_failed += 1;
                }
                Notice::DeltaRefused { .. } => metrics.deltas_refused += 1,
                _ => {}
            }
        }
        let from_hostile = stepped.frame.is_some_and(|(from, _)| self.hostility.cast.is_hostile(from));
        let blamed = stepped.refused.is_some_and(|cause| crate::runtime::checks::BLAMED.contains(&cause));
        metrics.frames_refused += u64::from(from_hostile && blamed && !stepped.corrupt);
        from_hostile
    }

    /// Whether a refusal of what an honest node sent may follow from what a member was believed.
    pub(super) fn may_follow_from_trust(&self, cause: DropCause) -> bool {
        !self.hostility.cast.is_value_promised() && cause == DropCause::LeftBehind
    }

    /// What hostile nodes did so far.
    pub(super) fn hostile_metrics(&self) -> HostileMetrics {
        let mut metrics = self.hostility.metrics.clone();
        for node in self.hostility.cast.hostile() {
            let liars = self.world.actor(node).into_iter().flat_map(SimNode::liars);
            for (lie, count) in liars.flat_map(Liar::told) {
                *metrics.told.entry(*lie).or_default() += count;
                metrics.told_by_outsiders += if self.hostility.cast.is_outsider(node) { *count } else { 0 };
            }
        }
        metrics
    }

    /// Which deltas of a context all honest nodes together cover.
    pub(super) fn covered_by_honest(&self, context: usize) -> VersionVector {
        let mut covered = VersionVector::default();
        for (_, replica) in self.honest_in(context) {
            covered.join(&replica.covered());
        }
        covered
    }
}
