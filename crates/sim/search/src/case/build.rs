//! From a case to a run.

use crate::case::entities::Entities;
use crate::case::error::CaseError;
use crate::case::script_line::{Asked, Crash, Leave, Partition, What, Write};
use crate::case::{Beginning, Case, Name, Size};
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

/// Nodes that a named scenario may have.
const MOST_NODES: usize = 10_000;
/// Entities of all nodes together that one machine can be expected to hold.
const MOST_ENTITIES: usize = 20_000_000;

/// An event and its place in the run.
pub(crate) type Timed<Op> = (ScriptTime, SimEvent<Op>);

/// The nodes of a case by name, in the order of joining.
pub(crate) struct Names(pub(crate) Vec<Name>);

impl Names {
    pub(crate) fn resolve(&self, place: &str, name: &Name) -> Result<NodeId, CaseError> {
        self.0.iter().position(|own| own == name).map(|at| NodeId(at as u32)).ok_or_else(|| {
            CaseError::NoNode { place: place.to_owned(), name: name.clone(), nodes: self.0.clone() }
        })
    }
}

impl Case {
    /// The run, about to begin.
    ///
    /// # Errors
    ///
    /// What makes no sense in the case.
    pub fn build(&self) -> Result<SimRuntime, CaseError> {
        self.assemble(false)
    }

    /// The run, about to begin; it may keep what chance does.
    pub(crate) fn assemble(&self, keeping: bool) -> Result<SimRuntime, CaseError> {
        let scenario = self.beginning()?;
        let names = self.names(&scenario)?;
        self.check_hostile(&scenario)?;
        self.check_contexts()?;
        let others = self.beginnings_after(&scenario)?;
        let mut rt = SimRuntime::try_with_config(self.config())?;
        if self.tells_of_hostile() {
            rt.use_own_keys();
        }
        rt.apply_scenarios(scenario, others);
        for (node, told) in (0..).map(NodeId).zip(&self.nodes) {
            for context in 0..self.contexts {
                for write in told.writes_in(context) {
                    let write = workload::Write::from(write.clone()).in_context(context);
                    rt.write_before_start(node, &write);
                }
            }
        }
        self.make_hostile(&mut rt);
        rt.world.set_event_log(keeping.then(Vec::new));
        rt.apply_workload(&self.workload);
        let event_log = rt.world.take_event_log();
        for (at, name) in self.joiners() {
            rt.join_at(at, name.as_str());
        }
        for (cue, event) in self.events(&names, Self::written)? {
            rt.world.schedule_scripted(cue, event);
        }
        rt.world.set_event_log(event_log);
        for line in &self.rules {
            rt.add_rule(line.rule(|place, name| names.resolve(place, name))?);
        }
        self.script_lies(&mut rt, &names)?;
        rt.world.set_frame_script(self.book(&names, keeping)?);
        Ok(rt)
    }

    /// What is done to single frames, if anything is or if that is to be kept.
    pub(crate) fn book(
        &self,
        names: &Names,
        keeping: bool,
    ) -> Result<Option<Box<FrameFaultScript>>, CaseError> {
        let mut told = Vec::new();
        for frame in &self.frames {
            told.extend(frame.faults(|place, name| names.resolve(place, name))?);
        }
        let book = FrameFaultScript::new(told);
        let usual = SimDuration::from_millis(self.faults.base_latency_ms);
        Ok(match keeping {
            true => Some(Box::new(book.recording(usual))),
            false => (!self.frames.is_empty()).then(|| Box::new(book)),
        })
    }

