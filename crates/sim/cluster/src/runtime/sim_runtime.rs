//! The runtime that people hold.

use super::script::Script;
use crate::liveness::Watch;
use crate::metrics::{ConvergenceMetrics, EffectMetrics, ProtocolMetrics};
use crate::node::{Noticed, SimNode, context_id, replica_id};
use crate::oracle::Oracle;
use crate::runtime::config::SimConfig;
use crate::runtime::context_state::Kept;
use crate::runtime::hostile::Hostility;
use crate::runtime::sessions::EndedSession;
use crate::scenarios::{NodeSeed, Scenario};
use crate::verdict::{Check, StopCondition};
use crate::workload::{Workload, Write};
use std::collections::BTreeMap;
use std::sync::Arc;
use sync_sim_engine::clock::SimClock;
use sync_sim_engine::event::{CrashPoint, SimEvent};
use sync_sim_engine::faults::ConfigError;
use sync_sim_engine::network::{NetworkRouter, PartitionId, PartitionSpec};
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::random::{Choices, RandomDraw, Stream};
use sync_sim_engine::run::{Observer, RunLimits, StopReason, run};
use sync_sim_engine::world::{StepReport, TraceDigest, World};
use syncline_replica::ReplicaConfig;
use syncline_store::MemoryStore;
use syncline_sync::{Authority, Selection};
use syncline_types::{Digest, EntityId, SimDuration, SimTime};

/// What the nodes of every run sign with: cheap, and checked like any other signature.
const GROUP_SECRET: [u8; 32] = [0x5e; 32];

/// A run: nodes, network, clock, and the checks over all of them. It is a value: a clone is another
/// run that goes on from here, and costs what the nodes' memory costs, not what their data does.
#[derive(Clone, Debug)]
pub struct SimRuntime {
    pub(super) config: SimConfig,
    /// Nodes, network, clock and queue.
    pub world: World<SimNode>,
    pub(super) names: Vec<String>,
    /// What is known of each context.
    pub(super) kept: Vec<Kept>,
    /// Per node that was down, what its disk had lost by then, and how often it had begun afresh.
    pub(super) losses: BTreeMap<NodeId, (u64, u8)>,
    pub(super) hostility: Hostility,
    pub(super) protocol: ProtocolMetrics,
    pub(super) effects: EffectMetrics,
    pub(super) convergence: ConvergenceMetrics,
    pub(super) violation: Option<Check>,
    /// Per node, sessions begun and sessions that converged.
    pub(super) syncs: BTreeMap<NodeId, (u64, u64)>,
    pub(super) sessions: Vec<EndedSession>,
    pub(super) watch: Watch,
    pub(super) unleashed: bool,
    /// What a case scripts for nodes and frames, until the run begins.
    script: Option<Arc<dyn Script>>,
    /// The promise that the last run broke.
    pub broken: Option<Check>,
    /// When the network calms; never again, once it has.
    pub(super) calm_at: SimTime,
    by_table: bool,
    /// Writes that fell into syncs by chance.
    pub writes_into_syncs: u64,
    /// What writes during syncs are drawn from.
    pub(super) workload: Workload,
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
    /// If a setting makes no sense; [`SimRuntime::try_with_config`] returns the error instead.
    pub fn with_config(config: SimConfig) -> Self {
        match Self::try_with_config(config) {
            Ok(runtime) => runtime,
            Err(error) => panic!("the simulation cannot run: {error}"),
        }
    }

    /// A run with these settings, or what is wrong with them.
    pub fn try_with_config(config: SimConfig) -> Result<Self, ConfigError> {
        let choices = Choices::seeded(config.seed);
        Self::with_choices(config, choices)
    }

