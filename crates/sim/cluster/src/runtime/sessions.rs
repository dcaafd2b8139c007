//! Records of the sessions of a run.

use sync_sim_engine::node_id::NodeId;
use syncline_sync::{Outcome, SessionStats, SyncProtocolKind};
use syncline_types::SimTime;

/// A session that ended, as its initiator saw it. A session that a crash ended leaves no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedSession {
    /// The node that initiated the session.
    pub node: NodeId,
    /// The context that was synced.
    pub context: usize,
    /// The node that responded.
    pub peer: NodeId,
    /// When the session started.
    pub started_at: SimTime,
    /// When the session ended.
    pub ended_at: SimTime,
    /// The protocol, if the session got as far as choosing one.
    pub protocol: Option<SyncProtocolKind>,
    /// Whether it converged, left a sync pending, or failed.
    pub outcome: Outcome,
    /// Frames, records and deltas of the session.
    pub stats: SessionStats,
}
