//! The settings of a run.

use crate::node::MOST_CONTEXTS;
use crate::runtime::replica_settings::ReplicaSettings;
use crate::workload::{self, MergeFaults};
use sync_sim_engine::faults::{ConfigError, FaultConfig};
use sync_sim_engine::network::{Rule, Topology};
use sync_sim_engine::random::Splice;
use syncline_replica::Merges;
use syncline_sync::{DeltaLog, Selection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime, limits};

/// The settings of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct SimConfig {
    /// Decides every random choice of the run.
    pub seed: u64,
    /// Where the run continues with the draws of other seeds.
    pub splices: Vec<Splice>,
    /// The simulated time at which the run stops, converged or not.
    pub max_time: SimTime,
    /// The number of events after which the run stops, converged or not.
    pub max_events: u64,
    /// The faults of network, disks, hosts and peers.
    pub faults: FaultConfig,
    /// Contexts on each node, from 1 to [`MOST_CONTEXTS`](crate::node::MOST_CONTEXTS): independent states
    /// on the same host.
    pub contexts: usize,
    /// Which nodes have a link to each other. Gossip, sessions and heartbeats run along links only.
    pub topology: Topology,
    /// Rules that interfere with chosen frames, from the beginning of the run.
    pub rules: Vec<Rule>,
    /// How long partitions, crashes, departures and writes during syncs happen at random. After that the
    /// network stays slow and lossy, but no new fault begins, so that even a large cluster can converge.
    pub chaos_for: SimDuration,
    /// The time after the start at which the network calms: from then on no fault happens, and nodes that
    /// are down or away come back. Never, if `None`.
    pub calm_after: Option<SimDuration>,
    /// Deltas of each author that a node retains for peers that lack them.
    pub delta_retention: u64,
    /// Deltas that a node buffers while their parents are missing.
    pub buffer_capacity: usize,
    /// The pauses, sizes and limits of the replicas.
    pub replica: ReplicaSettings,
    /// The greatest frame that honest nodes may send, in bytes. The codec refuses frames above
    /// [`MAX_FRAME_BYTES`](limits::MAX_FRAME_BYTES); a lower limit only fails the run.
    pub max_frame_bytes: usize,
    /// How sessions choose their protocol, unless the scenario says otherwise.
    pub selection: Selection,
    /// The protocol that sessions run wherever both sides support it; if `None`, they negotiate.
    pub protocol: Option<SyncProtocolKind>,
    /// Whether tombstones are collected once every member has seen the delete.
    pub forget_tombstones: bool,
    /// Whether a counter that is written again after a delete must begin anew: what the deleter had seen is gone. If
    /// not, the specification lets a delete hide a counter and counts everything, which is what core does so far.
    pub counters_reset: bool,
    /// The merge functions of the application's own types, on every node and in the oracle.
    pub merges: Merges,
    /// What is wrong with the merge function of workloads.
    pub merge_faults: MergeFaults,
    /// Within what time around the moment when a late joiner joins each node learns of it, at a moment of its own. If
    /// zero, all nodes know from the beginning.
    pub naming_spread: SimDuration,
    /// Whether to record every random choice, for
    /// [`SimRuntime::tape`](crate::runtime::sim_runtime::SimRuntime::tape).
    pub record: bool,
    /// The number of history entries to keep, for
    /// [`SimRuntime::history`](crate::runtime::sim_runtime::SimRuntime::history); `None` records no
    /// history.
    pub history: Option<usize>,
}

impl SimConfig {
    /// The defaults: one minute, ten million events, a network with distance and no faults.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            splices: Vec::new(),
            max_time: SimTime::from_secs(60),
            max_events: 10_000_000,
            faults: FaultConfig::default(),
            contexts: 1,
            topology: Topology::default(),
            rules: Vec::new(),
            chaos_for: SimDuration::from_secs(20),
            calm_after: None,
            delta_retention: DeltaLog::DEFAULT_RETENTION,
            buffer_capacity: 10_000,
            replica: ReplicaSettings::default(),
            max_frame_bytes: limits::MAX_FRAME_BYTES,
            selection: Selection::default(),
            protocol: None,
            forget_tombstones: true,
            counters_reset: false,
            merges: workload::merges(),
            merge_faults: MergeFaults::NONE,
            naming_spread: SimDuration::ZERO,
            record: false,
            history: None,
        }
    }

    /// Sets the faults.
    pub fn with_faults(mut self, faults: FaultConfig) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the number of contexts on each node.
    pub const fn with_contexts(mut self, contexts: usize) -> Self {
        self.contexts = contexts;
        self
    }

    /// Sets which nodes have a link to each other.
    pub const fn with_topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Adds a rule. It is evaluated for every frame, after the rules added before.
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets the simulated time at which the run stops.
    pub const fn with_max_time(mut self, max_time: SimTime) -> Self {
        self.max_time = max_time;
        self
    }

    /// Sets the number of events after which the run stops.
    pub const fn with_max_events(mut self, max_events: u64) -> Self {
        self.max_events = max_events;
        self
    }

    /// Sets how long partitions, crashes, departures and writes during syncs happen at random.
    pub const fn with_chaos_for(mut self, chaos_for: SimDuration) -> Self {
        self.chaos_for = chaos_for;
        self
    }

    /// Splits the run into two phases: after this time random faults, rules and scripts end.
    pub const fn with_calm_after(mut self, calm_after: SimDuration) -> Self {
        self.calm_after = Some(calm_after);
        self
    }

    /// Sets how many deltas a node buffers while their parents are missing.
    pub const fn with_buffer_capacity(mut self, deltas: usize) -> Self {
        self.buffer_capacity = deltas;
        self
    }

    /// Sets the pauses, sizes and limits of the replicas.
    pub const fn with_replica(mut self, replica: ReplicaSettings) -> Self {
        self.replica = replica;
        self
    }

    /// Sets the protocol that sessions run wherever both sides support it.
    pub const fn with_protocol(mut self, protocol: SyncProtocolKind) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Sets how sessions choose their protocol.
    pub const fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Retains tombstones for ever.
    pub const fn keeping_tombstones(mut self) -> Self {
        self.forget_tombstones = false;
        self
    }

    /// Sets the merge functions of the application's own types.
    pub fn with_merges(mut self, merges: Merges) -> Self {
        self.merges = merges;
        self
    }

    /// Records every random choice.
    pub const fn recording(mut self) -> Self {
        self.record = true;
        self
    }

    /// Records a history of the last `entries` entries, and as many frames; `usize::MAX` records all.
    pub const fn with_history(mut self, entries: usize) -> Self {
        self.history = Some(entries);
        self
    }

    /// Checks that the settings are consistent.
    ///
    /// # Errors
    ///
    /// The first setting that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_CONTEXTS).contains(&self.contexts) {
            return Err(ConfigError::Contexts { found: self.contexts });
        }
        if self.faults.hostile.nodes > 0 && !self.knows_members() {
            return Err(ConfigError::HostileWithoutMembers);
        }
        self.replica.validate()?;
        self.faults.validate()
    }

    /// The greatest size of a frame that nodes may send, in bytes: receivers refuse larger ones.
    pub fn frame_limit(&self) -> usize {
        self.max_frame_bytes.min(self.replica.limits.frame_bytes())
    }

    /// Whether nodes know the membership. They need it only to collect tombstones.
    pub const fn knows_members(&self) -> bool {
        self.forget_tombstones && !self.faults.hosts.lies_unnoticed
    }
}
