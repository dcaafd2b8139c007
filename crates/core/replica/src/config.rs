//! What a replica can be told.

use syncline_storage::{ApplyContext, Merges};
use syncline_sync::{Authority, DeltaLog, Link, Membership, Selection, SyncProtocolKind};
use syncline_types::{ContextId, ReplicaId, SimDuration};

/// The settings of one replica. [`ReplicaConfig::new`] gives the defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// The context it replicates.
    pub context: ContextId,
    /// The name it writes under. No two replicas may share one.
    pub replica: ReplicaId,
    /// Deltas that may wait for their parents or for the end of a sync.
    pub buffer_capacity: usize,
    /// Deltas of each author to keep for those who lack them.
    pub delta_retention: u64,
    /// Peers a write is sent to at once. Beyond it, receivers pass the write on.
    pub gossip_fanout: usize,
    /// Peers that hear the root at each heartbeat.
    pub heartbeat_fanout: usize,
    /// The pause between heartbeats after a change; doubles while nothing changes.
    pub heartbeat_min: SimDuration,
    /// The longest pause between heartbeats.
    pub heartbeat_max: SimDuration,
    /// How long a peer may take to answer before anything is known of its speed.
    pub first_timeout: SimDuration,
    /// The pause after a failed session; doubles with each further failure.
    pub backoff_min: SimDuration,
    /// The longest pause after failures.
    pub backoff_max: SimDuration,
    /// Sessions it may have under way as initiator.
    pub max_sessions: usize,
    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub max_drift_ms: u64,
    /// Snapshots it keeps the views of, so that peers can finish taking them.
    pub snapshot_views: usize,
    /// The protocols it offers: those that can be run end to end.
    pub protocols: Vec<SyncProtocolKind>,
    /// How its own sessions choose their protocol.
    pub selection: Selection,
    /// What its links carry, in bytes a second: what the choice reckons with.
    pub bytes_per_second: u64,
    /// The protocol its own sessions run wherever it can be run, whatever the selection says.
    /// Without state it is withheld where membership is known: there only a snapshot is safe.
    pub wish: Option<SyncProtocolKind>,
    /// The merge functions of the application's own types.
    pub merges: Merges,
    /// How deltas are signed. [`Authority::open`] unless set: then nobody is kept from writing under
    /// another's name.
    pub authority: Authority,
    /// Who may write and be synced with, until [`Replica::set_membership`] says otherwise.
    ///
    /// [`Replica::set_membership`]: crate::Replica::set_membership
    pub membership: Membership,
    /// How long a session may stand still. What it moves gives it more time, never more than this: ten
    /// milliseconds a record or a delta, and a little for each round on the way down a deep tree. One
    /// that runs out of time has failed; what it brought is kept, and the next goes on from there.
    pub session_deadline: SimDuration,
    /// The least number that this start may have among the starts of its host; the store counts on from
    /// there. Peers take frames of a lower number for those of an earlier life, so a host that may have lost
    /// its store, and not its address, counts its starts elsewhere too.
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
            wish: None,
            merges: Merges::default(),
            authority: Authority::open(),
            membership: Membership::Open,
            session_deadline: SimDuration::from_secs(60),
            least_incarnation: 1,
        }
    }
}
