//! The settings of a replica.

use syncline_storage::{ApplyContext, Merges};
use syncline_sync::{
    Authority, BufferLimits, DeltaLog, Link, Membership, Selection, SyncProtocolKind, ViewBounds,
};
use syncline_types::{ContextId, Limits, ReplicaId, SimDuration};

/// The settings of one replica. [`ReplicaConfig::new`] gives the defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The context that the replica replicates.
    pub context: ContextId,
    /// The id under which the replica writes. No two replicas may share an id.
    pub replica: ReplicaId,
    /// The most deltas that may wait for their parents or for the end of a sync.
    pub buffer_capacity: usize,
    /// The most bytes of these deltas, with [`BufferLimits::OVERHEAD_BYTES`] for each. A buffer that is full
    /// evicts deltas of the author that takes up the most; a sync brings their effect.
    pub buffer_bytes: usize,
    /// The most of these deltas that may be of one author.
    pub buffer_author_capacity: usize,
    /// The most bytes of these deltas that may be of one author. At least the size of the largest delta.
    pub buffer_author_bytes: usize,
    /// The number of deltas of each author to retain for peers that lack them. While all deltas are of one author, at
    /// least 1,000 are retained: no other store may have them.
    pub delta_retention: u64,
    /// The most bytes of all these deltas. Beyond it the oldest deltas of the author with the most bytes are pruned first,
    /// if possible those that every member covers, and own ones that no peer is known to cover last. A peer that lacks a pruned delta receives its effect as state.
    pub delta_log_bytes: u64,
    /// The number of peers that a write is sent to at once. With more peers than that, receivers pass the
    /// write on.
    pub gossip_fanout: usize,
    /// The number of peers that the root is announced to at each heartbeat.
    pub heartbeat_fanout: usize,
    /// The pause between heartbeats after a change; it doubles while nothing changes.
    pub heartbeat_min: SimDuration,
    /// The longest pause between heartbeats.
    pub heartbeat_max: SimDuration,
    /// The timeout of a request to a peer whose round-trip time has not been measured yet.
    pub first_timeout: SimDuration,
    /// The longest time that a peer may take to answer, however often a request was repeated.
    pub timeout_max: SimDuration,
    /// The pause after a failed session; it doubles with each further failure.
    pub backoff_min: SimDuration,
    /// The longest pause after failures, unless they have moved much without progress.
    pub backoff_max: SimDuration,
    /// The most sessions that the replica runs as initiator at the same time.
    pub max_sessions: usize,
    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub max_drift_ms: u64,
    /// How much later than at the last write the wall clock of a replica may be that starts, in milliseconds. A later
    /// clock is implausible. A replica may be switched off for long, so the limit is generous.
    pub max_absence_ms: u64,
    /// How long a replica whose history is ahead of time waits for its peers to take it, in milliseconds. If it would
    /// take longer, the replica stops with [`HistoryConflict::Ahead`](syncline_sync::HistoryConflict), to be brought back
    /// under a new id.
    pub max_wait_ms: u64,
    /// The most views that the replica caches so that peers can finish their snapshots. A view is released once it
    /// was not read for [`ReplicaConfig::session_deadline`].
    pub snapshot_views: usize,
    /// How many bytes may be written to the store while a view is open. A view that is released earlier than its
    /// reader finishes costs the reader a comparison with a later state.
    pub snapshot_view_bytes: u64,
    /// The protocols that the replica offers: those that can be run end to end.
    pub protocols: Vec<SyncProtocolKind>,
    /// How the sessions that the replica initiates select their protocol.
    pub selection: Selection,
    /// The bandwidth of its links in bytes per second, an input of the selection of a protocol.
    pub bytes_per_second: u64,
    /// The protocol that the sessions of this replica run wherever it can run, in place of the selection.
    /// Ignored while the replica has no state and the membership is restricted: only a snapshot is safe then.
    pub requested_protocol: Option<SyncProtocolKind>,
    /// The merge functions of application-defined types. They decide what is shown here, not what is replicated.
    pub merges: Merges,
    /// The signature scheme of deltas. The default is [`Authority::open`], with which any replica can write
    /// under the name of another.
    pub authority: Authority,
    /// The replicas that may write and be synced with, until [`Replica::set_membership`] changes the
    /// membership.
    ///
    /// [`Replica::set_membership`]: crate::Replica::set_membership
    pub membership: Membership,
    /// How long a session may stall. Each transfer extends the time that is left, up to this maximum: by ten
    /// milliseconds for each record or delta, and a little for each round on the way down a deep tree. A
    /// session that runs out of time has failed; the data that it received is stored, and the next session
    /// continues from there.
    pub session_deadline: SimDuration,
    /// The lowest incarnation that this start may have. Peers reject frames of a lower incarnation than they
    /// have seen. A host that may lose its store but not its address must therefore count its starts outside
    /// the store too.
    pub least_incarnation: u64,
    /// The sizes of its frames, pages and writes, and the bounds of its sessions.
    pub limits: Limits,
}

impl ReplicaConfig {
    /// The defaults for `replica` in `context`.
    pub fn new(context: ContextId, replica: ReplicaId) -> Self {
        let buffer = BufferLimits::default();
        Self {
            context,
            replica,
            buffer_capacity: buffer.deltas,
            buffer_bytes: buffer.bytes,
            buffer_author_capacity: buffer.author_deltas,
            buffer_author_bytes: buffer.author_bytes,
            delta_retention: DeltaLog::DEFAULT_RETENTION,
            delta_log_bytes: DeltaLog::DEFAULT_BYTES,
            gossip_fanout: 8,
            heartbeat_fanout: 2,
            heartbeat_min: SimDuration::from_millis(500),
            heartbeat_max: SimDuration::from_secs(30),
            first_timeout: SimDuration::from_millis(400),
            timeout_max: SimDuration::from_secs(60),
            backoff_min: SimDuration::from_millis(250),
            backoff_max: SimDuration::from_secs(600),
            max_sessions: 1,
            max_drift_ms: ApplyContext::DEFAULT_MAX_DRIFT_MS,
            max_absence_ms: 400 * 24 * 60 * 60 * 1_000,
            max_wait_ms: 60_000,
            snapshot_views: ViewBounds::default().views,
            snapshot_view_bytes: ViewBounds::default().bytes,
            protocols: SyncProtocolKind::EXECUTABLE.to_vec(),
            selection: Selection::default(),
            bytes_per_second: Link::default().bytes_per_second,
            requested_protocol: None,
            merges: Merges::default(),
            authority: Authority::open(),
            membership: Membership::Open,
            session_deadline: SimDuration::from_secs(60),
            least_incarnation: 1,
            limits: Limits::default(),
        }
    }
    /// The bounds of the cache of views.
    pub(crate) const fn view_bounds(&self) -> ViewBounds {
        ViewBounds {
            views: self.snapshot_views,
            idle: self.session_deadline,
            bytes: self.snapshot_view_bytes,
        }
    }

    /// The bounds of the delta buffer.
    pub(crate) const fn buffer_limits(&self) -> BufferLimits {
        BufferLimits {
            deltas: self.buffer_capacity,
            bytes: self.buffer_bytes,
            author_deltas: self.buffer_author_capacity,
            author_bytes: self.buffer_author_bytes,
        }
    }
}
