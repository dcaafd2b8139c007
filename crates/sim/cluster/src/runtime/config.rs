//! The settings of a run.

use crate::node::MOST_CONTEXTS;
use crate::workload;
use sync_sim_engine::faults::{ConfigError, FaultConfig};
use sync_sim_engine::network::{Rule, Topology};
use syncline_replica::Merges;
use syncline_sync::{DeltaLog, Selection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime};

/// The settings of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct SimConfig {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// When the run stops, converged or not.
    pub max_time: SimTime,
    /// After how many events it stops, converged or not.
    pub max_events: u64,
    /// What goes wrong.
    pub faults: FaultConfig,
    /// How many contexts each node keeps, up to [`MOST_CONTEXTS`](crate::node::MOST_CONTEXTS): states that have
    /// nothing to do with each other, on one host.
    pub contexts: usize,
    /// Which nodes have a link to each other. Gossip, sessions and heartbeats run along links only.
    pub topology: Topology,
    /// What is done to frames besides, from the beginning.
    pub rules: Vec<Rule>,
    /// For how long partitions, crashes, departures and writes during syncs happen by chance. After that the
    /// network stays slow and lossy, but nothing new breaks, so that even a large cluster gets a chance to agree.
    pub chaos_for: SimDuration,
    /// When the network calms, after the run began: from then on nothing goes wrong any more, and who is down
    /// or away comes back. Never, if `None`.
    pub calm_after: Option<SimDuration>,
    /// Deltas of each author that a node keeps for those who lack them.
    pub delta_retention: u64,
    /// Deltas a node may keep waiting.
    pub buffer_capacity: usize,
    /// How sessions choose their protocol, unless the scenario says otherwise.
    pub selection: Selection,
    /// The protocol that sessions run wherever it can be run; without one, they negotiate.
    pub protocol: Option<SyncProtocolKind>,
    /// Whether tombstones are forgotten once every node has seen what they delete.
    pub forget_tombstones: bool,
    /// The merge functions of the application's own types, on every node and in the oracle.
    pub merges: Merges,
    /// Whether to keep every choice, for [`SimRuntime::tape`](crate::runtime::sim_runtime::SimRuntime::tape).
    pub record: bool,
    /// How many entries of its history to keep, for [`SimRuntime::history`](crate::runtime::sim_runtime::SimRuntime::history);
    /// none if `None`.
    pub history: Option<usize>,
}

impl SimConfig {
    /// The defaults: one minute, ten million events, a network with distance and no faults.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
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
            selection: Selection::default(),
            protocol: None,
            forget_tombstones: true,
            merges: workload::merges(),
            record: false,
            history: None,
        }
    }

    /// Sets what goes wrong.
    pub fn with_faults(mut self, faults: FaultConfig) -> Self {
        self.faults = faults;
        self
    }

    /// Sets how many contexts each node keeps.
    pub const fn with_contexts(mut self, contexts: usize) -> Self {
        self.contexts = contexts;
        self
    }

    /// Sets which nodes have a link to each other.
    pub const fn with_topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Has a rule look at every frame, after those that were given before.
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets when the run stops.
    pub const fn with_max_time(mut self, max_time: SimTime) -> Self {
        self.max_time = max_time;
        self
    }

    /// Sets after how many events the run stops.
    pub const fn with_max_events(mut self, max_events: u64) -> Self {
        self.max_events = max_events;
        self
    }

    /// Sets for how long partitions, crashes, departures and writes during syncs happen by chance.
    pub const fn with_chaos_for(mut self, chaos_for: SimDuration) -> Self {
        self.chaos_for = chaos_for;
        self
    }

    /// Makes a second phase of the run: what goes wrong by chance, and by rules and scripts, ends when so much
    /// time has passed.
    pub const fn with_calm_after(mut self, calm_after: SimDuration) -> Self {
        self.calm_after = Some(calm_after);
        self
    }

    /// Sets how many deltas a node may keep waiting.
    pub const fn with_buffer_capacity(mut self, deltas: usize) -> Self {
        self.buffer_capacity = deltas;
        self
    }

    /// Sets the protocol that sessions run wherever it can be run.
    pub const fn with_protocol(mut self, protocol: SyncProtocolKind) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Sets how sessions choose their protocol.
    pub const fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Keeps tombstones for ever.
    pub const fn keeping_tombstones(mut self) -> Self {
        self.forget_tombstones = false;
        self
    }

    /// Sets the merge functions of the application's own types.
    pub fn with_merges(mut self, merges: Merges) -> Self {
        self.merges = merges;
        self
    }

    /// Keeps every choice.
    pub const fn recording(mut self) -> Self {
        self.record = true;
        self
    }

    /// Keeps the last `entries` of its history, and as many frames; `usize::MAX` keeps all.
    pub const fn with_history(mut self, entries: usize) -> Self {
        self.history = Some(entries);
        self
    }

    /// Whether every setting makes sense; the first that does not is named.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_CONTEXTS).contains(&self.contexts) {
            return Err(ConfigError::Contexts { found: self.contexts });
        }
        if self.faults.hostile.nodes > 0 && !self.knows_members() {
            return Err(ConfigError::HostileWithoutMembers);
        }
        self.faults.validate()
    }

    /// Whether nodes know who is a member. Where nobody forgets what is dead, they need not.
    pub const fn knows_members(&self) -> bool {
        self.forget_tombstones && !self.faults.hosts.lies_unnoticed
    }
}
