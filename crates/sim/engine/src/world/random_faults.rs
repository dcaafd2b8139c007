//! Random partitions, crashes and departures.
//!
//! A probability of p per chaos tick is drawn as the gap to the next event: uniform over `1..2/p` ticks,
//! which has the mean 1/p. This costs one draw per event, however long the gap is.

use crate::actor::Actor;
use crate::event::{CrashPoint, SimEvent};
use crate::faults::{CHAOS_TICK_MS, Rate};
use crate::network::PartitionSpec;
use crate::node_id::NodeId;
use crate::random::Stream;
use crate::world::event_log::LoggedEvent;
use crate::world::trace_digest::TraceEvent;
use crate::world::{StepReport, World};
use std::ops::Range;
use syncline_types::{Choice, SimDuration, SimTime};

impl<A: Actor> World<A> {
    /// Enables random faults, as the fault settings say, until `until`.
    pub fn set_chaos_until(&mut self, until: SimTime) {
        self.chaos_until = until;
        self.router.set_calm_from(until);
    }

    /// Schedules the first random faults of a node that has joined. Partitions begin with the second node.
    pub(super) fn schedule_random_faults(&mut self, node: NodeId) {
        self.schedule_random_crash(node);
        self.schedule_random_leave(node);
        self.schedule_random_host_faults(node);
        if !self.may_split && self.len() >= 2 {
            self.may_split = true;
            self.schedule_random_partition();
        }
    }

    /// When the next event of a random fault happens; `None` if never, or not before chaos ends.
    pub(super) fn gap(&mut self, stream: Stream, choice: Choice, rate: Rate) -> Option<SimTime> {
        let ticks = self.choices.between(stream, choice, 1, rate.longest_gap()?);
        let at = self.clock.now() + SimDuration::from_millis(CHAOS_TICK_MS).times(ticks);
        (at < self.chaos_until).then_some(at)
    }

    /// A random duration in a range of milliseconds, drawn in microseconds.
    pub(super) fn length(&mut self, stream: Stream, choice: Choice, range: &Range<u64>) -> SimDuration {
        let low = range.start * 1_000;
        let high = (range.end * 1_000).saturating_sub(1);
        SimDuration::from_micros(self.choices.between(stream, choice, low, high))
    }

    fn schedule_random_partition(&mut self) {
        let rate = self.faults.partition_probability;
        if let Some(at) = self.gap(Stream::Partition, Choice::PartitionGap, rate) {
            self.schedule(at, SimEvent::PartitionStart);
        }
    }

    fn schedule_random_crash(&mut self, node: NodeId) {
        let rate = self.faults.crash_probability;
        if let Some(at) = self.gap(Stream::Crash(node.0), Choice::CrashGap, rate) {
            self.schedule(at, SimEvent::ChanceCrash { node });
        }
    }

    fn schedule_random_leave(&mut self, node: NodeId) {
        let rate = self.faults.churn_probability;
        if let Some(at) = self.gap(Stream::Churn(node.0), Choice::ChurnGap, rate) {
            self.schedule(at, SimEvent::ChanceLeave { node });
        }
    }

    /// Assigns each node to one of `count` sides at random. Empty sides are removed, but two always remain.
    fn sides(&mut self, count: u64) -> Vec<Vec<NodeId>> {
        assert!(self.len() >= 2, "a partition needs two nodes");
        let mut sides = vec![Vec::new(); count as usize];
        for node in (0..self.len() as u32).map(NodeId) {
            let side = self.choices.below(Stream::Partition, Choice::PartitionSides, count);
            sides[side as usize].push(node);
        }
        // All nodes on one side would be no partition: the last node moves to a neighbouring side.
        let only = sides.iter().position(|side| side.len() == self.len());
        if let Some(only) = only
            && let Some(last) = sides.get_mut(only).and_then(Vec::pop)
            && let Some(other) = sides.get_mut(if only == 0 { 1 } else { only - 1 })
        {
            other.push(last);
        }
        sides.retain(|side| !side.is_empty());
        sides
    }

