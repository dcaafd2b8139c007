//! Builds a run from a case: checks the case, then creates the nodes, schedules the script and installs the
//! rules.

use crate::case::entities::Entities;
use crate::case::error::CaseError;
use crate::case::failure_class::catching;
use crate::case::script_line::{Crash, CustomOp, Leave, Partition, ScriptAction, ScriptedWrite};
use crate::case::{Case, Name, ScenarioSpec, Size};
use std::collections::BTreeSet;
use sync_sim_cluster::runtime::{SimConfig, SimRuntime};
use sync_sim_cluster::scenarios::{NAMED, NodeSeed, Scenario, author_in};
use sync_sim_cluster::workload;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::{FrameFaultScript, PartitionSpec};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::ScriptTime;
use syncline_types::{SimDuration, SimTime};

/// An event and its time in the run, with its place among the events of that instant.
pub(crate) type Timed<Op> = (ScriptTime, SimEvent<Op>);

/// The names of the nodes of a case, in the order of their numbers.
pub(crate) struct NodeNames(pub(crate) Vec<Name>);

impl NodeNames {
    pub(crate) fn resolve(&self, place: &str, name: &Name) -> Result<NodeId, CaseError> {
        self.0.iter().position(|known| known == name).map(|at| NodeId(at as u32)).ok_or_else(|| {
            CaseError::NoNode { place: place.to_owned(), name: name.clone(), nodes: self.0.clone() }
        })
    }
}

impl Case {
    /// Builds the run; its first event has not happened yet.
    ///
    /// # Errors
    ///
    /// If the case contradicts itself, or a setting is out of range.
    pub fn build(&self) -> Result<SimRuntime, CaseError> {
        self.assemble(false)
    }

    /// As [`Case::build`], but a panic of the code under test while the initial state is made is no error: the run
    /// begins and ends with it, without nodes. So the panic is the result of the run, as one that happens later.
    ///
    /// # Errors
    ///
    /// As [`Case::build`], without [`CaseError::InitialWrite`].
    pub fn build_to_run(&self) -> Result<SimRuntime, CaseError> {
        let said = match catching(|| self.assemble(false)) {
            Ok(Err(CaseError::InitialWrite { said, .. })) | Err(said) => said,
            Ok(built) => return built,
        };
        let mut rt = SimRuntime::try_with_config(self.config())?;
        rt.panic_at_begin(said);
        Ok(rt)
    }

    /// Like [`Case::build`]. If `recording`, the run records what randomness decides, so that the case can
    /// be pinned.
    ///
    /// The order of the steps is part of the determinism: each step draws from the streams of randomness
    /// and takes numbers for its events, and two events of one instant happen in the order in which they
    /// were scheduled.
    pub(crate) fn assemble(&self, recording: bool) -> Result<SimRuntime, CaseError> {
        self.check_counts()?;
        let scenario = self.initial_scenario()?;
        let names = self.names(&scenario)?;
        self.check_hostile(&scenario)?;
        self.check_contexts()?;
        let others = self.scenarios_of_later_contexts(&scenario)?;
        let mut rt = SimRuntime::try_with_config(self.config())?;
        if self.names_hostile_nodes() {
            rt.use_own_keys();
        }
        rt.set_former_authors(self.former_authors);
        rt.apply_scenarios(scenario, others);
        for (node, described) in (0..).map(NodeId).zip(&self.nodes) {
            for context in 0..self.contexts {
                for write in described.writes_in(context) {
                    let write = workload::Write::from(write.clone()).in_context(context);
                    // The code under test runs here, before the run: a panic of it is an error of the case.
                    catching(|| rt.write_before_start(node, &write))
                        .map_err(|said| CaseError::InitialWrite { node: described.name.clone(), said })?;
                }
            }
        }
        self.make_hostile(&mut rt);
        // Recording covers the workload and the run, but not the scheduling of the script, whose lines the
        // case has already.
        rt.world_mut().set_event_log(recording.then(Vec::new));
        rt.apply_workload(&self.workload);
        let event_log = rt.world_mut().take_event_log();
        // Joins come first: all nodes know from the beginning who will join, and the script may name them.
        for (at, name) in self.joiners() {
            rt.join_at(at, name.as_str());
        }
        for line in &self.script {
            if let ScriptAction::Name(naming) = &line.what {
                for by in &naming.by {
                    rt.name_at(line.at, by.as_str(), naming.joiner.as_str());
                }
            }
        }
        for (time, event) in self.events(&names, Self::write_of)? {
            rt.world_mut().schedule_scripted(time, event);
        }
        rt.world_mut().set_event_log(event_log);
        for line in &self.rules {
            rt.add_rule(line.rule(|place, name| names.resolve(place, name))?);
        }
        self.script_lies(&mut rt, &names)?;
        rt.world_mut().set_frame_script(self.book(&names, recording)?);
        Ok(rt)
    }