    /// Whether it can be built, without building what it begins with.
    ///
    /// # Errors
    ///
    /// As [`Case::build`].
    pub fn check(&self) -> Result<(), CaseError> {
        self.faults.validate()?;
        self.scenario.as_ref().map_or(Ok(()), Beginning::check)?;
        // A named scenario may be large; which nodes it has does not depend on how many entities they have.
        let small = self.scenario.clone().map(|beginning| Beginning { entities: 0, ..beginning });
        let small = Self { scenario: small, ..self.clone() };
        let scenario = small.beginning()?;
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
            max_time: self.max_time,
            max_events: self.max_events,
            faults: self.faults.clone(),
            contexts: self.contexts,
            topology: self.topology,
            chaos_for: self.chaos_for,
            calm_after: self.calm_after,
            delta_retention: self.delta_retention,
            buffer_capacity: self.buffer_capacity,
            selection: self.selection,
            protocol: self.protocol,
            forget_tombstones: self.forget_tombstones,
            ..SimConfig::with_seed(self.seed)
        }
    }

    /// Where the run begins.
    pub(crate) fn beginning(&self) -> Result<Scenario, CaseError> {
        let wrong = |found| Err(CaseError::Beginning { found });
        match (&self.scenario, self.nodes.is_empty()) {
            (Some(_), false) => wrong("both"),
            (None, true) => wrong("neither"),
            (Some(_), true) if !self.shared.is_empty() => {
                wrong("a scenario, and `shared`, which goes with nodes")
            }
            (Some(beginning), true) => {
                let named = NAMED.iter().find(|named| named.name == beginning.name);
                let named = named.ok_or_else(|| CaseError::NoScenario { name: beginning.name.clone() })?;
                beginning.check()?;
                Ok((named.build)(beginning.nodes, beginning.entities, self.seed))
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
                        // They may be of several operations, and are made once all nodes are there.
                        writes: Vec::new(),
                    });
                }
                Ok(scenario)
            }
        }
    }

    /// What the run begins with in the contexts after the first. A scenario by its name is drawn anew for each.
    pub(crate) fn beginnings_after(&self, first: &Scenario) -> Result<Vec<Scenario>, CaseError> {
        let of_context = |context: usize| {
            if self.scenario.is_some() {
                let drawn = Self { seed: self.seed.wrapping_add(context as u64), ..self.clone() };
                return Ok(drawn.beginning()?.in_context(context));
            }
            let mut nodes = first.nodes.clone();
            for (seed, node) in nodes.iter_mut().zip(&self.nodes) {
                let held = context.checked_sub(1).and_then(|other| node.contexts.get(other));
                let entities = held.map_or(&[][..], |held| &held.entities);
                seed.own = entities.iter().flat_map(|some| some.actions(author_in(context))).collect();
                seed.has_shared = false;
            }
            Ok(Scenario { shared: Vec::new(), nodes, by_table: first.by_table })
        };
        (1..self.contexts).map(of_context).collect()
    }

    /// Whether there are as many contexts as nodes may keep, and everything that names one names one of these.
    pub(super) fn check_contexts(&self) -> Result<(), CaseError> {
        let kept = self.contexts;
        self.config().validate()?;
        let impossible = |place: String, problem: String| Err(CaseError::Impossible { place, problem });
        let entities = self.scenario.as_ref().map_or(0, |beginning| beginning.nodes * beginning.entities);
        if entities * kept > MOST_ENTITIES {
            return impossible(
                "contexts".into(),
                format!("{entities} entities in each of {kept}; the limit is {MOST_ENTITIES} in all"),
            );
        }
        if let Some(node) = self.nodes.iter().find(|node| node.contexts.len() >= kept) {
            let told = node.contexts.len();
            return impossible(
                format!("node {}", node.name),
                format!("it tells of {told} contexts after the first; each node keeps {kept} in all"),
            );
        }
        for line in &self.script {
            if let What::Write(Write { context, .. }) = line.what
                && context >= kept
            {
                return impossible(
                    format!("script, at {}", line.at),
                    format!("a write into context {context}; each node keeps {kept}, numbered from 0"),
                );
            }
        }
        Ok(())
    }

    pub(crate) fn names(&self, scenario: &Scenario) -> Result<Names, CaseError> {
        let mut names: Vec<Name> = scenario.nodes.iter().map(|node| node.name.clone()).collect();
        names.extend(self.joiners().map(|(_, name)| name.clone()));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        let mut seen = BTreeSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(CaseError::TwoOfOneName { name: name.clone() }),
            None => Ok(Names(names)),
        }
    }

    pub(crate) fn joiners(&self) -> impl Iterator<Item = (SimTime, &Name)> {
        self.script.iter().filter_map(|line| match &line.what {
            What::Join(name) => Some((line.at, name)),
            _ => None,
        })
    }

    /// What a replica of ours is asked for.
    pub(super) fn written(place: &str, what: &What) -> Result<workload::Write, CaseError> {
        match what {
            What::Write(Write { ops, wraps, context, .. }) => {
                Ok(workload::Write { operations: ops.clone(), wraps: *wraps, context: *context })
            }
            _ => Err(CaseError::Impossible {
                place: place.to_owned(),
                problem: "an `op` is for a replica of one's own; ours take a `write`".into(),
            }),
        }
    }

    /// What the script schedules, but for those who join. `ask` reads what a replica is asked for.
    pub(crate) fn events<Op>(
        &self,
        names: &Names,
        ask: impl Fn(&str, &What) -> Result<Op, CaseError>,
    ) -> Result<Vec<Timed<Op>>, CaseError> {
        let mut events = Vec::new();
        for line in &self.script {
            let place = format!("script, at {}", line.at);
            let whom = |name: &Name| names.resolve(&place, name);
            events.push((
                ScriptTime { at: line.at, after: line.after },
                match &line.what {
                    What::Write(Write { node, .. }) | What::Op(Asked { node, .. }) => {
                        SimEvent::Op { node: whom(node)?, op: ask(&place, &line.what)? }
                    }
                    What::Crash(Crash { node, point, down_for }) => {
                        SimEvent::NodeCrash { node: whom(node)?, point: *point, down_for: *down_for }
                    }
                    What::Restart(node) => SimEvent::NodeRestart { node: whom(node)?, crash: None },
                    What::Leave(Leave { node, away_for }) => {
                        SimEvent::NodeLeave { node: whom(node)?, away_for: *away_for }
                    }
                    What::Return(node) => SimEvent::NodeReturn { node: whom(node)?, departure: None },
                    What::Partition(partition) => {
                        let spec = partition.spec(&place, names)?;
                        SimEvent::PartitionAt { spec: Box::new(spec), lasting: partition.lasting }
                    }
                    What::Lie(lying) => {
                        whom(&lying.node)?;
                        continue;
                    }
                    What::Join(_) => continue,
                },
            ));
        }
        Ok(events)
    }

    /// What it holds of each thing that can bring a failure about.
    pub fn size(&self) -> Size {
        let mut size = Size { nodes: self.nodes.len(), contexts: self.contexts, ..Size::default() };
        if let Some(beginning) = &self.scenario {
            let entities = beginning.nodes * beginning.entities * self.contexts;
            (size.nodes, size.entities) = (beginning.nodes, entities);
        }
        size.entities += self.shared.len();
        for node in &self.nodes {
            size.entities += node.entities.len();
            size.writes += node.writes.len();
            for held in &node.contexts {
                size.entities += held.entities.len();
                size.writes += held.writes.len();
            }
            size.faults += node.hostile.iter().count();
        }
        size.writes += self.workload.writes;
        size.writes += self.script.iter().filter(|line| line.asks()).count();
        let other = |line: &&crate::case::script_line::Happening| !line.asks() && !line.mends();
        size.faults += self.rules.len() + self.script.iter().filter(other).count() + self.kinds_of_chance();
        size.frames = self.frames.len();
        size
    }

    /// How many settings of the faults, but for the latency, are not off.
    fn kinds_of_chance(&self) -> usize {
        let off = FaultConfig::none().with_latency(self.faults.base_latency_ms, 0);
        let settings = |faults: &FaultConfig| toml::Table::try_from(faults).unwrap_or_default();
        let off = settings(&off);
        let ranges = ["partition_duration_ms", "restart_delay_ms", "away_duration_ms", "join_ms"];
        let mut on = settings(&self.faults);
        if self.faults.hostile.nodes == 0 {
            // How often nobody lies is nothing to count.
            on.remove("hostile");
        }
        on.iter()
            .filter(|(key, value)| off.get(*key) != Some(value) && !ranges.contains(&key.as_str()))
            .count()
    }
}

