//! The counts of a run so far.

use crate::metrics::{ConvergenceMetrics, EffectMetrics, ProtocolMetrics};
use crate::node::ContextNotice;
use crate::runtime::sessions::EndedSession;
use std::collections::BTreeMap;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::StepReport;
use syncline_sync::SyncProtocolKind;

/// Sessions that one node has started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncCounts {
    pub(super) started: u64,
    /// Of these, the sessions that ended with equal roots.
    pub(super) converged: u64,
}

/// The counts behind [`SimMetrics`](crate::metrics::SimMetrics), as far as the runtime counts them. The
/// router and the hosts count their own effects.
#[derive(Clone, Debug, Default)]
pub(super) struct RunCounts {
    pub(super) protocol: ProtocolMetrics,
    pub(super) effects: EffectMetrics,
    pub(super) convergence: ConvergenceMetrics,
    syncs: BTreeMap<NodeId, SyncCounts>,
    sessions: Vec<EndedSession>,
    /// Writes that random faults scheduled into syncs.
    pub(super) writes_during_sync: u64,
    /// Writes that followed a collection of tombstones.
    pub(super) writes_after_collection: u64,
}

impl RunCounts {
    /// Every session that has ended, in the order of their ends.
    pub(super) fn sessions(&self) -> &[EndedSession] {
        &self.sessions
    }

    /// The sessions that a node has started.
    pub(super) fn syncs_of(&self, node: NodeId) -> SyncCounts {
        self.syncs.get(&node).copied().unwrap_or_default()
    }

    /// Counts what an event did to its node.
    pub(super) fn on_step(&mut self, stepped: &StepReport<ContextNotice>) {
        self.effects.node_crashes += u64::from(stepped.crashed);
        self.effects.node_restarts += u64::from(stepped.restarted);
        self.protocol.writes_refused += u64::from(stepped.op_refused);
    }

    /// An honest node has started a session.
    pub(super) fn on_session_started(&mut self, node: NodeId) {
        self.protocol.sessions_started += 1;
        self.syncs.entry(node).or_default().started += 1;
    }

    /// A session of an honest node has ended with equal roots.
    pub(super) fn on_session_converged(&mut self, node: NodeId) {
        self.protocol.sessions_converged += 1;
        let syncs = self.syncs.entry(node).or_default();
        syncs.converged += 1;
        assert!(syncs.converged <= syncs.started, "{node} ends no session that it has not started");
    }

    /// A session of an honest node has ended.
    pub(super) fn on_session_ended(&mut self, session: EndedSession) {
        assert!(session.started_at <= session.ended_at, "a session ends after its start");
        let EndedSession { stats, protocol, .. } = &session;
        self.protocol.round_trips += stats.round_trips;
        self.protocol.entities_compared += stats.entities_compared;
        self.protocol.hash_comparisons += stats.walks;
        self.protocol.entities_transferred += stats.records_received + stats.records_pushed;
        self.protocol.deltas_applied += stats.deltas_received;
        self.protocol.merges_performed += stats.records_received + stats.records_pushed;
        self.effects.retries_performed += stats.retries;
        self.effects.timeouts_triggered += stats.retries;
        match protocol {
            Some(SyncProtocolKind::DeltaSync) => self.protocol.delta_syncs += 1,
            Some(SyncProtocolKind::Snapshot) => self.protocol.snapshots += 1,
            Some(SyncProtocolKind::BloomFilter) => self.protocol.bloom_filters += 1,
            Some(SyncProtocolKind::SubtreePrefetch) => self.protocol.subtree_prefetches += 1,
            Some(SyncProtocolKind::LevelWise) => self.protocol.level_walks += 1,
            Some(SyncProtocolKind::RatelessIblt) => self.protocol.sketches += 1,
            // Walks are counted by `stats.walks`, since other protocols may fall back to one.
            Some(SyncProtocolKind::None | SyncProtocolKind::HashComparison) | None => {}
        }
        self.sessions.push(session);
    }
}