    /// The table of frame faults, if the case has any or if the faults of the run are to be recorded.
    pub(crate) fn book(
        &self,
        names: &NodeNames,
        recording: bool,
    ) -> Result<Option<Box<FrameFaultScript>>, CaseError> {
        let mut faults = Vec::new();
        for frame in &self.frames {
            faults.extend(frame.faults(|place, name| names.resolve(place, name))?);
        }
        let book = FrameFaultScript::new(faults);
        let usual = SimDuration::from_millis(self.faults.base_latency_ms);
        Ok(match recording {
            true => Some(Box::new(book.recording(usual))),
            false => (!self.frames.is_empty()).then(|| Box::new(book)),
        })
    }

    /// Checks whether the case can be built, without creating the entities of a scenario.
    ///
    /// # Errors
    ///
    /// As [`Case::build`].
    pub fn check(&self) -> Result<(), CaseError> {
        self.faults.validate()?;
        self.check_counts()?;
        // A named scenario may be large, but which nodes it has does not depend on the number of entities.
        let small = self.scenario.clone().map(|spec| ScenarioSpec { entities: 0, ..spec });
        let small = Self { scenario: small, ..self.clone() };
        let scenario = small.initial_scenario()?;
        let names = small.names(&scenario)?;
        small.check_hostile(&scenario)?;
        self.check_contexts()?;
        small.events(&names, |_, _| Ok(()))?;
        let resolve = |place: &str, name: &Name| names.resolve(place, name);
        small.rules.iter().try_for_each(|line| line.rule(resolve).map(drop))?;
        small.frames.iter().try_for_each(|frame| frame.faults(resolve).map(drop))
    }

    pub(super) fn config(&self) -> SimConfig {
        SimConfig {
            splices: self.splices.iter().map(|line| (*line).into()).collect(),
            max_time: self.max_time,
            max_events: self.max_events,
            faults: self.faults.clone(),
            contexts: self.contexts,
            topology: self.topology,
            chaos_for: self.chaos_for,
            calm_after: self.calm_after,
            delta_retention: self.delta_retention,
            buffer_capacity: self.buffer_capacity,
            replica: self.replica.clone(),
            max_frame_bytes: self.max_frame_bytes,
            selection: self.selection,
            protocol: self.protocol,
            forget_tombstones: self.forget_tombstones,
            counters_reset: self.counters_reset,
            merge_faults: self.merge_faults,
            naming_spread: self.naming_spread,
            ..SimConfig::with_seed(self.seed)
        }
    }

    /// The initial state of the run: the nodes and entities of the first context.
    pub(crate) fn initial_scenario(&self) -> Result<Scenario, CaseError> {
        let refuse = |found| Err(CaseError::InitialState { found });
        match (&self.scenario, self.nodes.is_empty()) {
            (Some(_), false) => refuse("both"),
            (None, true) => refuse("neither"),
            (Some(_), true) if !self.shared.is_empty() => {
                refuse("a scenario, and `shared`, which goes with nodes")
            }
            (Some(spec), true) => {
                let named = NAMED.iter().find(|named| named.name == spec.name);
                let named = named.ok_or_else(|| CaseError::NoScenario { name: spec.name.clone() })?;
                Ok((named.build)(spec.nodes, spec.entities, self.seed))
            }
            (None, false) => {
                let all =
                    |entities: &[Entities], by| entities.iter().flat_map(|some| some.actions(by)).collect();
                let mut scenario = Scenario { shared: all(&self.shared, 0), ..Scenario::default() };
                for (node, by) in self.nodes.iter().zip(1..) {
                    scenario.nodes.push(NodeSeed {
                        name: node.name.clone(),
                        own: all(&node.entities, by),
                        has_shared: node.shared,
                        // A write may hold several operations; writes are applied once all nodes exist.
                        writes: Vec::new(),
                    });
                }
                Ok(scenario)
            }
        }
    }

    /// The initial states of the contexts after the first. A named scenario is drawn anew for each context.
    pub(crate) fn scenarios_of_later_contexts(&self, first: &Scenario) -> Result<Vec<Scenario>, CaseError> {
        let of_context = |context: usize| {
            if self.scenario.is_some() {
                // With one seed for all, a scenario that draws its state would draw the same everywhere.
                let drawn = Self { seed: self.seed.wrapping_add(context as u64), ..self.clone() };
                return Ok(drawn.initial_scenario()?.in_context(context));
            }
            let mut nodes = first.nodes.clone();
            for (seed, node) in nodes.iter_mut().zip(&self.nodes) {
                let contents = context.checked_sub(1).and_then(|other| node.contexts.get(other));
                let entities = contents.map_or(&[][..], |contents| &contents.entities);
                seed.own = entities.iter().flat_map(|some| some.actions(author_in(context))).collect();
                seed.has_shared = false;
            }
            Ok(Scenario { shared: Vec::new(), nodes, by_table: first.by_table })
        };
        (1..self.contexts).map(of_context).collect()
    }

