//! What can be asked of a run: what is unfinished, what differs, what it cost.

use crate::convergence::{Convergence, ConvergenceDiff, ConvergencePending};
use crate::metrics::{NodeMetrics, SimMetrics, WorkMetrics};
use crate::node::{SimNode, SimReplica, differences};
use crate::runtime::sim_runtime::SimRuntime;
use crate::verdict::{Debt, Owed, Property};
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::world::PendingWork;
use syncline_types::PeerId;

impl Property {
    /// The first property that does not hold.
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
    /// What is unfinished, and by whom. O(nodes).
    pub fn owed(&self) -> Owed {
        let tally = self.world.pending_work();
        let mut debts = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames on their way", tally.frames);
            debts.push(Debt { node: None, who: "the network".into(), what });
        }
        for (node, actor) in self.honest() {
            debts.extend(self.debts_of(node, actor));
        }
        for context in (0..self.contexts()).filter(|context| self.differ_in(*context)) {
            for (node, _) in self.honest() {
                let what = format!("root {}", self.root_in(context, node));
                debts.push(Debt { node: Some(node), who: self.name_in(context, node), what });
            }
        }
        let left_out = self.hostility.cast.hostile().map(|node| self.name(node)).collect();
        Owed { blocking: Property::blocking(tally), debts, left_out }
    }

    fn debts_of(&self, node: NodeId, actor: &SimNode) -> Vec<Debt> {
        let debt = |who: String, what: String| Debt { node: Some(node), who, what };
        if self.world.is_late(node) {
            return vec![debt(self.name(node), "has still to join".to_owned())];
        }
        if actor.replica().is_none() {
            return vec![debt(self.name(node), "is down".to_owned())];
        }
        let mut debts = Vec::new();
        if self.world.is_away(node) {
            debts.push(debt(self.name(node), "is away".to_owned()));
        }
        for kept in actor.replicas() {
            let who = self.name_in(kept.number(), node);
            debts.extend(self.debts_in_context(kept).into_iter().map(|what| debt(who.clone(), what)));
        }
        let (_, timers) = self.world.unfinished(node);
        if timers > 0 && debts.is_empty() {
            debts.push(debt(self.name(node), format!("{timers} sync timers set")));
        }
        debts
    }

    /// What a replica that is up has not finished.
    fn debts_in_context(&self, kept: &SimReplica) -> Vec<String> {
        let Some(replica) = kept.replica() else { return Vec::new() };
        let mut debts = Vec::new();
        let counts = |peer: &PeerId| !self.hostility.cast.is_hostile((*peer).into());
        for peer in replica.syncing_with().filter(counts) {
            debts.push(format!("a session with {} under way", self.name(peer.into())));
        }
        for (peer, reason) in replica.pending_syncs().filter(|(peer, _)| counts(peer)) {
            debts.push(format!("a sync with {} owed: {reason}", self.name(peer.into())));
        }
        let waiting = kept.pending().buffered;
        if waiting > 0 {
            debts.push(format!("{waiting} deltas waiting"));
        }
        debts
    }

    /// Whether everything has converged, and if not, why not.
    pub fn check_convergence(&self) -> Convergence {
        let tally = self.world.pending_work();
        if tally.is_converged() {
            return Convergence::Converged;
        }
        if tally.is_quiet() {
            let digests = self.honest().map(|(node, _)| (node, self.world.digest(node))).collect();
            return Convergence::Diverged(ConvergenceDiff::of(digests));
        }
        let owed = self.owed();
        let blocking_property = owed.blocking.unwrap_or(Property::StateDigestsEqual);
        Convergence::Pending(ConvergencePending { blocking_property, owed })
    }

    /// The figures of the run so far.
    pub fn metrics(&self) -> SimMetrics {
        let router = self.world.router();
        let mut metrics = SimMetrics {
            protocol: self.protocol.clone(),
            effects: self.effects.clone(),
            hostile: self.hostile_metrics(),
            work: WorkMetrics::default(),
            convergence: self.convergence.clone(),
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

    /// The figures of one node so far.
    pub fn node_metrics(&self, node: impl NodeRef) -> NodeMetrics {
        let node = self.resolve(node);
        let traffic = self.world.traffic(node);
        let cost = self.world.actor(node).map(SimNode::cost).unwrap_or_default();
        let (syncs_initiated, syncs_completed) = self.syncs.get(&node).copied().unwrap_or_default();
        NodeMetrics {
            messages_sent: traffic.sent,
            messages_received: traffic.received,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            storage_ops: cost.storage_reads + cost.storage_writes,
            syncs_initiated,
            syncs_completed,
        }
    }

    /// What keeps the run from being converged, in words: which node, which entity, which value.
    pub fn explain(&self) -> String {
        let mut words = match self.check_convergence() {
            Convergence::Converged => return "converged".to_owned(),
            Convergence::Pending(pending) => pending.owed.to_string(),
            Convergence::Diverged(_) => self.owed().to_string(),
        };
        for context in 0..self.contexts() {
            let mut replicas = self.honest_in(context);
            if let Some((first, reference)) = replicas.next()
                && let Some((other, replica)) =
                    replicas.find(|(node, _)| self.root_in(context, *node) != self.root_in(context, first))
            {
                let (first, other) = (self.name(first), self.name_in(context, other));
                for difference in differences(reference.disk(), replica.disk(), 5).unwrap_or_default() {
                    words += &format!("\n  {first} | {other}: {difference}");
                }
            }
        }
        words
    }
}
