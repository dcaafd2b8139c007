//! The sessions of a run.

use sync_sim_engine::node_id::NodeId;
use syncline_sync::{Outcome, SessionStats, SyncProtocolKind};
use syncline_types::SimTime;

/// A session that ended, as its initiator saw it. One that was lost in a crash never did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedSession {
    /// Who had begun it.
    pub node: NodeId,
    /// In which of its contexts.
    pub context: usize,
    /// With whom.
    pub peer: NodeId,
    /// When it began.
    pub started_at: SimTime,
    /// When it ended.
    pub ended_at: SimTime,
    /// The protocol that was chosen, if it came to that.
    pub protocol: Option<SyncProtocolKind>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its figures.
    pub stats: SessionStats,
}
