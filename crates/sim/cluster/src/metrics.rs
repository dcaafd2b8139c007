//! What a run cost and what happened in it.

use crate::hostile::HostileMetrics;
use serde::Serialize;
use sync_sim_engine::network::{DropCause, Fates, LinkMetrics};
use sync_sim_engine::world::HostEffects;
use syncline_types::SimTime;

/// The figures of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SimMetrics {
    /// What the protocols did.
    pub protocol: ProtocolMetrics,
    /// What the network and the faults did.
    pub effects: EffectMetrics,
    /// What hostile nodes did, and what came of it.
    pub hostile: HostileMetrics,
    /// What the nodes had to do for it.
    pub work: WorkMetrics,
    /// How the run came to agree.
    pub convergence: ConvergenceMetrics,
    /// What became of every frame.
    pub fates: Fates,
}

/// What the protocols did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProtocolMetrics {
    /// Frames handed to the network.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Sessions begun.
    pub sessions_started: u64,
    /// Sessions that ended with both roots compared and equal.
    pub sessions_converged: u64,
    /// Sessions after which another was owed, with nothing wrong.
    pub sessions_owed: u64,
    /// Sessions that failed.
    pub sessions_failed: u64,
    /// Sessions that exchanged deltas.
    pub delta_syncs: u64,
    /// Sessions that ran a walk, at once or after deltas that did not suffice.
    pub hash_comparisons: u64,
    /// Sessions that took a snapshot.
    pub snapshots: u64,
    /// Sessions that exchanged filters.
    pub bloom_filters: u64,
    /// Sessions that asked for whole subtrees.
    pub subtree_prefetches: u64,
    /// Sessions that went level by level.
    pub level_walks: u64,
    /// Sessions that read the difference from sketches.
    pub sketches: u64,
    /// Requests of sessions that were answered.
    pub round_trips: u64,
    /// Entities whose digests were compared.
    pub entities_compared: u64,
    /// Records moved by sessions, either way.
    pub entities_transferred: u64,
    /// Deltas applied, from gossip or from sessions; those that a responder applies are not counted.
    pub deltas_applied: u64,
    /// Records and actions joined.
    pub merges_performed: u64,
    /// Tombstones, and what they hid, that were forgotten.
    pub records_forgotten: u64,
    /// Writes accepted.
    pub writes_accepted: u64,
    /// Writes that found their node down, or could not be done.
    pub writes_refused: u64,
    /// Deltas refused because their authors may not write or did not sign them.
    pub deltas_refused: u64,
    /// Deltas that were given up, since nobody had what they follow.
    pub deltas_stranded: u64,
}

/// What the network and the faults did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EffectMetrics {
    /// Frames dropped for any cause.
    pub messages_dropped: u64,
    /// Frames overtaken on their link.
    pub messages_reordered: u64,
    /// Copies of frames that a bit was flipped in.
    pub messages_corrupted: u64,
    /// Copies made by the network.
    pub messages_duplicated: u64,
    /// Requests sent again because time ran out.
    pub retries_performed: u64,
    /// Requests or sessions that ran out of time.
    pub timeouts_triggered: u64,
    /// Nodes that went down.
    pub node_crashes: u64,
    /// Nodes that came back.
    pub node_restarts: u64,
    /// Nodes that left.
    pub departures: u64,
    /// Nodes that came back from where they were.
    pub returns: u64,
    /// Nodes that joined after the run had begun.
    pub late_joins: u64,
    /// Partitions put up.
    pub partitions: u64,
    /// Deltas that found the buffer full; each left an owed sync.
    pub buffer_drops: u64,
    /// How often the faults of single links struck.
    pub links: LinkMetrics,
    /// What went wrong within nodes.
    pub hosts: HostEffects,
}

/// What the nodes had to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WorkMetrics {
    /// SHA-256 hashes computed.
    pub hash_computations: u64,
    /// Deltas looked up or checked against what is covered.
    pub dag_lookups: u64,
    /// Rows read.
    pub storage_reads: u64,
    /// Rows written.
    pub storage_writes: u64,
}

/// The figures of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NodeMetrics {
    /// Frames it sent.
    pub messages_sent: u64,
    /// Frames that took effect on it.
    pub messages_received: u64,
    /// Bytes it sent.
    pub bytes_sent: u64,
    /// Bytes of the frames that took effect on it.
    pub bytes_received: u64,
    /// Rows it read and wrote.
    pub storage_ops: u64,
    /// Sessions it began.
    pub syncs_initiated: u64,
    /// Of those, the ones that ended with both roots equal.
    pub syncs_completed: u64,
}

/// How the run came to agree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConvergenceMetrics {
    /// Whether it did.
    pub converged: bool,
    /// When.
    pub time_to_converge: Option<SimTime>,
    /// After how many frames.
    pub messages_to_converge: Option<u64>,
    /// After how many events.
    pub events_to_converge: Option<u64>,
    /// Why not, if not.
    pub failure_reason: Option<String>,
}

impl SimMetrics {
    /// Frames dropped for one cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.fates.dropped(cause)
    }
}
