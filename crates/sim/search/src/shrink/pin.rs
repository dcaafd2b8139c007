//! From a case that chance decides to one in which every cause is a line of its own.

use crate::case::{
    Case, CaseError, Crash, Ended, Entities, Frame, Happening, Leave, Name, Node, Partition, What, Write,
};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::scenarios::author_in;
use sync_sim_cluster::workload::{self, Workload};
use sync_sim_engine::faults::{HostFaults, Rate};
use sync_sim_engine::network::{FrameFault, FrameName, NetworkRouter, PartitionSpec};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::LoggedEvent;
use syncline_sync::Selection;

/// What of a case was left to chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// What happens to nodes and what is written.
    Script,
    /// What links do to frames.
    Frames,
}

impl Case {
    /// Runs it, and gives a case that does the same without chance: the nodes with what they begin with, all
    /// writes, crashes, partitions, departures and joins with their times, and what links did to each frame
    /// that they did not simply carry. What nodes themselves leave to chance is still decided by the seed.
    ///
    /// Where the run cannot be had so, because of chance that is kept nowhere, less of it is made explicit.
    ///
    /// # Errors
    ///
    /// As [`Case::build`].
    pub fn pinned(&self) -> Result<Self, CaseError> {
        let mut rt = self.assemble(true)?;
        let ended = Ended::of(&mut rt);
        let beginning = self.with_beginning()?;
        let whole = beginning.clone().script_of(&rt).frames_of(&rt);
        for pinned in [whole, beginning.clone().script_of(&rt), beginning] {
            if pinned.run().is_ok_and(|again| again.class == ended.class) {
                return Ok(Self { found: Some(ended.class), ..pinned });
            }
        }
        Ok(Self { found: Some(ended.class), ..self.clone() })
    }

    /// The same, with its nodes told one by one.
    fn with_beginning(&self) -> Result<Self, CaseError> {
        if self.scenario.is_none() {
            return Ok(self.clone());
        }
        let scenario = self.beginning()?;
        let Some(shared) = Entities::of(&scenario.shared, 0) else { return Ok(self.clone()) };
        let mut nodes = Vec::new();
        for (at, (seed, by)) in scenario.nodes.iter().zip(1..).enumerate() {
            let Some(entities) = Entities::of(&seed.own, by) else { return Ok(self.clone()) };
            let writes = seed.writes.iter().map(|operation| vec![operation.clone()]).collect();
            let (name, shared) = (seed.name.clone(), seed.has_shared || shared.is_empty());
            let (hostile, outsider) =
                self.nodes.get(at).map(|node| (node.hostile, node.outsider)).unwrap_or_default();
            nodes.push(Node { name, shared, entities, writes, contexts: Vec::new(), hostile, outsider });
        }
        for (scenario, context) in self.beginnings_after(&scenario)?.iter().zip(1..) {
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

    /// The same, with what happened in a run as its script.
    fn script_of(mut self, rt: &SimRuntime) -> Self {
        // Of what the script says, all that came to happen was kept, but for those who join.
        self.script.retain(|line| matches!(line.what, What::Join(_)));
        for (cue, happened) in rt.world.event_log() {
            if let LoggedEvent::Early { node, op } = happened {
                let name = rt.name(*node);
                if let Some(node) = self.nodes.iter_mut().find(|node| node.name == name) {
                    node.writes_in_mut(op.context).push(op.operations.clone());
                }
            } else if let Some(what) = What::of_run(happened, rt) {
                self.script.push(Happening { at: cue.at, after: cue.after, what });
            }
        }
        self.scripted()
    }

    /// The same, with a script that says all that happens to nodes, and what they are asked for.
    pub(crate) fn scripted(mut self) -> Self {
        self.workload = Workload { writes: 0, ..Workload::default() };
        self.without_chance(Part::Script)
    }

    /// The same, with what links did in a run frame by frame.
    pub(crate) fn frames_of(self, rt: &SimRuntime) -> Self {
        self.frames_in(rt.world.router(), |node| rt.name(node))
    }

    /// The same, with what the links of a network did.
    pub(crate) fn frames_in(mut self, router: &NetworkRouter, name: impl Fn(NodeId) -> Name) -> Self {
        let kept = router.recorded_frame_faults().iter();
        let line = |(frame, fault): &(FrameName, FrameFault)| {
            Frame::of(name(frame.from), name(frame.to), frame.ordinal, *fault)
        };
        self.frames = kept.map(line).collect();
        self.without_chance(Part::Frames)
    }

    /// The same, with nothing left to chance of what happens to nodes.
    pub(crate) fn without_script_chance(self) -> Self {
        self.without_chance(Part::Script)
    }

    /// The same, with nothing left to chance of what links do to frames.
    pub(super) fn without_frame_chance(self) -> Self {
        self.without_chance(Part::Frames)
    }

    fn without_chance(mut self, part: Part) -> Self {
        let (faults, off) = (&mut self.faults, Rate::ZERO);
        match part {
            Part::Script => {
                (faults.partition_probability, faults.partition_duration_ms) = (off, 0..0);
                faults.crash_probability = off;
                // A node whose disk failed is down for as long.
                if faults.hosts == HostFaults::none() {
                    faults.restart_delay_ms = 0..0;
                }
                (faults.churn_probability, faults.away_duration_ms) = (off, 0..0);
                (faults.late_joiners, faults.join_ms) = (0, 0..0);
                faults.write_during_sync_rate = off;
            }
            Part::Frames => {
                (faults.latency_jitter_ms, faults.reorder_window_ms) = (0, 0);
                (faults.message_loss_rate, faults.duplicate_rate) = (off, off);
                (faults.corruption_rate, faults.slow_node_permille) = (off, 1_000);
            }
        }
        self
    }
}

impl What {
    /// As a line of a script, if it happened in the run.
    pub(crate) fn of_run(happened: &LoggedEvent<workload::Write>, rt: &SimRuntime) -> Option<Self> {
        let write = |node, op: &workload::Write| {
            Self::Write(Write { node, ops: op.operations.clone(), wraps: op.wraps, context: op.context })
        };
        Self::of(happened, |node| rt.name(node), write)
    }

    /// As a line of a script, with names for nodes and words for what is asked for.
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
