//! The runtime that tests and tools use.

use super::script::RunScript;
use crate::checks::{CheckMemory, CheckMoments, ProgressWatch};
use crate::metrics::ConvergenceMetrics;
use crate::node::{SimNode, context_id, replica_id};
use crate::oracle::{Acknowledgement, Oracle};
use crate::runtime::config::SimConfig;
use crate::runtime::context_state::ContextState;
use crate::runtime::counts::RunCounts;
use crate::runtime::former_authors;
use crate::runtime::hostile::HostileState;
use crate::runtime::hosts::DiskLosses;
use crate::runtime::naming::Naming;
use crate::runtime::sessions::EndedSession;
use crate::scenarios::{NodeSeed, Scenario};
use crate::verdict::{Check, SimPart, StopCondition};
use crate::workload::{Workload, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use sync_sim_engine::clock::SimClock;
use sync_sim_engine::event::{CrashPoint, SimEvent};
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::network::{NetworkRouter, PartitionId, PartitionSpec};
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::random::{Choices, RandomDraw};
use sync_sim_engine::world::{TraceDigest, World};
use syncline_replica::ReplicaConfig;
use syncline_store::MemoryStore;
use syncline_sync::{Authority, LocalSyncState, Selection};
use syncline_types::{Digest, EntityId, SimDuration, SimTime};

/// The group key with which the nodes of every run sign: cheap, and verified like any other signature.
const GROUP_SECRET: [u8; 32] = [0x5e; 32];

/// What the checks remember of a run.
#[derive(Clone, Debug)]
pub(super) struct RunWatch {
    pub(super) progress: ProgressWatch,
    pub(super) memory: CheckMemory,
    pub(super) moments: CheckMoments,
}

/// A run: nodes, network, clock and the checks over all of them. A runtime is a value: a clone is a separate run that
/// continues from the same point, and shares the data of the nodes' disks.
#[derive(Clone, Debug)]
pub struct SimRuntime {
    pub(super) config: SimConfig,
    /// Nodes, network, clock and event queue.
    pub(super) world: World<SimNode>,
    /// The name of each node, by index.
    pub(super) names: Vec<String>,
    pub(super) context_states: Vec<ContextState>,
    /// What each node had lost at its last restart.
    pub(super) disk_losses: BTreeMap<NodeId, DiskLosses>,
    pub(super) hostility: HostileState,
    pub(super) counts: RunCounts,
    /// The first check that failed; it ends the run.
    pub(super) violation: Option<Check>,
    /// What the checks remember; `None` only while they run.
    pub(super) watch: Option<Box<RunWatch>>,
    /// Whether the run has begun: faults happen, and who is hostile is decided.
    pub(super) has_begun: bool,
    /// What the code under test said when it panicked before the run.
    panicked_before: Option<String>,
    /// The script of a case, until the run begins.
    script: Option<Arc<dyn RunScript>>,
    /// The check that failed in the last call of [`SimRuntime::run_until`].
    pub(super) broken: Option<Check>,
    /// When the network calms; [`SimTime::MAX`] once it has, or if it never does.
    pub(super) calm_at: SimTime,
    /// Whether sessions choose their protocol by the decision table, because a scenario asks for it.
    by_table: bool,
    /// The workload from which writes during syncs are drawn.
    pub(super) workload: Workload,
    /// Nodes that are down and come back with another disk.
    pub(super) replaced_disks: BTreeSet<NodeId>,
    /// Every moment at which a node learns of a member, in the order of scheduling.
    pub(super) namings: Vec<Naming>,
    /// Those still to come, the latest first.
    pub(super) namings_left: Vec<Naming>,
    /// How many replicas wrote before the run that are no nodes of it.
    former_authors: usize,
}

impl SimRuntime {
    /// A run with default settings and this seed.
    pub fn with_seed(seed: u64) -> Self {
        Self::with_config(SimConfig::with_seed(seed))
    }

    /// Another spelling of [`SimRuntime::with_seed`].
    pub fn new(seed: u64) -> Self {
        Self::with_seed(seed)
    }

    /// A run with these settings.
    ///
    /// # Panics
    ///
    /// If the settings are not consistent; [`SimRuntime::try_with_config`] returns the error instead.
    pub fn with_config(config: SimConfig) -> Self {
        match Self::try_with_config(config) {
            Ok(runtime) => runtime,
            Err(error) => panic!("the simulation cannot run: {error}"),
        }
    }

    /// A run with these settings.
    ///
    /// # Errors
    ///
    /// The first setting that is not consistent.
    pub fn try_with_config(config: SimConfig) -> Result<Self, ConfigError> {
        let choices = Choices::seeded(config.seed).spliced(&config.splices);
        Self::with_choices(config, choices)
    }

    /// A run that takes its random choices from a tape, and from the seed after the end of the tape.
    ///
    /// # Errors
    ///
    /// The first setting that is not consistent.
    pub fn replaying(config: SimConfig, tape: &[RandomDraw]) -> Result<Self, ConfigError> {
        let choices = Choices::replayed(config.seed, tape).spliced(&config.splices);
        Self::with_choices(config, choices)
    }

    fn with_choices(config: SimConfig, mut choices: Choices) -> Result<Self, ConfigError> {
        config.validate()?;
        if config.record {
            choices.record();
        }
        let mut world = World::new(choices, config.faults.clone()).with_topology(config.topology);
        if let Some(limit) = config.history {
            world.record_history(limit);
        }
        for rule in &config.rules {
            world.add_rule(rule.clone());
        }
        Ok(Self {
            world,
            context_states: vec![ContextState::new(&config); config.contexts],
            disk_losses: BTreeMap::new(),
            hostility: HostileState {
                own_keys: config.faults.hostile.nodes > 0 && !config.faults.hostile.group_key,
                ..HostileState::default()
            },
            watch: Some(Box::new(RunWatch {
                progress: ProgressWatch::default(),
                memory: CheckMemory::default(),
                moments: CheckMoments::of(config.seed),
            })),
            config,
            names: Vec::new(),
            counts: RunCounts::default(),
            violation: None,
            has_begun: false,
            panicked_before: None,
            script: None,
            broken: None,
            calm_at: SimTime::MAX,
            by_table: false,
            workload: Workload::default(),
            replaced_disks: BTreeSet::new(),
            namings: Vec::new(),
            namings_left: Vec::new(),
            former_authors: 0,
        })
    }

    /// Sets a script, which the run applies when it begins and its nodes are known.
    pub fn set_script(&mut self, script: Arc<dyn RunScript>) {
        self.script = Some(script);
    }

    /// Makes the nodes with shared state begin with one delta of each of so many replicas that are no nodes of the run,
    /// none of which knew of another. Nodes that know the members would refuse such deltas from each other.
    pub const fn set_former_authors(&mut self, count: usize) {
        self.former_authors = count;
    }

    /// Adds an empty node.
    pub fn add_node(&mut self, name: impl Into<String>) -> NodeId {
        self.add_node_with(name.into(), Vec::new(), Vec::new())
    }

    /// Adds a node with what its disk holds of each context, and with writes that it makes before the run.
    fn add_node_with(&mut self, name: String, disks: Vec<MemoryStore>, writes: Vec<Write>) -> NodeId {
        let actor = self.actor(name, disks);
        let node = self.world.add(actor);
        for write in writes {
            if let Some((operations, actions)) = self.accept_before_start(node, &write) {
                let seen = self.node(node).in_context(write.context).covered();
                let acknowledgement =
                    Acknowledgement { node, author: replica_id(node), at: SimTime::ZERO, seen };
                let oracle = &mut self.context_state_mut(write.context).oracle;
                oracle.acknowledge(acknowledgement, operations, actions);
            }
        }
        node
    }

    /// Makes the next node, with what its disk holds of each context. Contexts without a disk begin empty.
    pub(super) fn actor(&mut self, name: String, disks: Vec<MemoryStore>) -> SimNode {
        let node = NodeId(self.world.len() as u32);
        let mut config = ReplicaConfig::new(context_id(0), replica_id(node));
        config.buffer_capacity = self.config.buffer_capacity;
        config.delta_retention = self.config.delta_retention;
        self.config.replica.apply_to(&mut config);
        config.requested_protocol = self.config.protocol;
        config.authority = Authority::keyed(GROUP_SECRET);
        config.merges = self.config.merge_faults.merges(node.index(), &self.config.merges);
        config.selection = if self.by_table { Selection::Table } else { self.config.selection };
        self.names.push(name);
        // Collecting tombstones is safe only if members retain what they have acknowledged, or notice that they do
        // not.
        let detects_losses = !self.config.faults.hosts.lies_unnoticed;
        let mut disks = disks.into_iter();
        let mut actor = SimNode::new(node, config.clone(), disks.next().unwrap_or_default());
        for number in 1..self.contexts() {
            let config = ReplicaConfig { context: context_id(number), ..config.clone() };
            actor = actor.with_context(node, config, disks.next().unwrap_or_default());
        }
        actor = actor.with_loss_detection(detects_losses);
        if self.hostility.own_keys {
            actor = actor.with_own_key();
        }
        actor.with_tombstone_collection(self.config.forget_tombstones && detects_losses)
    }

    /// Adds the nodes of a scenario with their initial states, which are those of the first context. In each further
    /// context the nodes begin with other states of the same shape ([`Scenario::in_context`]).
    pub fn apply_scenario(&mut self, scenario: Scenario) -> Vec<NodeId> {
        let others = (1..self.contexts()).map(|number| scenario.in_context(number)).collect();
        self.apply_scenarios(scenario, others)
    }

    /// Adds the nodes of a scenario with their initial states in the first context; `others` has one scenario for
    /// each further context.
    pub fn apply_scenarios(&mut self, first: Scenario, others: Vec<Scenario>) -> Vec<NodeId> {
        self.by_table |= first.by_table;
        let names: Vec<String> = first.nodes.iter().map(|node| node.name.clone()).collect();
        // By node, then by context.
        let mut disks = vec![Vec::new(); names.len()];
        let mut writes = vec![Vec::new(); names.len()];
        let from = self.world.len() as u32;
        for (context, scenario) in std::iter::once(first).chain(others).enumerate() {
            let authors = if context == 0 { self.former_authors } else { 0 };
            let base = former_authors::disk(authors, Authority::keyed(GROUP_SECRET));
            match base.and_then(|base| scenario.disks(context_id(context), base)) {
                Ok(found) => disks.iter_mut().zip(found).for_each(|(disks, disk)| disks.push(disk)),
                Err(error) => {
                    let detail = error.to_string();
                    self.violate(Check::Internal { part: SimPart::Scenario, detail });
                    return Vec::new();
                }
            }
            let Scenario { shared, nodes, .. } = scenario;
            // The oracle learns the initial state as it learns writes: it must be visible in the end.
            let oracle = &mut self.context_state_mut(context).oracle;
            let sharing = nodes.iter().zip(from..).filter(|(node, _)| node.has_shared);
            let sharing: Vec<NodeId> = sharing.map(|(_, node)| NodeId(node)).collect();
            oracle.add_initial(sharing.clone(), former_authors::writes(authors));
            oracle.add_initial(sharing, shared);
            for (at, NodeSeed { own, writes: seeded, .. }) in nodes.into_iter().enumerate() {
                oracle.add_initial(vec![NodeId(from + at as u32)], own);
                let seeded =
                    seeded.into_iter().map(|operation| Write::from(vec![operation]).in_context(context));
                // A scenario of another context may have more nodes than the first; they do not exist.
                if let Some(writes) = writes.get_mut(at) {
                    writes.extend(seeded);
                }
            }
        }
        let nodes = names.into_iter().zip(disks.into_iter().zip(writes));
        nodes.map(|(name, (disks, writes))| self.add_node_with(name, disks, writes)).collect()
    }

    /// As [`SimRuntime::apply_scenario`], for a known number of nodes:
    /// `let [a, b] = rt.apply_scenario_n(...)`.
    ///
    /// # Panics
    ///
    /// If the scenario has another number of nodes.
    pub fn apply_scenario_n<const N: usize>(&mut self, scenario: Scenario) -> [NodeId; N] {
        let nodes = self.apply_scenario(scenario);
        let found = nodes.len();
        nodes.try_into().unwrap_or_else(|_| panic!("the scenario has {found} nodes, not {N}"))
    }

    /// Changes the settings of the replicas of a node, such as the protocols they offer, before the run begins.
    ///
    /// # Panics
    ///
    /// If the run has begun.
    pub fn configure(&mut self, node: impl NodeRef, mut change: impl FnMut(&mut ReplicaConfig)) {
        assert!(!self.has_begun, "the run has begun; its nodes are configured before");
        let node = self.resolve(node);
        self.world.change(node, |actor| actor.configure(&mut change));
    }

    /// Has the application of a node write now, to the first context unless the write names
    /// [another](Write::in_context).
    ///
    /// # Panics
    ///
    /// If there is no such node or context.
    pub fn write(&mut self, node: impl NodeRef, write: impl Into<Write>) {
        self.write_at(self.now(), node, write);
    }

    /// Has the application of a node write at a time.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::write`].
    pub fn write_at(&mut self, at: SimTime, node: impl NodeRef, write: impl Into<Write>) {
        let node = self.resolve(node);
        let op = write.into();
        let context = op.context;
        let contexts = self.contexts();
        assert!(
            context < contexts,
            "there is no context {context}; each node keeps {contexts}, numbered from 0"
        );
        self.world.schedule(at, SimEvent::Op { node, op });
    }

    /// Drops frames between two nodes, in both directions, for a while or until healed.
    pub fn partition_bidirectional(
        &mut self,
        a: impl NodeRef,
        b: impl NodeRef,
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let spec = PartitionSpec::Bidirectional(self.resolve(a), self.resolve(b));
        self.partition(spec, lasting)
    }

    /// Drops frames from one node to another, for a while or until healed. The opposite direction stays open.
    pub fn partition_one_way(
        &mut self,
        from: impl NodeRef,
        to: impl NodeRef,
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let spec = PartitionSpec::OneWay { from: self.resolve(from), to: self.resolve(to) };
        self.partition(spec, lasting)
    }

    /// Drops frames between groups of nodes, for a while or until healed.
    pub fn partition_groups<N: NodeRef>(
        &mut self,
        groups: &[Vec<N>],
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let groups =
            groups.iter().map(|group| group.iter().map(|node| self.resolve(node)).collect()).collect();
        self.partition(PartitionSpec::Groups(groups), lasting)
    }

    /// Starts a partition, for a while or until healed.
    pub fn partition(&mut self, spec: PartitionSpec, lasting: Option<SimDuration>) -> PartitionId {
        self.world.start_partition(spec, lasting)
    }

    /// Ends every partition between two nodes, in either direction.
    pub fn heal_partition(&mut self, a: impl NodeRef, b: impl NodeRef) {
        let a = self.resolve(a);
        let b = self.resolve(b);
        self.world.end_partitions_between(a, b);
    }

    /// Ends one partition.
    pub fn heal(&mut self, partition: PartitionId) {
        self.world.end_partition(partition);
    }

    /// Ends all partitions.
    pub fn heal_all(&mut self) {
        self.world.end_all_partitions();
    }

    /// Crashes a node at a time, for a while or until [`SimRuntime::restart_at`].
    pub fn crash_at(
        &mut self,
        at: SimTime,
        node: impl NodeRef,
        point: CrashPoint,
        down_for: Option<SimDuration>,
    ) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeCrash { node, point, down_for });
    }

    /// Restarts a node at a time.
    pub fn restart_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeRestart { node, crash: None });
    }

    /// Raises a panic of the code under test that happened before the run again when the run begins.
    pub fn panic_at_begin(&mut self, said: String) {
        self.panicked_before = Some(said);
    }

    pub(super) fn begin(&mut self) {
        if let Some(said) = self.panicked_before.take() {
            panic!("{said}");
        }
        if !self.has_begun && !self.world.is_empty() {
            self.has_begun = true;
            self.apply_script();
            self.begin_phases();
            self.add_late_joiners();
            self.assign_hostile_roles();
            self.name_in_history();
        }
        self.record_first_roots();
        for stepped in self.world.start_added() {
            self.observe(stepped);
        }
    }

    fn apply_script(&mut self) {
        if let Some(script) = self.script.take()
            && let Err(detail) = script.apply(self)
        {
            self.violate(Check::Internal { part: SimPart::Case, detail });
        }
    }

    pub(super) fn advance(&mut self) {
        if let Some(at) = self.world.next_time() {
            self.calm_before(at);
        }
        if let Some(stepped) = self.world.step() {
            self.observe(stepped);
        }
    }

    /// Ends the first phase if its time has come before the event that is due at `at`.
    pub(super) fn calm_before(&mut self, at: SimTime) {
        self.name_before(at);
        if at >= self.calm_at {
            self.calm();
        }
    }

    pub(super) fn record(&mut self, stop: &StopCondition) {
        let converged = *stop == StopCondition::Converged;
        self.counts.convergence = ConvergenceMetrics {
            converged,
            time_to_converge: converged.then(|| self.now()),
            messages_to_converge: converged.then(|| self.world.router().fates().sent),
            events_to_converge: converged.then(|| self.world.events()),
            failure_reason: (!converged).then(|| stop.to_string()),
        };
    }

    /// The check that failed in the last run, if one did.
    pub const fn broken_promise(&self) -> Option<&Check> {
        self.broken.as_ref()
    }

    /// The number of writes that random faults scheduled into syncs so far.
    pub const fn writes_during_sync(&self) -> u64 {
        self.counts.writes_during_sync
    }

    /// The nodes, the network and the clock of the run.
    pub const fn world(&self) -> &World<SimNode> {
        &self.world
    }

    /// The same, to be changed by tools that script, pin or replay a run. What a tool changes after the run has begun
    /// is not in the trace digest.
    pub const fn world_mut(&mut self) -> &mut World<SimNode> {
        &mut self.world
    }

    /// The acknowledged writes of a context and what they imply.
    pub fn oracle(&self, context: usize) -> &Oracle {
        &self.context_state(context).oracle
    }

    /// The simulated clock.
    pub const fn clock(&self) -> SimClock {
        self.world.clock()
    }

    /// The present simulated time.
    pub const fn now(&self) -> SimTime {
        self.world.now()
    }

    /// Number of events taken so far.
    pub const fn events_processed(&self) -> u64 {
        self.world.events()
    }

    /// The settings of the run.
    pub const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The simulated network.
    pub const fn network(&self) -> &NetworkRouter {
        self.world.router()
    }

    /// The digest of all events so far: equal for equal runs.
    pub const fn trace_digest(&self) -> TraceDigest {
        self.world.trace()
    }

    /// Every session that has ended so far, in the order of their ends.
    pub fn sessions(&self) -> &[EndedSession] {
        self.counts.sessions()
    }

    /// The number of random draws so far.
    pub fn draws(&self) -> u64 {
        self.world.choices().draws()
    }

    /// Every random choice so far, if the settings ask to record them.
    pub fn tape(&self) -> &[RandomDraw] {
        self.world.choices().tape()
    }

    /// The nodes that have not retired, in the order in which they were added.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.world.actors().map(|(node, _)| node).collect()
    }

    /// A node with its replicas and its disk.
    ///
    /// # Panics
    ///
    /// If there is no such node, or it has retired.
    pub fn node(&self, node: impl NodeRef) -> &SimNode {
        let node = self.resolve(node);
        self.world.actor(node).unwrap_or_else(|| panic!("there is no node {node}"))
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: impl NodeRef) -> bool {
        self.world.is_up(self.resolve(node))
    }

    /// The digest of the state of a node; of all its states together, if it has several contexts.
    pub fn digest(&self, node: impl NodeRef) -> Digest {
        self.world.digest(self.resolve(node))
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    /// How many entities an application sees on a node, in all its contexts. O(n).
    pub fn entity_count(&self, node: impl NodeRef) -> usize {
        self.node(node).visible_entities().unwrap_or(0)
    }

    /// Whether an application sees this entity on a node, in its first context.
    pub fn has_entity(&self, node: impl NodeRef, id: EntityId) -> bool {
        let state = self.node(node).state();
        state.and_then(|mut state| state.is_visible(id)).unwrap_or(false)
    }

    /// The node of this id or name. Panics if there is none: only a test can name it wrong.
    pub(super) fn resolve(&self, node: impl NodeRef) -> NodeId {
        match node.resolve(&self.names) {
            Some(node) => node,
            None => panic!("there is no such node; the nodes are {}", self.names.join(", ")),
        }
    }
}