    /// Checks that the number of contexts is within the limits, and that every context that the case
    /// mentions exists.
    pub(super) fn check_contexts(&self) -> Result<(), CaseError> {
        let contexts = self.contexts;
        self.config().validate()?;
        let impossible = |place: String, problem: String| Err(CaseError::Impossible { place, problem });
        if self.former_authors > 0 && self.config().knows_members() {
            let problem =
                "nodes that know the members refuse their deltas; set forget_tombstones = false".into();
            return impossible("former_authors".into(), problem);
        }
        if let Some(node) = self.nodes.iter().find(|node| node.contexts.len() >= contexts) {
            let mentioned = node.contexts.len();
            return impossible(
                format!("node {}", node.name),
                format!(
                    "it tells of {mentioned} contexts after the first; each node keeps {contexts} in all"
                ),
            );
        }
        for line in &self.script {
            if let ScriptAction::Write(ScriptedWrite { context, .. }) = line.what
                && context >= contexts
            {
                return impossible(
                    format!("script, at {}", line.at),
                    format!("a write into context {context}; each node keeps {contexts}, numbered from 0"),
                );
            }
        }
        Ok(())
    }

    pub(crate) fn names(&self, scenario: &Scenario) -> Result<NodeNames, CaseError> {
        // The order is that in which the run adds the nodes: the place of a name is the number of its node.
        let mut names: Vec<Name> = scenario.nodes.iter().map(|node| node.name.clone()).collect();
        names.extend(self.joiners().map(|(_, name)| name.clone()));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        if names.iter().any(|name| name.trim().is_empty()) {
            let problem = "a node has an empty name; give it one with a letter or a digit".into();
            return Err(CaseError::Impossible { place: "nodes".into(), problem });
        }
        let mut seen = BTreeSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(CaseError::TwoOfOneName { name: name.clone() }),
            None => Ok(NodeNames(names)),
        }
    }

    pub(crate) fn joiners(&self) -> impl Iterator<Item = (SimTime, &Name)> {
        self.script.iter().filter_map(|line| match &line.what {
            ScriptAction::Join(name) => Some((line.at, name)),
            _ => None,
        })
    }

    /// The write that a script line asks a built-in replica for.
    pub(super) fn write_of(place: &str, what: &ScriptAction) -> Result<workload::Write, CaseError> {
        match what {
            ScriptAction::Write(ScriptedWrite { ops, wraps, context, .. }) => {
                Ok(workload::Write { operations: ops.clone(), wraps: *wraps, context: *context })
            }
            _ => Err(CaseError::Impossible {
                place: place.to_owned(),
                problem: "an `op` is for a replica of one's own; ours take a `write`".into(),
            }),
        }
    }

    /// The events of the script, except joins and lies, which are scheduled elsewhere. `ask` reads the
    /// operation of a line, which is of a different type for each kind of replica.
    pub(crate) fn events<Op>(
        &self,
        names: &NodeNames,
        ask: impl Fn(&str, &ScriptAction) -> Result<Op, CaseError>,
    ) -> Result<Vec<Timed<Op>>, CaseError> {
        let mut events = Vec::new();
        for line in &self.script {
            let place = format!("script, at {}", line.at);
            let resolve = |name: &Name| names.resolve(&place, name);
            events.push((
                ScriptTime { at: line.at, after: line.after },
                match &line.what {
                    ScriptAction::Write(ScriptedWrite { node, .. })
                    | ScriptAction::Op(CustomOp { node, .. }) => {
                        SimEvent::Op { node: resolve(node)?, op: ask(&place, &line.what)? }
                    }
                    ScriptAction::Crash(Crash { node, point, down_for }) => {
                        SimEvent::NodeCrash { node: resolve(node)?, point: *point, down_for: *down_for }
                    }
                    ScriptAction::Restart(node) => {
                        SimEvent::NodeRestart { node: resolve(node)?, crash: None }
                    }
                    ScriptAction::Leave(Leave { node, away_for }) => {
                        SimEvent::NodeLeave { node: resolve(node)?, away_for: *away_for }
                    }
                    ScriptAction::Return(node) => {
                        SimEvent::NodeReturn { node: resolve(node)?, departure: None }
                    }
                    ScriptAction::Partition(partition) => {
                        let spec = partition.spec(&place, names)?;
                        SimEvent::PartitionAt { spec: Box::new(spec), lasting: partition.lasting }
                    }
                    ScriptAction::Host(host) => {
                        SimEvent::Host { node: resolve(host.node())?, what: host.event(&place, resolve)? }
                    }
                    ScriptAction::Lie(lie) => {
                        // Scheduled with the hostile nodes; here the line is only checked.
                        resolve(&lie.node)?;
                        if lie.frames == 0 {
                            return Err(CaseError::impossible(
                                &place,
                                "a lie in no frame; `frames` is at least 1",
                            ));
                        }
                        continue;
                    }
                    ScriptAction::Name(naming) => {
                        // Scheduled with the joins; here the line is only checked.
                        resolve(&naming.joiner)?;
                        if naming.by.is_empty() {
                            return Err(CaseError::impossible(
                                &place,
                                "nobody learns of the member; list nodes in `by`",
                            ));
                        }
                        naming.by.iter().try_for_each(|name| resolve(name).map(drop))?;
                        continue;
                    }
                    ScriptAction::Join(_) => continue,
                },
            ));
        }
        Ok(events)
    }

    /// Counts the parts of the case that can cause a failure: the measure that shrinking makes small.
    pub fn size(&self) -> Size {
        let mut size = Size { nodes: self.nodes.len(), contexts: self.contexts, ..Size::default() };
        if let Some(spec) = &self.scenario {
            let entities = spec.nodes * spec.entities * self.contexts;
            size.nodes = spec.nodes;
            size.entities = entities;
        }
        size.entities += self.shared.len() + self.former_authors;
        for node in &self.nodes {
            size.entities += node.entities.len();
            size.writes += node.writes.len();
            for contents in &node.contexts {
                size.entities += contents.entities.len();
                size.writes += contents.writes.len();
            }
            size.faults += node.hostile.iter().count();
        }
        size.writes += self.workload.writes;
        size.writes += self.script.iter().filter(|line| line.is_operation()).count();
        // A recovery is not a cause of failure: without it, less works.
        let is_fault =
            |line: &&crate::case::script_line::ScriptLine| !line.is_operation() && !line.is_recovery();
        size.faults +=
            self.rules.len() + self.script.iter().filter(is_fault).count() + self.active_fault_settings();
        size.frames = self.frames.len();
        size
    }

    /// The number of fault settings that are not off. The latency does not count, since every network has
    /// one.
    fn active_fault_settings(&self) -> usize {
        let off = FaultConfig::none().with_latency(self.faults.base_latency_ms, 0);
        let settings = |faults: &FaultConfig| toml::Table::try_from(faults).unwrap_or_default();
        let off = settings(&off);
        // A range is the length of a fault whose probability counts already.
        let ranges = ["partition_duration_ms", "restart_delay_ms", "away_duration_ms", "join_ms"];
        let mut on = settings(&self.faults);
        if self.faults.hostile.nodes == 0 {
            // Without hostile nodes, the rate of lies has no effect.
            on.remove("hostile");
        }
        on.iter()
            .filter(|(key, value)| off.get(*key) != Some(value) && !ranges.contains(&key.as_str()))
            .count()
    }
}

