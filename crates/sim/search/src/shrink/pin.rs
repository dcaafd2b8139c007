//! Pinning: from a case with random faults to a case in which every cause is a line of its own.
//!
//! A run with recording enabled logs everything that randomness decided: writes, crashes, partitions,
//! departures and joins with their times and places, and the fate of each frame. The pinned case has a line
//! for each of them and no random faults, so that lines can be removed one by one without moving what
//! follows: with randomness, removing one fault shifts all later draws.

use crate::case::{
    Case, CaseError, CaseNode, Crash, Entities, FrameLine, HostLine, Leave, Name, NameMember, Partition,
    RunResult, ScriptAction, ScriptLine, ScriptedWrite, run_while,
};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::scenarios::author_in;
use sync_sim_cluster::workload::{self, Workload};
use sync_sim_engine::faults::{HostFaults, Rate};
use sync_sim_engine::network::{FrameFault, FrameName, NetworkRouter, PartitionSpec};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::LoggedEvent;
use syncline_sync::Selection;
use syncline_types::SimDuration;

/// The kinds of random decisions that are replaced by lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RandomPart {
    /// Events of nodes: crashes, partitions, departures, joins and writes.
    Script,
    /// Faults of frames on links.
    Frames,
}

impl Case {
    /// Runs the case, and returns a case that repeats the run without randomness: the nodes with their
    /// initial entities, all events with their times, and the fault of each frame that was not simply
    /// delivered. What nodes decide at random themselves, such as backoff, still depends on the seed.
    ///
    /// A run with random decisions that are not recorded, such as failing disks, may not repeat exactly.
    /// Then fewer kinds are replaced by lines: frames stay random, or everything but the initial state
    /// does.
    ///
    /// # Errors
    ///
    /// As [`Case::build`].
    pub fn pinned(&self) -> Result<Self, CaseError> {
        self.pinned_while(&mut || true)
    }