    /// Starts a random partition: into two sides, or, with the shares that the faults set, into more groups
    /// or in one direction only.
    pub(super) fn on_random_partition(&mut self) {
        let stream = Stream::Partition;
        let one_way = self.faults.links.one_way_share.as_ppm();
        let groups = self.faults.links.group_share.as_ppm();
        // With one kind of partition there is nothing to draw: the settings added later must not move the
        // draws of older ones.
        let any = one_way + groups > 0;
        let kind = if any { self.choices.below(stream, Choice::PartitionKind, 1_000_000) } else { 1_000_000 };
        let is_one_way = kind < u64::from(one_way);
        let spec = if !is_one_way && kind < u64::from(one_way + groups) {
            let groups = 3 + self.choices.below(stream, Choice::PartitionGroups, 3);
            PartitionSpec::Groups(self.sides(groups))
        } else {
            let sides = self.sides(2);
            assert!(sides.len() == 2, "all nodes on one side is no partition");
            match <[Vec<NodeId>; 2]>::try_from(sides) {
                Ok([from, to]) if is_one_way => PartitionSpec::OneWayGroups { from, to },
                Ok(sides) => PartitionSpec::Groups(sides.into()),
                Err(sides) => PartitionSpec::Groups(sides),
            }
        };
        let range = self.faults.partition_duration_ms.clone();
        let lasting = self.length(stream, Choice::PartitionLength, &range);
        self.log_event(|| LoggedEvent::Partition { spec: spec.clone(), lasting: Some(lasting) });
        self.split(spec, Some(lasting));
        self.schedule_random_partition();
    }

    /// Starts a scripted partition.
    pub(super) fn on_partition(
        &mut self,
        spec: PartitionSpec,
        lasting: Option<SimDuration>,
    ) -> StepReport<A::Notice> {
        self.note(TraceEvent::ScriptedPartition, 0, 0);
        self.split(spec, lasting);
        StepReport::at(None)
    }

    fn split(&mut self, spec: PartitionSpec, lasting: Option<SimDuration>) {
        let end = lasting.map(|lasting| self.clock.now() + lasting);
        let partition = self.router.partitions_mut().add(spec, self.clock.now(), end);
        if let Some(end) = end {
            self.schedule(end, SimEvent::PartitionEnd { partition });
        }
    }

    /// Crashes a node at a random point of its work.
    pub(super) fn on_random_crash(&mut self, node: NodeId) -> StepReport<A::Notice> {
        let stream = Stream::Crash(node.0);
        let point = match self.choices.below(stream, Choice::CrashGap, 5) {
            0 => CrashPoint::Now,
            1 => CrashPoint::BeforeCommit,
            2 => CrashPoint::AfterCommit,
            3 => CrashPoint::AfterFirstSend,
            _ => CrashPoint::AfterAllSends,
        };
        let range = self.faults.restart_delay_ms.clone();
        let down_for = self.length(stream, Choice::CrashLength, &range);
        let report = self.on_crash(node, point, Some(down_for), true);
        // Every random crash schedules the next, even one without effect: the chain ends with chaos.
        self.schedule_random_crash(node);
        report
    }

    /// Takes a node's links away for a random time.
    pub(super) fn on_random_leave(&mut self, node: NodeId) -> StepReport<A::Notice> {
        let range = self.faults.away_duration_ms.clone();
        let away_for = self.length(Stream::Churn(node.0), Choice::ChurnLength, &range);
        let leaves = self.slot(node).is_some_and(|slot| slot.takes_part() && !slot.away);
        let report = self.on_leave(node, Some(away_for), true);
        // A crash in the step in which the node learns of it is in the log by now, and has to stand before.
        if leaves {
            self.log_event(|| LoggedEvent::Leave { node, away_for: Some(away_for) });
        }
        self.schedule_random_leave(node);
        report
    }
}