impl Beginning {
    fn check(&self) -> Result<(), CaseError> {
        let impossible = |problem: String| Err(CaseError::Impossible { place: "scenario".into(), problem });
        if !(1..=MOST_NODES).contains(&self.nodes) {
            return impossible(format!("{} nodes; there are from 1 to {MOST_NODES}", self.nodes));
        }
        match self.nodes.checked_mul(self.entities) {
            Some(all) if all <= MOST_ENTITIES => Ok(()),
            _ => impossible(format!(
                "{} nodes with {} entities each; the limit is {MOST_ENTITIES} in all",
                self.nodes, self.entities
            )),
        }
    }
}

impl Partition {
    fn spec(&self, place: &str, names: &Names) -> Result<PartitionSpec, CaseError> {
        let wrong =
            |problem: &str| CaseError::Impossible { place: place.to_owned(), problem: problem.into() };
        match (&self.one_way, self.groups.len()) {
            (Some((from, to)), 0) => {
                let resolve = |side: &[Name]| {
                    side.iter().map(|name| names.resolve(place, name)).collect::<Result<_, _>>()
                };
                Ok(PartitionSpec::OneWayGroups { from: resolve(from)?, to: resolve(to)? })
            }
            (None, 2..) => {
                let resolve =
                    |group: &Vec<Name>| group.iter().map(|name| names.resolve(place, name)).collect();
                Ok(PartitionSpec::Groups(self.groups.iter().map(resolve).collect::<Result<_, _>>()?))
            }
            (Some(_), _) => Err(wrong("a partition has either groups or one_way")),
            (None, _) => Err(wrong("a partition has two groups at least, or one_way")),
        }
    }
}