    /// As [`Case::pinned`], as long as `go_on` returns true. It is called regularly during the runs.
    ///
    /// # Errors
    ///
    /// As [`Case::build`], and [`CaseError::Stopped`] if `go_on` returned false.
    pub fn pinned_while(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Self, CaseError> {
        self.pinned_and_run(go_on).map(|(pinned, _)| pinned)
    }

    /// As [`Case::pinned_while`], with the result of the pinned case.
    pub(super) fn pinned_and_run(
        &self,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Self, RunResult), CaseError> {
        let mut rt = match self.assemble(true) {
            // Nothing random happens before the run: the case is pinned as it is.
            Err(CaseError::InitialWrite { .. }) => {
                let ended = self.run_while(go_on)?;
                return Ok((Self { found: Some(ended.class.clone()), ..self.clone() }, ended));
            }
            built => built?,
        };
        let ended = run_while(&mut rt, go_on)?;
        let explicit = self.with_explicit_nodes()?;
        let whole = explicit.clone().with_script_of(&rt).frames_of(&rt);
        // From the most to the least explicit: the first that fails in the same class will do.
        for pinned in [whole, explicit.clone().with_script_of(&rt), explicit] {
            match pinned.run_while(go_on) {
                Err(CaseError::Stopped) => return Err(CaseError::Stopped),
                Ok(again) if again.class == ended.class => {
                    return Ok((Self { found: Some(ended.class), ..pinned }, again));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok((Self { found: Some(ended.class.clone()), ..self.clone() }, ended))
    }

    /// The same case with explicit nodes instead of a named scenario, or unchanged if an entity of the
    /// scenario has no text form.
    fn with_explicit_nodes(&self) -> Result<Self, CaseError> {
        if self.scenario.is_none() {
            return Ok(self.clone());
        }
        let scenario = self.initial_scenario()?;
        let Some(shared) = Entities::of(&scenario.shared, 0) else { return Ok(self.clone()) };
        let mut nodes = Vec::new();
        for (at, (seed, by)) in scenario.nodes.iter().zip(1..).enumerate() {
            let Some(entities) = Entities::of(&seed.own, by) else { return Ok(self.clone()) };
            let writes = seed.writes.iter().map(|operation| vec![operation.clone()]).collect();
            let name = seed.name.clone();
            let shared = seed.has_shared || shared.is_empty();
            let (hostile, outsider) =
                self.nodes.get(at).map(|node| (node.hostile, node.outsider)).unwrap_or_default();
            nodes.push(CaseNode { name, shared, entities, writes, contexts: Vec::new(), hostile, outsider });
        }
        for (scenario, context) in self.scenarios_of_later_contexts(&scenario)?.iter().zip(1..) {
            for (node, seed) in nodes.iter_mut().zip(&scenario.nodes) {
                let Some(entities) = Entities::of(&seed.own, author_in(context)) else {
                    return Ok(self.clone());
                };
                *node.entities_in_mut(context) = entities;
                let writes = seed.writes.iter().map(|operation| vec![operation.clone()]);
                node.writes_in_mut(context).extend(writes);
            }
        }
        let selection = if scenario.by_table { Selection::Table } else { self.selection };
        let whole = Self { scenario: None, shared, nodes, selection, ..self.clone() };
        Ok(whole.with_hostile_by_name())
    }

    /// The same case with the recorded events of a run as its script.
    fn with_script_of(mut self, rt: &SimRuntime) -> Self {
        // The events of the script that happened are in the record; only joins are not.
        self.script.retain(|line| matches!(line.what, ScriptAction::Join(_)));
        // The log is in the order of events. Together with `after`, which counts the events before a line in
        // its instant, each line has exactly the position of its event.
        for (time, happened) in rt.world().event_log() {
            if let LoggedEvent::Early { node, op } = happened {
                let name = rt.name(*node);
                // A node of a scenario whose entities have no text form is not listed; its writes stay random.
                if let Some(node) = self.nodes.iter_mut().find(|node| node.name == name) {
                    node.writes_in_mut(op.context).push(op.operations.clone());
                }
            } else if let Some(what) = ScriptAction::of_run(happened, rt) {
                self.script.push(ScriptLine { at: time.at, after: time.after, what });
            }
        }
        // Joins, scripted or random, spread the namings; the script has them now.
        self.script.retain(|line| !matches!(line.what, ScriptAction::Name(_)));
        for naming in rt.namings() {
            let name = NameMember { joiner: rt.name(naming.joiner), by: vec![rt.name(naming.by)] };
            self.script.push(ScriptLine { at: naming.at, after: 0, what: ScriptAction::Name(name) });
        }
        self.naming_spread = SimDuration::ZERO;
        self.scripted()
    }

    /// The same case without random events of nodes and random writes: the script has them all.
    pub(crate) fn scripted(mut self) -> Self {
        self.workload = Workload { writes: 0, ..Workload::default() };
        self.without_random(RandomPart::Script)
    }

    /// The same case with the recorded faults of single frames of a run.
    pub(crate) fn frames_of(self, rt: &SimRuntime) -> Self {
        self.frames_in(rt.world().router(), |node| rt.name(node))
    }

    /// The same case with the recorded faults of single frames of a network.
    pub(crate) fn frames_in(mut self, router: &NetworkRouter, name: impl Fn(NodeId) -> Name) -> Self {
        let recorded = router.recorded_frame_faults().iter();
        let line = |(frame, fault): &(FrameName, FrameFault)| {
            FrameLine::of(name(frame.from), name(frame.to), frame.ordinal, *fault)
        };
        self.frames = recorded.map(line).collect();
        self.without_random(RandomPart::Frames)
    }

    /// The same case without random events of nodes.
    pub(crate) fn without_random_events(self) -> Self {
        self.without_random(RandomPart::Script)
    }

    /// The same case without random faults of frames.
    pub(super) fn without_random_frame_faults(self) -> Self {
        self.without_random(RandomPart::Frames)
    }

    /// Sets the random faults of one kind to their off values.
    fn without_random(mut self, part: RandomPart) -> Self {
        let faults = &mut self.faults;
        let off = Rate::ZERO;
        match part {
            RandomPart::Script => {
                faults.partition_probability = off;
                faults.partition_duration_ms = 0..0;
                faults.crash_probability = off;
                // The delay stays if hosts have faults: it is also the downtime of a node whose disk
                // failed.
                if faults.hosts == HostFaults::none() {
                    faults.restart_delay_ms = 0..0;
                }
                faults.churn_probability = off;
                faults.away_duration_ms = 0..0;
                faults.late_joiners = 0;
                faults.join_ms = 0..0;
                faults.write_during_sync_rate = off;
                let hosts = &mut faults.hosts;
                hosts.restore_probability = off;
                hosts.clone_probability = off;
                hosts.lost_disk_probability = off;
                hosts.clock_ahead_probability = off;
                hosts.clock_ahead_ms = 0..0;
                hosts.clock_ahead_for_ms = 0..0;
            }
            RandomPart::Frames => {
                faults.latency_jitter_ms = 0;
                faults.reorder_window_ms = 0;
                faults.message_loss_rate = off;
                faults.duplicate_rate = off;
                faults.corruption_rate = off;
                faults.slow_node_permille = 1_000;
            }
        }
        self
    }
}

impl ScriptAction {
    /// The script line of a recorded event of a built-in replica, or `None` if the event is no line of a
    /// script.
    pub(crate) fn of_run(happened: &LoggedEvent<workload::Write>, rt: &SimRuntime) -> Option<Self> {
        let write = |node, op: &workload::Write| {
            Self::Write(ScriptedWrite {
                node,
                ops: op.operations.clone(),
                wraps: op.wraps,
                context: op.context,
            })
        };
        Self::of(happened, |node| rt.name(node), write)
    }

    /// The script line of a recorded event. `name` gives the names of nodes, and `ask` the line of an
    /// operation.
    pub(crate) fn of<Op>(
        happened: &LoggedEvent<Op>,
        name: impl Fn(NodeId) -> Name,
        ask: impl FnOnce(Name, &Op) -> Self,
    ) -> Option<Self> {
        let name = |node: &NodeId| name(*node);
        Some(match happened {
            LoggedEvent::Early { .. } => return None,
            LoggedEvent::Op { node, op } => ask(name(node), op),
            LoggedEvent::Crash { node, point, down_for } => {
                Self::Crash(Crash { node: name(node), point: *point, down_for: *down_for })
            }
            LoggedEvent::Leave { node, away_for } => {
                Self::Leave(Leave { node: name(node), away_for: *away_for })
            }
            LoggedEvent::Host { node, what } => {
                Self::Host(HostLine::of(name(node), *what, |node| name(&node))?)
            }
            LoggedEvent::Restart { node } => Self::Restart(name(node)),
            LoggedEvent::Return { node } => Self::Return(name(node)),
            LoggedEvent::Join { node } => Self::Join(name(node)),
            LoggedEvent::Partition { spec, lasting } => {
                let mut partition = Partition { lasting: *lasting, ..Partition::default() };
                match spec {
                    PartitionSpec::Bidirectional(a, b) => {
                        partition.groups = vec![vec![name(a)], vec![name(b)]];
                    }
                    PartitionSpec::OneWay { from, to } => {
                        partition.one_way = Some((vec![name(from)], vec![name(to)]));
                    }
                    PartitionSpec::OneWayGroups { from, to } => {
                        let names = |nodes: &[NodeId]| nodes.iter().map(name).collect();
                        partition.one_way = Some((names(from), names(to)));
                    }
                    PartitionSpec::Groups(groups) => {
                        partition.groups =
                            groups.iter().map(|group| group.iter().map(name).collect()).collect();
                    }
                }
                Self::Partition(partition)
            }
        })
    }
}
