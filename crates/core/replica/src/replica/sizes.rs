//! The sizes of everything that a replica holds in memory or makes its store retain.

use super::Replica;
use syncline_store::ReadView;

/// The present sizes of the tables, buffers and caches of a replica. `docs/spec/limits.md` lists their bounds and
/// deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicaSizes {
    /// Deltas in the buffer.
    pub buffered_deltas: u64,
    /// What they take up, in bytes.
    pub buffered_bytes: u64,
    /// Requests for missing deltas that may still be answered.
    pub delta_requests: u64,
    /// Views that are open for peers' snapshots.
    pub views: u64,
    /// The most bytes that were written to the store since one of these views was taken.
    pub view_bytes: u64,
    /// Sessions in progress.
    pub sessions: u64,
    /// What the largest of them holds in queues, cells and records that wait for their parents, in bytes.
    pub session_bytes: u64,
    /// Pending syncs.
    pub pending_syncs: u64,
    /// Records of peers.
    pub peers: u64,
    /// Peers of which version vectors are stored.
    pub vector_peers: u64,
    /// Members whose progress is known.
    pub members: u64,
    /// Authors whose deltas the state covers.
    pub authors: u64,
    /// The deltas that the log stores, in bytes.
    pub log_bytes: u64,
    /// Heads that the log remembers.
    pub heads: u64,
    /// The sketch of the state, in bytes.
    pub sketch_bytes: u64,
}

impl<V: ReadView> Replica<V> {
    /// The present sizes of everything that this replica holds. O(sessions + views).
    pub fn sizes(&self) -> ReplicaSizes {
        let sessions = self.sessions.active().values();
        ReplicaSizes {
            buffered_deltas: self.delta_fetch.len() as u64,
            buffered_bytes: self.delta_fetch.bytes() as u64,
            delta_requests: self.delta_fetch.outstanding().len() as u64,
            views: self.views.len() as u64,
            view_bytes: self.views.written(),
            sessions: self.sessions.len() as u64,
            session_bytes: sessions.map(|active| active.session().held_bytes() as u64).max().unwrap_or(0),
            pending_syncs: self.sync_queue.len() as u64,
            peers: self.peers.records().len() as u64,
            vector_peers: self.peers.vector_peers() as u64,
            members: self.horizon.progress().len() as u64,
            authors: self.log.covered().len() as u64,
            log_bytes: self.log.bytes(),
            heads: self.log.heads().len() as u64,
            sketch_bytes: self.sketch.as_ref().map_or(0, |sketch| sketch.bytes() as u64),
        }
    }
}
