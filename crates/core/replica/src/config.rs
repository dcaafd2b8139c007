//! The settings of a replica.

use syncline_storage::{ApplyContext, Merges};
use syncline_sync::{Authority, DeltaLog, Link, Membership, Selection, SyncProtocolKind};
use syncline_types::{ContextId, ReplicaId, SimDuration};

/// The settings of one replica. [`ReplicaConfig::new`] gives the defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The context that it replicates.
    pub context: ContextId,
    /// The name that it writes under. No two replicas may share one.
    pub replica: ReplicaId,
    /// The number of deltas that may wait for their parents or for the end of a sync.
    pub buffer_capacity: usize,
    /// The number of deltas of each author to retain for peers that lack them.
    pub delta_retention: u64,
    /// The number of peers that a write is sent to at once. With more peers than that, receivers pass the
    /// write on.
    pub gossip_fanout: usize,
    /// The number of peers that the root is announced to at each heartbeat.
    pub heartbeat_fanout: usize,
    /// The pause between heartbeats after a change; it doubles while nothing changes.
    pub heartbeat_min: SimDuration,
    /// The longest pause between heartbeats.
    pub heartbeat_max: SimDuration,
    /// How long a peer may take to answer before a round trip to it was measured.
    pub first_timeout: SimDuration,
    /// The pause after a failed session; it doubles with each further failure.
    pub backoff_min: SimDuration,
    /// The longest pause after failures.
    pub backoff_max: SimDuration,
    /// The number of sessions that it may have under way as initiator.
    pub max_sessions: usize,
    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub max_drift_ms: u64,
    /// The number of views that it stores so that peers can finish their snapshots.
    pub snapshot_views: usize,
    /// The protocols that it offers: those that can be run end to end.
    pub protocols: Vec<SyncProtocolKind>,
    /// How its own sessions choose their protocol.
    pub selection: Selection,
    /// The bandwidth of its links in bytes a second, which the choice of a protocol takes into account.
    pub bytes_per_second: u64,
    /// The protocol that its own sessions run wherever it can be run, whatever the selection says. Ignored
    /// while the replica has no state and the members are named: only a snapshot is safe there.
    pub requested_protocol: Option<SyncProtocolKind>,
    /// The merge functions of the application's own types.
    pub merges: Merges,
    /// How deltas are signed. [`Authority::open`] unless set: any replica may then write under the name of
    /// another.
    pub authority: Authority,
    /// Who may write and be synced with, until [`Replica::set_membership`] changes it.
    ///
    /// [`Replica::set_membership`]: crate::Replica::set_membership
    pub membership: Membership,
    /// How long a session may stand still. What it transfers gives it more time, up to this: ten
    /// milliseconds a record or a delta, and a little for each round on the way down a deep tree. A session
    /// that runs out of time has failed; what it brought is stored, and the next one goes on from there.
    pub session_deadline: SimDuration,
    /// The lowest incarnation that this start may have; the store counts on from there. Peers reject frames
    /// of a lower incarnation than they have seen. A host that may lose its store but not its address must
    /// therefore count its starts elsewhere too.
    pub least_incarnation: u64,
}

impl ReplicaConfig {
    /// The defaults for `replica` in `context`.
    pub fn new(context: ContextId, replica: ReplicaId) -> Self {
        Self {
            context,
            replica,
            buffer_capacity: 10_000,
            delta_retention: DeltaLog::DEFAULT_RETENTION,
            gossip_fanout: 8,
            heartbeat_fanout: 2,
            heartbeat_min: SimDuration::from_millis(500),
            heartbeat_max: SimDuration::from_secs(30),
            first_timeout: SimDuration::from_millis(400),
            backoff_min: SimDuration::from_millis(250),
            backoff_max: SimDuration::from_secs(30),
            max_sessions: 1,
            max_drift_ms: ApplyContext::DEFAULT_MAX_DRIFT_MS,
            snapshot_views: 4,
            protocols: SyncProtocolKind::EXECUTABLE.to_vec(),
            selection: Selection::default(),
            bytes_per_second: Link::default().bytes_per_second,
            requested_protocol: None,
            merges: Merges::default(),
            authority: Authority::open(),
            membership: Membership::Open,
            session_deadline: SimDuration::from_secs(60),
            least_incarnation: 1,
        }
    }
}
