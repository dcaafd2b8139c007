//! The runtime that people hold.

use super::config::SimConfig;
use super::outcome::{Check, Debt, Owed, Property, StopCondition};
use super::{Choices, Drawn, SimClock};
use crate::convergence::{Convergence, ConvergenceDiff, ConvergencePending};
use crate::engine::{CrashPoint, SimEvent, Stepped, TraceDigest, World};
use crate::metrics::{ConvergenceMetrics, EffectMetrics, ProtocolMetrics, SimMetrics};
use crate::network::{ConfigError, DropCause, NetworkRouter, PartitionId, PartitionSpec};
use crate::node::{SimNode, differences};
use crate::runtime::Stream;
use crate::scenarios::{NodeSeed, Scenario};
use crate::types::{NodeId, NodeRef};
use crate::workload::Workload;
use syncline_replica::{Notice, Operation, ReplicaConfig};
use syncline_storage::{ApplyContext, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{FailureReason, Outcome, SyncProtocolKind};
use syncline_types::{Choice, ContextId, Digest, EntityId, Moment, ReplicaId, SimDuration, SimTime};

/// A run: nodes, network, clock, and the checks over all of them. It is a value: a clone is another
/// run that goes on from here, and costs what the nodes' memory costs, not what their data does.
#[derive(Clone, Debug)]
pub struct SimRuntime {
    config: SimConfig,
    world: World<SimNode>,
    names: Vec<String>,
    /// What every accepted write adds up to, joined without a network: what all must agree on.
    expected: MemoryStore,
    protocol: ProtocolMetrics,
    effects: EffectMetrics,
    convergence: ConvergenceMetrics,
    violation: Option<Check>,
    unleashed: bool,
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
    pub fn replaying(config: SimConfig, tape: &[Drawn]) -> Result<Self, ConfigError> {
        let choices = Choices::replayed(config.seed, tape);
        Self::with_choices(config, choices)
    }

    fn with_choices(config: SimConfig, mut choices: Choices) -> Result<Self, ConfigError> {
        config.validate()?;
        if config.record {
            choices.record();
        }
        Ok(Self {
            world: World::new(choices, config.faults.clone()),
            config,
            names: Vec::new(),
            expected: MemoryStore::default(),
            protocol: ProtocolMetrics::default(),
            effects: EffectMetrics::default(),
            convergence: ConvergenceMetrics::default(),
            violation: None,
            unleashed: false,
        })
    }

    /// Adds an empty node.
    pub fn add_node(&mut self, name: impl Into<String>) -> NodeId {
        self.add_node_with(name.into(), MemoryStore::default())
    }

    fn add_node_with(&mut self, name: String, disk: MemoryStore) -> NodeId {
        let mut replica = ReplicaId::from_u64(self.world.len() as u64 + 1);
        replica.0[15] = 0x51;
        let mut config = ReplicaConfig::new(ContextId([0xca; 32]), replica);
        config.buffer_capacity = self.config.buffer_capacity;
        self.names.push(name);
        self.world.add(SimNode::new(config, disk))
    }

    /// Adds the nodes of a scenario with the state they already have.
    pub fn apply_scenario(&mut self, scenario: Scenario) -> Vec<NodeId> {
        let (disks, whole) = match scenario.disks() {
            Ok(disks) => disks,
            Err(error) => {
                self.violate(Check::ReplicaStopped {
                    node: "the scenario".into(),
                    detail: error.to_string(),
                });
                return Vec::new();
            }
        };
        self.merge_expected(&whole);
        let nodes = scenario.nodes.into_iter().zip(disks);
        nodes.map(|(NodeSeed { name, .. }, disk)| self.add_node_with(name, disk)).collect()
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

    fn merge_expected(&mut self, whole: &MemoryStore) {
        if self.expected.is_empty() {
            self.expected = whole.clone();
            return;
        }
        let merged = (|| {
            let mut state = Interface::open(self.expected.view())?;
            let page = syncline_storage::record_page(whole, None, usize::MAX)?;
            let mut records = Vec::new();
            for (id, bytes) in page.records {
                let record = <syncline_storage::Record as syncline_types::Decode>::from_bytes(&bytes);
                records.push((
                    id,
                    record
                        .map_err(|error| syncline_storage::StorageError::Row { what: "a record", error })?,
                ));
            }
            records.sort_by_key(|(id, record)| (record.depth, *id));
            for (id, record) in &records {
                state.merge_record(*id, record, &ANY_TIME)?;
            }
            Ok::<_, syncline_storage::ApplyError>(state.finish()?)
        })();
        match merged {
            Ok(batch) => self.commit_expected(&batch),
            Err(error) => {
                self.violate(Check::ReplicaStopped { node: "the oracle".into(), detail: error.to_string() })
            }
        }
    }

    fn commit_expected(&mut self, batch: &syncline_store::WriteBatch) {
        if let Err(error) = self.expected.apply(batch) {
            self.violate(Check::ReplicaStopped { node: "the oracle".into(), detail: error.to_string() });
        }
    }

    /// Schedules the writes of a workload, from now on.
    pub fn apply_workload(&mut self, workload: &Workload) {
        let now = self.world.clock.now();
        let writes = workload.draw(self.world.len(), now, &mut self.world.choices);
        for (at, node, op) in writes {
            self.world.schedule(at, SimEvent::Op { node, op });
        }
    }

    /// Has a node's application write now.
    pub fn write(&mut self, node: impl NodeRef, operations: Vec<Operation>) {
        self.write_at(self.now(), node, operations);
    }

    /// Has a node's application write at a time.
    pub fn write_at(&mut self, at: SimTime, node: impl NodeRef, operations: Vec<Operation>) {
        let node = self.resolve(node);
        self.world.schedule(at, SimEvent::Op { node, op: operations });
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
        let end = lasting.map(|lasting| self.now() + lasting);
        let partition = self.world.router.partitions.add(spec, end);
        if let Some(end) = end {
            self.world.schedule(end, SimEvent::PartitionEnd { partition });
        }
        partition
    }

    /// Takes down every partition between two nodes, either way.
    pub fn heal_partition(&mut self, a: impl NodeRef, b: impl NodeRef) {
        let (a, b) = (self.resolve(a), self.resolve(b));
        self.world.router.partitions.heal_between(a, b);
    }

    /// Takes down one partition.
    pub fn heal(&mut self, partition: PartitionId) {
        self.world.router.partitions.heal(partition);
    }

    /// Takes down all partitions.
    pub fn heal_all(&mut self) {
        self.world.router.partitions.heal_all();
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
        self.world.schedule(at, SimEvent::NodeRestart { node });
    }

    /// Runs until everything has converged, time or events run out, or a promise is broken.
    pub fn run(&mut self) -> StopCondition {
        self.run_until(|_| false)
    }

    /// As [`SimRuntime::run`], but stops as soon as `done` holds.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> StopCondition {
        self.begin();
        let stop = loop {
            if let Some(check) = self.violation.clone() {
                break StopCondition::Violated(check);
            }
            if done(self) {
                break StopCondition::Manual;
            }
            if self.world.tally().is_converged() {
                break self.final_checks().map_or(StopCondition::Converged, StopCondition::Violated);
            }
            if self.world.events() >= self.config.max_events {
                break StopCondition::MaxEvents(self.owed());
            }
            match self.world.next_time() {
                None if self.world.tally().is_quiet() => break StopCondition::Diverged(self.owed()),
                None => break StopCondition::Deadlock(self.owed()),
                Some(at) if at >= self.config.max_time => break StopCondition::MaxTime(self.owed()),
                Some(_) => self.advance(),
            }
        };
        let stop = match (&stop, self.accounts()) {
            (StopCondition::Violated(_), _) | (_, None) => stop,
            (_, Some(check)) => StopCondition::Violated(check),
        };
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
            self.world.unleash(self.world.clock.now() + self.config.chaos_for);
        }
        for (node, notices) in self.world.start_added() {
            let stepped = Stepped { notices, ..Stepped::at(Some(node)) };
            self.observe(stepped);
        }
    }

    fn advance(&mut self) {
        if let Some(stepped) = self.world.step() {
            self.observe(stepped);
        }
    }

    /// Lets the checkers see what an event did.
    fn observe(&mut self, stepped: Stepped<Notice>) {
        self.effects.node_crashes += u64::from(stepped.crashed);
        self.effects.node_restarts += u64::from(stepped.restarted);
        self.protocol.writes_refused += u64::from(stepped.op_refused);
        let Some(node) = stepped.node else { return };
        for notice in stepped.notices {
            self.on_notice(node, notice);
        }
        if let Some(detail) = self.world.actor(node).and_then(SimNode::stopped) {
            let detail = detail.to_owned();
            self.violate(Check::ReplicaStopped { node: self.name(node), detail });
        }
        if self.world.router.fates().dropped(DropCause::Malformed) > 0 {
            self.violate(Check::HonestFrameRefused { node: self.name(node) });
        }
    }

    fn on_notice(&mut self, node: NodeId, notice: Notice) {
        match notice {
            Notice::SessionStarted { peer } => {
                self.protocol.sessions_started += 1;
                self.maybe_write_during_sync(node, peer.into());
            }
            Notice::SessionEnded { peer, started_at, outcome, protocol, stats } => {
                self.protocol.round_trips += stats.round_trips;
                self.protocol.entities_compared += stats.entities_compared;
                self.protocol.entities_transferred += stats.records_received + stats.records_pushed;
                self.protocol.merges_performed += stats.records_received + stats.records_pushed;
                self.effects.retries_performed += stats.retries;
                self.effects.timeouts_triggered += stats.retries;
                match protocol {
                    Some(SyncProtocolKind::HashComparison) => self.protocol.hash_comparisons += 1,
                    Some(SyncProtocolKind::Snapshot) => self.protocol.snapshots += 1,
                    _ => {}
                }
                self.on_outcome(node, peer.into(), started_at, outcome);
            }
            Notice::DeltaApplied { actions } => {
                self.protocol.deltas_applied += 1;
                self.protocol.merges_performed += actions;
            }
            Notice::WriteAccepted { actions } => {
                self.protocol.writes_accepted += 1;
                let applied = (|| {
                    let mut state = Interface::open(self.expected.view())?;
                    for action in &actions {
                        state.apply_action(action, &ANY_TIME)?;
                    }
                    Ok::<_, syncline_storage::ApplyError>(state.finish()?)
                })();
                match applied {
                    Ok(batch) => self.commit_expected(&batch),
                    Err(error) => {
                        self.violate(Check::ReplicaStopped {
                            node: "the oracle".into(),
                            detail: error.to_string(),
                        });
                    }
                }
            }
            Notice::WriteRefused { .. } => self.protocol.writes_refused += 1,
        }
    }

    fn on_outcome(&mut self, node: NodeId, peer: NodeId, started_at: SimTime, outcome: Outcome) {
        match outcome {
            Outcome::Converged { root } => {
                self.protocol.sessions_converged += 1;
                if !self.world.had_digest(peer, root, started_at) {
                    self.violate(Check::FalseSuccess { node: self.name(node), peer: self.name(peer) });
                }
            }
            Outcome::Owed(_) => self.protocol.sessions_owed += 1,
            Outcome::Failed(reason) => {
                self.protocol.sessions_failed += 1;
                if reason == FailureReason::Timeout {
                    self.effects.timeouts_triggered += 1;
                } else {
                    self.violate(Check::ImpossibleOutcome {
                        node: self.name(node),
                        detail: reason.to_string(),
                    });
                }
            }
        }
    }

    fn maybe_write_during_sync(&mut self, node: NodeId, peer: NodeId) {
        let rate = self.config.faults.write_during_sync_rate.as_ppm();
        let choices = &mut self.world.choices;
        if choices.chance(Stream::Workload, Choice::WriteDuringSync, rate) {
            let whom = if choices.below(Stream::Workload, Choice::WriteNode, 2) == 0 { node } else { peer };
            let pause = choices.below(Stream::Workload, Choice::WriteTime, 200_000);
            let operation = Workload::new(1, SimDuration::ZERO).operation(choices);
            let at = self.world.clock.now() + SimDuration::from_micros(pause);
            self.world.schedule(at, SimEvent::Op { node: whom, op: vec![operation] });
        }
    }

    fn violate(&mut self, check: Check) {
        self.violation.get_or_insert(check);
    }

    /// What must hold whenever a run stops.
    fn accounts(&self) -> Option<Check> {
        let fates = self.world.router.fates();
        if !fates.is_balanced() {
            let out = fates.delivered + fates.dropped_total() + fates.in_flight;
            return Some(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out });
        }
        let unbalanced =
            |actor: &SimNode| actor.replica().is_some_and(|replica| !replica.is_buffer_balanced());
        let (node, _) = self.world.actors().find(|(_, actor)| unbalanced(actor))?;
        Some(Check::BufferUnbalanced { node: self.name(node) })
    }

    /// What must hold when all nodes agree: that it is what was written, and that the index says so.
    fn final_checks(&self) -> Option<Check> {
        let expected = self.expected_root();
        for (node, actor) in self.world.actors() {
            if self.world.digest(node) != expected {
                let found = differences(&self.expected, actor.disk(), 1).unwrap_or_default();
                let entity = found.first().map(|difference| difference.entity);
                let detail = found.first().map_or_else(|| "the roots differ".to_owned(), ToString::to_string);
                let detail = format!("expected | {} has: {detail}", self.name(node));
                return Some(Check::LostWrite { entity, detail });
            }
        }
        let (node, actor) = self.world.actors().next()?;
        let rebuilt = actor.state().and_then(|state| state.rebuilt_root(MemoryStore::default()));
        (rebuilt != Ok(expected)).then(|| Check::IndexDrifted { node: self.name(node) })
    }

    fn expected_root(&self) -> Digest {
        let root = Interface::open(self.expected.view()).and_then(|mut state| state.root_hash());
        root.unwrap_or_default()
    }

    fn record(&mut self, stop: &StopCondition) {
        let converged = *stop == StopCondition::Converged;
        self.convergence = ConvergenceMetrics {
            converged,
            time_to_converge: converged.then(|| self.now()),
            messages_to_converge: converged.then(|| self.world.router.fates().sent),
            events_to_converge: converged.then(|| self.world.events()),
            failure_reason: (!converged).then(|| stop.to_string()),
        };
    }

    /// What is unfinished, and by whom. O(nodes).
    pub fn owed(&self) -> Owed {
        let tally = self.world.tally();
        let blocking = [
            (tally.frames > 0, Property::NetworkQuiescent),
            (tally.busy > 0 || tally.down > 0, Property::AllNodesIdle),
            (tally.waiting > 0, Property::NoPendingBuffers),
            (tally.timers > 0, Property::NoPendingSyncTimers),
            (tally.distinct_digests() > 1, Property::StateDigestsEqual),
            (tally.ops > 0, Property::WorkloadDone),
        ];
        let mut debts = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames on their way", tally.frames);
            debts.push(Debt { node: None, who: "the network".into(), what });
        }
        for (node, actor) in self.world.actors() {
            for what in self.debts_of(node, actor) {
                debts.push(Debt { node: Some(node), who: self.name(node), what });
            }
        }
        if tally.distinct_digests() > 1 {
            for (node, _) in self.world.actors() {
                let what = format!("root {}", self.world.digest(node));
                debts.push(Debt { node: Some(node), who: self.name(node), what });
            }
        }
        Owed { blocking: blocking.iter().find(|(blocks, _)| *blocks).map(|(_, property)| *property), debts }
    }

    fn debts_of(&self, node: NodeId, actor: &SimNode) -> Vec<String> {
        let Some(replica) = actor.replica() else { return vec!["is down".to_owned()] };
        let mut debts = Vec::new();
        for peer in replica.syncing_with() {
            debts.push(format!("a session with {} under way", self.name(peer.into())));
        }
        for (peer, reason) in replica.owed() {
            debts.push(format!("a sync with {} owed: {reason}", self.name(peer.into())));
        }
        let waiting = replica.pending().buffered;
        if waiting > 0 {
            debts.push(format!("{waiting} deltas waiting"));
        }
        let (_, timers) = self.world.unfinished(node);
        if timers > 0 && debts.is_empty() {
            debts.push(format!("{timers} sync timers set"));
        }
        debts
    }

    /// Whether everything has converged, and if not, why not.
    pub fn check_convergence(&self) -> Convergence {
        let tally = self.world.tally();
        if tally.is_converged() {
            return Convergence::Converged;
        }
        if tally.is_quiet() {
            let digests = self.world.actors().map(|(node, _)| (node, self.world.digest(node))).collect();
            return Convergence::Diverged(ConvergenceDiff::of(digests));
        }
        let owed = self.owed();
        let blocking_property = owed.blocking.unwrap_or(Property::StateDigestsEqual);
        Convergence::Pending(ConvergencePending { blocking_property, owed })
    }

    /// The figures of the run so far.
    pub fn metrics(&self) -> SimMetrics {
        let router = &self.world.router;
        let mut metrics = SimMetrics {
            protocol: self.protocol.clone(),
            effects: self.effects.clone(),
            convergence: self.convergence.clone(),
            fates: router.fates().clone(),
        };
        metrics.protocol.messages_sent = router.fates().sent;
        metrics.protocol.bytes_sent = router.bytes_sent();
        metrics.effects.messages_dropped = router.fates().dropped_total();
        metrics.effects.messages_duplicated = router.fates().duplicated;
        metrics.effects.messages_reordered = router.reordered();
        metrics.effects.partitions = router.partitions.started();
        metrics.effects.buffer_drops = router.fates().dropped(DropCause::BufferFull);
        metrics
    }

    /// The clock.
    pub const fn clock(&self) -> SimClock {
        self.world.clock
    }

    /// The time.
    pub const fn now(&self) -> SimTime {
        self.world.clock.now()
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
        &self.world.router
    }

    /// The digest of all that happened: equal for equal runs.
    pub const fn trace_digest(&self) -> TraceDigest {
        self.world.trace()
    }

    /// Every choice so far, if the settings ask to keep them.
    pub fn tape(&self) -> &[Drawn] {
        self.world.choices.tape()
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

    /// The digest of a node's state.
    pub fn digest(&self, node: impl NodeRef) -> Digest {
        self.world.digest(self.resolve(node))
    }

    /// A node's name.
    pub fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    /// How many entities an application sees on a node. O(n).
    pub fn entity_count(&self, node: impl NodeRef) -> usize {
        self.node(node).visible_entities().unwrap_or(0)
    }

    /// Whether an application sees this entity on a node.
    pub fn has_entity(&self, node: impl NodeRef, id: EntityId) -> bool {
        let state = self.node(node).state();
        state.and_then(|mut state| state.is_visible(id)).unwrap_or(false)
    }

    /// What keeps the run from being converged, in words: which node, which entity, which value.
    pub fn explain(&self) -> String {
        let mut words = match self.check_convergence() {
            Convergence::Converged => return "converged".to_owned(),
            Convergence::Pending(pending) => pending.owed.to_string(),
            Convergence::Diverged(_) => self.owed().to_string(),
        };
        let mut nodes = self.world.actors();
        if let Some((first, reference)) = nodes.next()
            && let Some((other, actor)) =
                nodes.find(|(node, _)| self.world.digest(*node) != self.world.digest(first))
        {
            for difference in differences(reference.disk(), actor.disk(), 5).unwrap_or_default() {
                words += &format!("\n  {} | {}: {difference}", self.name(first), self.name(other));
            }
        }
        words
    }

    fn resolve(&self, node: impl NodeRef) -> NodeId {
        match node.resolve(&self.names) {
            Some(node) => node,
            None => panic!("there is no such node; the nodes are {}", self.names.join(", ")),
        }
    }
}

/// The oracle has no clock of its own: whatever a replica accepted, it accepts.
const ANY_TIME: ApplyContext = ApplyContext { moment: Moment::at(SimTime::MAX), max_drift_ms: u64::MAX };
