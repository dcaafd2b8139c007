//! Queries: the unfinished work of a run, the differences between its nodes, its figures.

use crate::convergence::{Convergence, ConvergenceDiff, ConvergencePending};
use crate::metrics::{NodeMetrics, SimMetrics, WorkMetrics};
use crate::node::{SimNode, SimReplica, state_differences};
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::{Blocker, ConvergenceBlockers, Property};
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::PendingWork;
use syncline_types::{PeerId, Probes};

impl Property {
    /// The first convergence property that does not hold.
    pub fn blocking(tally: &PendingWork) -> Option<Self> {
        let blocking = [
            (tally.frames > 0, Self::NetworkQuiescent),
            (tally.busy + tally.down + tally.away > 0, Self::AllNodesIdle),
            (tally.waiting > 0, Self::NoPendingBuffers),
            (tally.timers > 0, Self::NoPendingSyncTimers),
            (tally.distinct_digests() > 1, Self::StateDigestsEqual),
            (tally.ops > 0, Self::WorkloadDone),
        ];
        blocking.into_iter().find(|(blocks, _)| *blocks).map(|(_, property)| property)
    }
}

impl SimRuntime {
    /// The work that keeps the run from being converged, who has to do it, and what explains it. O(nodes²), up to a
    /// limit of nodes.
    pub fn blockers(&self) -> ConvergenceBlockers {
        let tally = self.world.pending_work();
        let mut items = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames on their way", tally.frames);
            items.push(Blocker { node: None, who: "the network".into(), what });
        }
        for (node, actor) in self.honest() {
            items.extend(self.blockers_of(node, actor));
        }
        // Where roots differ, all of them are listed: the reader sees who differs from whom.
        for context in (0..self.contexts()).filter(|context| self.differ_in(*context)) {
            for (node, _) in self.honest() {
                let what = format!("root {}", self.root_in(context, node));
                items.push(Blocker { node: Some(node), who: self.name_in(context, node), what });
            }
        }
        let excluded = self.hostility.roles.hostile().map(|node| self.name(node)).collect();
        let causes = self.causes();
        ConvergenceBlockers {
            blocking: Property::blocking(tally),
            items,
            causes,
            ran_out: Vec::new(),
            excluded,
        }
    }

    /// The unfinished work of one node.
    fn blockers_of(&self, node: NodeId, actor: &SimNode) -> Vec<Blocker> {
        let blocker = |who: String, what: String| Blocker { node: Some(node), who, what };
        if self.world.is_late(node) {
            return vec![blocker(self.name(node), "has still to join".to_owned())];
        }
        if actor.replica().is_none() {
            return vec![blocker(self.name(node), "is down".to_owned())];
        }
        let mut items = Vec::new();
        if self.world.is_away(node) {
            items.push(blocker(self.name(node), "is away".to_owned()));
        }
        for replica in actor.replicas() {
            let who = self.name_in(replica.number(), node);
            items.extend(self.pending_of(replica).into_iter().map(|what| blocker(who.clone(), what)));
        }
        let (_, timers) = self.world.unfinished(node);
        // Timers belong to sessions or pending syncs, which are listed already in most cases.
        if timers > 0 && items.is_empty() {
            items.push(blocker(self.name(node), format!("{timers} sync timers set")));
        }
        items
    }

    /// The unfinished work of one replica, in words; nothing if its node is down.
    fn pending_of(&self, sim_replica: &SimReplica) -> Vec<String> {
        let Some(replica) = sim_replica.replica() else { return Vec::new() };
        let mut items = Vec::new();
        let counts = |peer: &PeerId| !self.hostility.roles.is_hostile((*peer).into());
        for peer in replica.syncing_with().filter(counts) {
            items.push(format!("a session with {} under way", self.name(peer.into())));
        }
        for (peer, reason) in replica.pending_syncs().filter(|(peer, _)| counts(peer)) {
            items.push(format!("a sync with {} pending: {reason}", self.name(peer.into())));
        }
        let buffered = sim_replica.pending().buffered;
        if buffered > 0 {
            items.push(format!("{buffered} deltas waiting"));
        }
        items
    }

    /// Whether the run has converged, and if not, why not. O(nodes).
    pub fn check_convergence(&self) -> Convergence {
        let tally = self.world.pending_work();
        if tally.is_converged() {
            return Convergence::Converged;
        }
        if tally.is_quiet() {
            let digests = self.honest().map(|(node, _)| (node, self.world.digest(node))).collect();
            return Convergence::Diverged(ConvergenceDiff::of(digests));
        }
        let blockers = self.blockers();
        let blocking_property = blockers.blocking.unwrap_or(Property::StateDigestsEqual);
        Convergence::Pending(ConvergencePending { blocking_property, blockers })
    }

    /// The figures of the run so far. O(nodes).
    pub fn metrics(&self) -> SimMetrics {
        let router = self.world.router();
        let mut metrics = SimMetrics {
            protocol: self.counts.protocol.clone(),
            effects: self.counts.effects.clone(),
            hostile: self.hostile_metrics(),
            work: WorkMetrics::default(),
            convergence: self.counts.convergence.clone(),
            fates: router.fates().clone(),
        };
        metrics.protocol.messages_sent = router.fates().sent;
        metrics.protocol.bytes_sent = router.bytes_sent();
        metrics.effects.messages_dropped = router.fates().dropped_total();
        metrics.effects.messages_duplicated = router.fates().duplicated;
        metrics.effects.messages_corrupted = router.corrupted();
        metrics.effects.messages_reordered = router.reordered();
        let churn = self.world.churn();
        metrics.effects.departures = churn.departures;
        metrics.effects.returns = churn.returns;
        metrics.effects.late_joins = churn.late_joins;
        metrics.effects.hosts = self.host_effects();
        metrics.protocol.writes_refused += metrics.effects.hosts.writes_lost_waiting;
        metrics.effects.partitions = router.partitions().started();
        metrics.effects.links = router.link_metrics();
        metrics.effects.buffer_drops = router.fates().dropped(DropCause::BufferFull);
        for (_, actor) in self.world.actors() {
            let cost = actor.cost();
            metrics.work.hash_computations += cost.hash_computations;
            metrics.work.dag_lookups += cost.dag_lookups;
            metrics.work.storage_reads += cost.storage_reads;
            metrics.work.storage_writes += cost.storage_writes;
        }
        metrics
    }

    /// The rare branches that honest replicas took so far, in all contexts and over all restarts. O(nodes).
    pub fn probes(&self) -> Probes {
        let mut probes = Probes::default();
        for (_, actor) in self.honest() {
            actor.replicas().for_each(|replica| probes |= replica.probes());
        }
        probes
    }

    /// The figures of one node so far.
    pub fn node_metrics(&self, node: impl NodeRef) -> NodeMetrics {
        let node = self.resolve(node);
        let traffic = self.world.traffic(node);
        let cost = self.world.actor(node).map(SimNode::cost).unwrap_or_default();
        let syncs = self.counts.syncs_of(node);
        NodeMetrics {
            messages_sent: traffic.sent,
            messages_received: traffic.received,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            storage_ops: cost.storage_reads + cost.storage_writes,
            syncs_initiated: syncs.started,
            syncs_completed: syncs.converged,
        }
    }

    /// What keeps the run from being converged, in words: the node, the entity and the values that differ.
    pub fn explain(&self) -> String {
        let mut words = match self.check_convergence() {
            Convergence::Converged => return "converged".to_owned(),
            Convergence::Pending(pending) => pending.blockers.to_string(),
            Convergence::Diverged(_) => self.blockers().to_string(),
        };
        for context in 0..self.contexts() {
            let mut replicas = self.honest_in(context);
            if let Some((first, reference)) = replicas.next()
                && let Some((other, replica)) =
                    replicas.find(|(node, _)| self.root_in(context, *node) != self.root_in(context, first))
            {
                let first = self.name(first);
                let other = self.name_in(context, other);
                let states = (reference.disk(), replica.disk());
                for difference in state_differences(states, (&first, &other), 5).unwrap_or_default() {
                    words += &format!("\n  {first} | {other}: {difference}");
                }
            }
        }
        words
    }
}