    /// A run that takes its choices from a tape as far as that goes, and from the seed beyond.
    pub fn replaying(config: SimConfig, tape: &[RandomDraw]) -> Result<Self, ConfigError> {
        let choices = Choices::replayed(config.seed, tape);
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
            kept: vec![Kept::new(config.merges.clone()); config.contexts],
            losses: BTreeMap::new(),
            hostility: Hostility { own_keys: config.faults.hostile.nodes > 0, ..Hostility::default() },
            config,
            names: Vec::new(),
            protocol: ProtocolMetrics::default(),
            effects: EffectMetrics::default(),
            convergence: ConvergenceMetrics::default(),
            violation: None,
            syncs: BTreeMap::new(),
            sessions: Vec::new(),
            watch: Watch::default(),
            unleashed: false,
            script: None,
            broken: None,
            calm_at: SimTime::MAX,
            by_table: false,
            writes_into_syncs: 0,
            workload: Workload::default(),
        })
    }

    /// Has the run apply a script when it begins, once its nodes are known.
    pub fn set_script(&mut self, script: Arc<dyn Script>) {
        self.script = Some(script);
    }

    /// Adds an empty node.
    pub fn add_node(&mut self, name: impl Into<String>) -> NodeId {
        self.add_node_with(name.into(), Vec::new(), Vec::new())
    }

    fn add_node_with(&mut self, name: String, disks: Vec<MemoryStore>, writes: Vec<Write>) -> NodeId {
        let node = NodeId(self.world.len() as u32);
        let mut actor = self.actor(name, disks);
        for write in writes {
            let chance = &mut self.world.choices_mut().source(Stream::Scenario);
            if let Some((operations, actions)) = actor.write_before_start(&write, chance) {
                let oracle = &mut self.kept_mut(write.context).oracle;
                oracle.acknowledge((node, replica_id(node)), SimTime::ZERO, operations, actions);
            }
        }
        self.world.add(actor)
    }

    /// The next node, and what its disk holds of each context; nothing of those that are not told.
    pub(super) fn actor(&mut self, name: String, disks: Vec<MemoryStore>) -> SimNode {
        let node = NodeId(self.world.len() as u32);
        let mut config = ReplicaConfig::new(context_id(0), replica_id(node));
        config.buffer_capacity = self.config.buffer_capacity;
        config.delta_retention = self.config.delta_retention;
        config.requested_protocol = self.config.protocol;
        config.authority = Authority::keyed(GROUP_SECRET);
        config.merges = self.config.merges.clone();
        config.selection = if self.by_table { Selection::Table } else { self.config.selection };
        self.names.push(name);
        // Tombstones may be forgotten because members keep what they said that they have.
        let notices = !self.config.faults.hosts.lies_unnoticed;
        let mut disks = disks.into_iter();
        let mut actor = SimNode::new(node, config.clone(), disks.next().unwrap_or_default());
        for number in 1..self.contexts() {
            let config = ReplicaConfig { context: context_id(number), ..config.clone() };
            actor = actor.keeping(node, config, disks.next().unwrap_or_default());
        }
        actor = actor.noticing_losses(notices);
        if self.hostility.own_keys {
            actor = actor.with_own_key();
        }
        actor.forgetting(self.config.forget_tombstones && notices)
    }

    /// Adds the nodes of a scenario with the state they already have. Where they keep several contexts it says
    /// what they have in the first; in each other one they begin with other states of that kind.
    pub fn apply_scenario(&mut self, scenario: Scenario) -> Vec<NodeId> {
        let others = (1..self.contexts()).map(|number| scenario.in_context(number)).collect();
        self.apply_scenarios(scenario, others)
    }

    /// Adds the nodes of a scenario, which says what they have in their first context, and others that say so
    /// of the other contexts.
    pub fn apply_scenarios(&mut self, first: Scenario, others: Vec<Scenario>) -> Vec<NodeId> {
        self.by_table |= first.by_table;
        let names: Vec<String> = first.nodes.iter().map(|node| node.name.clone()).collect();
        // By node, then by context.
        let mut disks = vec![Vec::new(); names.len()];
        let mut writes = vec![Vec::new(); names.len()];
        let from = self.world.len() as u32;
        for (context, scenario) in std::iter::once(first).chain(others).enumerate() {
            match scenario.disks() {
                Ok(found) => disks.iter_mut().zip(found).for_each(|(disks, disk)| disks.push(disk)),
                Err(error) => {
                    let detail = error.to_string();
                    self.violate(Check::ReplicaStopped { node: "the scenario".into(), detail });
                    return Vec::new();
                }
            }
            let Scenario { shared, nodes, .. } = scenario;
            let oracle = &mut self.kept_mut(context).oracle;
            let sharing = nodes.iter().zip(from..).filter(|(node, _)| node.has_shared);
            oracle.begin_with(sharing.map(|(_, node)| NodeId(node)).collect(), shared);
            for (at, NodeSeed { own, writes: told, .. }) in nodes.into_iter().enumerate() {
                oracle.begin_with(vec![NodeId(from + at as u32)], own);
                let told = told.into_iter().map(|operation| Write::from(vec![operation]).in_context(context));
                if let Some(writes) = writes.get_mut(at) {
                    writes.extend(told);
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

    /// Changes the settings of one node's replica, such as the protocols it offers, before the run begins; in
    /// each of its contexts.
    ///
    /// # Panics
    ///
    /// If the run has begun.
    pub fn configure(&mut self, node: impl NodeRef, mut change: impl FnMut(&mut ReplicaConfig)) {
        assert!(!self.unleashed, "the run has begun; its nodes are configured before");
        let node = self.resolve(node);
        self.world.change(node, |actor| actor.configure(&mut change));
    }

    /// Has a node's application write now; into the first context, unless the write names
    /// [another](Write::in_context).
    ///
    /// # Panics
    ///
    /// If there is no such node or context.
    pub fn write(&mut self, node: impl NodeRef, write: impl Into<Write>) {
        self.write_at(self.now(), node, write);
    }

    /// Has a node's application write at a time.
    ///
    /// # Panics
    ///
    /// As [`SimRuntime::write`].
    pub fn write_at(&mut self, at: SimTime, node: impl NodeRef, write: impl Into<Write>) {
        let (node, op) = (self.resolve(node), write.into());
        let (context, kept) = (op.context, self.contexts());
        assert!(context < kept, "there is no context {context}; each node keeps {kept}, numbered from 0");
        self.world.schedule(at, SimEvent::Op { node, op });
    }

    /// Stops frames between two nodes, both ways, for a while or until healed.
    pub fn partition_bidirectional(
        &mut self,
        a: impl NodeRef,
        b: impl NodeRef,
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let spec = PartitionSpec::Bidirectional(self.resolve(a), self.resolve(b));
        self.partition(spec, lasting)
    }

    /// Stops frames from one node to another, for a while or until healed. The other way stays open.
    pub fn partition_one_way(
        &mut self,
        from: impl NodeRef,
        to: impl NodeRef,
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let spec = PartitionSpec::OneWay { from: self.resolve(from), to: self.resolve(to) };
        self.partition(spec, lasting)
    }

    /// Stops frames between groups of nodes, for a while or until healed.
    pub fn partition_groups<N: NodeRef>(
        &mut self,
        groups: &[Vec<N>],
        lasting: Option<SimDuration>,
    ) -> PartitionId {
        let groups =
            groups.iter().map(|group| group.iter().map(|node| self.resolve(node)).collect()).collect();
        self.partition(PartitionSpec::Groups(groups), lasting)
    }

    /// Puts up a partition, for a while or until healed.
    pub fn partition(&mut self, spec: PartitionSpec, lasting: Option<SimDuration>) -> PartitionId {
        self.world.start_partition(spec, lasting)
    }

    /// Takes down every partition between two nodes, either way.
    pub fn heal_partition(&mut self, a: impl NodeRef, b: impl NodeRef) {
        let (a, b) = (self.resolve(a), self.resolve(b));
        self.world.end_partitions_between(a, b);
    }

    /// Takes down one partition.
    pub fn heal(&mut self, partition: PartitionId) {
        self.world.end_partition(partition);
    }

    /// Takes down all partitions.
    pub fn heal_all(&mut self) {
        self.world.end_all_partitions();
    }

    /// Takes a node down at a time, for a while or until [`SimRuntime::restart_at`].
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

    /// Brings a node back at a time.
    pub fn restart_at(&mut self, at: SimTime, node: impl NodeRef) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::NodeRestart { node, crash: None });
    }

    /// Runs until everything has converged, time or events run out, or a promise is broken.
    pub fn run(&mut self) -> StopCondition {
        self.run_until(|_| false)
    }

    /// As [`SimRuntime::run`], but stops as soon as `done` holds.
    pub fn run_until(&mut self, done: impl FnMut(&Self) -> bool) -> StopCondition {
        self.begin();
        // A test may have changed anything since the last event.
        self.watch.on_move(self.world.progress(), self.now(), self.world.last_arrival());
        let limits = RunLimits { max_time: self.config.max_time, max_events: self.config.max_events };
        let stop = match run(&mut RunUntil { runtime: self, done }, limits) {
            StopReason::Violated => match self.violation.clone() {
                Some(check) => StopCondition::Violated(check),
                None => unreachable!("a run is violated by a check that failed"),
            },
            StopReason::Done => StopCondition::Manual,
            StopReason::Converged => {
                self.final_checks().map_or(StopCondition::Converged, StopCondition::Violated)
            }
            StopReason::Diverged => StopCondition::Diverged(self.owed()),
            StopReason::MaxEvents => StopCondition::MaxEvents(self.owed()),
            StopReason::MaxTime => StopCondition::MaxTime(self.owed()),
            StopReason::Deadlock => StopCondition::Deadlock(self.owed()),
        };
        let stop = match (&stop, self.accounts()) {
            (StopCondition::Violated(_), _) | (_, None) => stop,
            (_, Some(check)) => StopCondition::Violated(check),
        };
        if let StopCondition::Violated(check) = &stop {
            self.broken = Some(check.clone());
        }
        self.record(&stop);
        stop
    }

    /// Takes one event. Says whether there was one.
    pub fn step(&mut self) -> bool {
        self.begin();
        let any = self.world.next_time().is_some();
        if any {
            self.advance();
        }
        any
    }

    fn begin(&mut self) {
        if !self.unleashed && !self.world.is_empty() {
            self.unleashed = true;
            self.apply_script();
            self.begin_phases();
            self.add_late_joiners();
            self.begin_hostility();
            self.name_in_history();
        }
        self.note_first_roots();
        for stepped in self.world.start_added() {
            self.observe(stepped);
        }
    }

    fn apply_script(&mut self) {
        if let Some(script) = self.script.take()
            && let Err(detail) = script.apply(self)
        {
            self.violate(Check::ReplicaStopped { node: "the case".into(), detail });
        }
    }

    fn advance(&mut self) {
        if let Some(at) = self.world.next_time() {
            self.calm_before(at);
        }
        if let Some(stepped) = self.world.step() {
            self.observe(stepped);
        }
    }

    /// Ends the first phase if its time has come before the event that is due at `at`.
    fn calm_before(&mut self, at: SimTime) {
        if at >= self.calm_at {
            self.calm();
        }
    }

    fn record(&mut self, stop: &StopCondition) {
        let converged = *stop == StopCondition::Converged;
        self.convergence = ConvergenceMetrics {
            converged,
            time_to_converge: converged.then(|| self.now()),
            messages_to_converge: converged.then(|| self.world.router().fates().sent),
            events_to_converge: converged.then(|| self.world.events()),
            failure_reason: (!converged).then(|| stop.to_string()),
        };
    }

    /// What was acknowledged in a context.
    pub fn oracle(&self, context: usize) -> &Oracle {
        &self.kept(context).oracle
    }

    /// The clock.
    pub const fn clock(&self) -> SimClock {
        self.world.clock()
    }

    /// The time.
    pub const fn now(&self) -> SimTime {
        self.world.now()
    }

    /// Events taken so far.
    pub const fn events_processed(&self) -> u64 {
        self.world.events()
    }

    /// The settings.
    pub const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The network.
    pub const fn network(&self) -> &NetworkRouter {
        self.world.router()
    }

    /// The digest of all that happened: equal for equal runs.
    pub const fn trace_digest(&self) -> TraceDigest {
        self.world.trace()
    }

    /// Every session that has ended so far, in the order of their ends.
    pub fn sessions(&self) -> &[EndedSession] {
        &self.sessions
    }

    /// Every choice so far, if the settings ask to keep them.
    pub fn tape(&self) -> &[RandomDraw] {
        self.world.choices().tape()
    }

    /// The nodes, in the order of joining.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.world.actors().map(|(node, _)| node).collect()
    }

    /// A node.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn node(&self, node: impl NodeRef) -> &SimNode {
        let node = self.resolve(node);
        self.world.actor(node).unwrap_or_else(|| panic!("there is no node {node}"))
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: impl NodeRef) -> bool {
        self.world.is_up(self.resolve(node))
    }

    /// The digest of a node's state; of all its states, if it keeps several contexts.
    pub fn digest(&self, node: impl NodeRef) -> Digest {
        self.world.digest(self.resolve(node))
    }

    /// A node's name.
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

    pub(super) fn resolve(&self, node: impl NodeRef) -> NodeId {
        match node.resolve(&self.names) {
            Some(node) => node,
            None => panic!("there is no such node; the nodes are {}", self.names.join(", ")),
        }
    }
}

/// A runtime as the engine runs it, until `done` holds.
struct RunUntil<'a, F> {
    runtime: &'a mut SimRuntime,
    done: F,
}

impl<F: FnMut(&SimRuntime) -> bool> Observer for RunUntil<'_, F> {
    type Actor = SimNode;

    fn world(&self) -> &World<SimNode> {
        &self.runtime.world
    }

    fn world_mut(&mut self) -> &mut World<SimNode> {
        &mut self.runtime.world
    }

    fn observe(&mut self, report: StepReport<Noticed>) {
        self.runtime.observe(report);
    }

    fn is_violated(&self) -> bool {
        self.runtime.violation.is_some()
    }

    fn is_done(&mut self) -> bool {
        (self.done)(self.runtime)
    }

    fn is_stuck(&self) -> bool {
        self.runtime.is_idle_and_apart()
    }

    fn before_event(&mut self, at: SimTime) {
        self.runtime.calm_before(at);
    }
}