impl Partition {
    fn spec(&self, place: &str, names: &NodeNames) -> Result<PartitionSpec, CaseError> {
        let resolve = |side: &Vec<Name>| {
            side.iter().map(|name| names.resolve(place, name)).collect::<Result<Vec<NodeId>, _>>()
        };
        match (&self.one_way, self.groups.len()) {
            (Some((from, to)), 0) => {
                disjoint(place, [from, to])?;
                Ok(PartitionSpec::OneWayGroups { from: resolve(from)?, to: resolve(to)? })
            }
            (None, 2..) => {
                disjoint(place, &self.groups)?;
                Ok(PartitionSpec::Groups(self.groups.iter().map(resolve).collect::<Result<_, _>>()?))
            }
            (Some(_), _) => Err(CaseError::impossible(place, "a partition has either groups or one_way")),
            (None, _) => Err(CaseError::impossible(place, "a partition has two groups at least, or one_way")),
        }
    }
}

/// Checks that each side of a partition has nodes, and that no node is named twice.
fn disjoint<'a>(place: &str, sides: impl IntoIterator<Item = &'a Vec<Name>>) -> Result<(), CaseError> {
    let mut seen = BTreeSet::new();
    for side in sides {
        if side.is_empty() {
            return Err(CaseError::impossible(
                place,
                "a side of the partition has no node; each has at least one",
            ));
        }
        if let Some(name) = side.iter().find(|name| !seen.insert(name.as_str())) {
            let problem = format!("{name:?} is twice in the partition; a node is on one side, or on none");
            return Err(CaseError::impossible(place, problem));
        }
    }
    Ok(())
}
