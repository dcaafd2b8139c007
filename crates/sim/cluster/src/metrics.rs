//! The figures of a run: what it cost and what happened in it.

use crate::hostile::HostileMetrics;
use serde::Serialize;
use sync_sim_engine::network::{DropCause, Fates, LinkMetrics};
use sync_sim_engine::world::HostEffects;
use syncline_types::SimTime;

/// The figures of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SimMetrics {
    /// Counts of frames, sessions and writes.
    pub protocol: ProtocolMetrics,
    /// Counts of what the network and the faults did.
    pub effects: EffectMetrics,
    /// Counts of what hostile nodes did.
    pub hostile: HostileMetrics,
    /// The work of the nodes.
    pub work: WorkMetrics,
    /// Whether, when and at what cost the run converged.
    pub convergence: ConvergenceMetrics,
    /// The fates of all frames.
    pub fates: Fates,
}

/// What the replicas and their sync protocols did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProtocolMetrics {
    /// Frames handed to the network.
    pub messages_sent: u64,
    /// Bytes of these frames.
    pub bytes_sent: u64,
    /// Sessions that initiators started.
    pub sessions_started: u64,
    /// Sessions that ended with both roots compared and equal.
    pub sessions_converged: u64,
    /// Sessions that went well and left another sync pending.
    pub sessions_pending: u64,
    /// Sessions that failed, for example by a timeout.
    pub sessions_failed: u64,
    /// Sessions that exchanged deltas.
    pub delta_syncs: u64,
    /// Walks of the index, at once or after deltas that did not suffice.
    pub hash_comparisons: u64,
    /// Sessions that took a snapshot.
    pub snapshots: u64,
    /// Sessions that exchanged Bloom filters.
    pub bloom_filters: u64,
    /// Sessions that prefetched whole subtrees.
    pub subtree_prefetches: u64,
    /// Sessions that compared the index level by level.
    pub level_walks: u64,
    /// Sessions that decoded the difference from sketches.
    pub sketches: u64,
    /// Requests of sessions that were answered.
    pub round_trips: u64,
    /// Entities whose digests were compared.
    pub entities_compared: u64,
    /// Records that sessions transferred, in either direction.
    pub entities_transferred: u64,
    /// Deltas applied from gossip and by initiators of sessions; those that responders apply are not counted.
    pub deltas_applied: u64,
    /// Records and actions joined.
    pub merges_performed: u64,
    /// Records collected: tombstones and what they hid.
    #[serde(rename = "records_forgotten")]
    pub records_collected: u64,
    /// Writes that replicas accepted.
    pub writes_accepted: u64,
    /// Writes that replicas refused or that found their node down.
    pub writes_refused: u64,
    /// Deltas refused because their authors may not write or did not sign them.
    pub deltas_refused: u64,
    /// Buffered deltas that were dropped because no node has their parents.
    #[serde(rename = "deltas_stranded")]
    pub deltas_dropped: u64,
}

/// What the network and the faults did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EffectMetrics {
    /// Frames that were dropped, for any cause.
    pub messages_dropped: u64,
    /// Frames that a later frame overtook on their link.
    pub messages_reordered: u64,
    /// Copies of frames in which a bit was flipped.
    pub messages_corrupted: u64,
    /// Copies of frames that the network made.
    pub messages_duplicated: u64,
    /// Requests that were retransmitted after a timeout.
    pub retries_performed: u64,
    /// Timeouts of requests and sessions.
    pub timeouts_triggered: u64,
    /// Crashes of nodes.
    pub node_crashes: u64,
    /// Restarts after crashes.
    pub node_restarts: u64,
    /// Nodes that lost their links for a while.
    pub departures: u64,
    /// Nodes that got their links back.
    pub returns: u64,
    /// Nodes that joined after the run had begun.
    pub late_joins: u64,
    /// Partitions that began.
    pub partitions: u64,
    /// Deltas that found the buffer full; each left a pending sync.
    pub buffer_drops: u64,
    /// The effects of faults of single links.
    pub links: LinkMetrics,
    /// The effects of faults within hosts.
    pub hosts: HostEffects,
}

/// The work of all nodes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WorkMetrics {
    /// SHA-256 hashes that were computed.
    pub hash_computations: u64,
    /// Lookups of deltas, by dot or against the covered versions.
    pub dag_lookups: u64,
    /// Rows read from disks.
    pub storage_reads: u64,
    /// Rows written to disks.
    pub storage_writes: u64,
}

/// The figures of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NodeMetrics {
    /// Frames that the node sent.
    pub messages_sent: u64,
    /// Frames that the node accepted.
    pub messages_received: u64,
    /// Bytes of the frames that the node sent.
    pub bytes_sent: u64,
    /// Bytes of the frames that the node accepted.
    pub bytes_received: u64,
    /// Rows that the node read and wrote.
    pub storage_ops: u64,
    /// Sessions that the node started.
    pub syncs_initiated: u64,
    /// Of these, the sessions that ended with equal roots.
    pub syncs_completed: u64,
}

/// Whether, when and at what cost the run converged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConvergenceMetrics {
    /// Whether the run converged.
    pub converged: bool,
    /// The time of convergence.
    pub time_to_converge: Option<SimTime>,
    /// Frames sent until convergence.
    pub messages_to_converge: Option<u64>,
    /// Events taken until convergence.
    pub events_to_converge: Option<u64>,
    /// The stop condition in words, if the run did not converge.
    pub failure_reason: Option<String>,
}

impl SimMetrics {
    /// Frames that were dropped for one cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.fates.dropped(cause)
    }
}
