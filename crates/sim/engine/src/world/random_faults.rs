//! Partitions, crashes and departures that happen by chance.
//!
//! A chance of p per chaos tick is drawn as the gap to the next event: uniform over `1..2/p` ticks,
//! which has the mean 1/p. One draw an event, however long nothing happens.

use crate::actor::Actor;
use crate::event::{CrashPoint, SimEvent};
use crate::faults::{CHAOS_TICK_MS, Rate};
use crate::network::PartitionSpec;
use crate::node_id::NodeId;
use crate::random::Stream;
use crate::world::event_log::Happened;
use crate::world::{Stepped, World};
use std::ops::Range;
use syncline_types::{Choice, SimDuration, SimTime};

impl<A: Actor> World<A> {
    /// Lets partitions, crashes and departures happen by chance, as the faults say, until `until`.
    pub fn unleash(&mut self, until: SimTime) {
        self.chaos_until = until;
        self.router.calm(until);
    }

    /// A node has joined: it may crash or leave, and if it is the second, the network may split.
    pub(super) fn expose(&mut self, node: NodeId) {
        self.schedule_chance_crash(node);
        self.schedule_chance_leave(node);
        self.expose_host(node);
        if !self.may_split && self.len() >= 2 {
            self.may_split = true;
            self.schedule_chance_partition();
        }
    }

    pub(super) fn gap(&mut self, stream: Stream, choice: Choice, rate: Rate) -> Option<SimTime> {
        let ticks = self.choices.between(stream, choice, 1, rate.longest_gap()?);
        let at = self.clock.now() + SimDuration::from_millis(CHAOS_TICK_MS).times(ticks);
        (at < self.chaos_until).then_some(at)
    }

    pub(super) fn length(&mut self, stream: Stream, choice: Choice, range: &Range<u64>) -> SimDuration {
        let (low, high) = (range.start * 1_000, (range.end * 1_000).saturating_sub(1));
        SimDuration::from_micros(self.choices.between(stream, choice, low, high))
    }

    fn schedule_chance_partition(&mut self) {
        let rate = self.router.faults().partition_probability;
        if let Some(at) = self.gap(Stream::Partition, Choice::PartitionGap, rate) {
            self.schedule(at, SimEvent::PartitionStart);
        }
    }

    fn schedule_chance_crash(&mut self, node: NodeId) {
        let rate = self.router.faults().crash_probability;
        if let Some(at) = self.gap(Stream::Crash(node.0), Choice::CrashGap, rate) {
            self.schedule(at, SimEvent::ChanceCrash { node });
        }
    }

    fn schedule_chance_leave(&mut self, node: NodeId) {
        let rate = self.router.faults().churn_probability;
        if let Some(at) = self.gap(Stream::Churn(node.0), Choice::ChurnGap, rate) {
            self.schedule(at, SimEvent::ChanceLeave { node });
        }
    }

    /// Puts each node on one of so many sides. Sides without a node are left out, as long as there are two.
    fn sides(&mut self, count: u64) -> Vec<Vec<NodeId>> {
        let mut sides = vec![Vec::new(); count as usize];
        for node in (0..self.len() as u32).map(NodeId) {
            let side = self.choices.below(Stream::Partition, Choice::PartitionSides, count);
            if let Some(side) = sides.get_mut(side as usize) {
                side.push(node);
            }
        }
        // All on one side is no split: the last goes to the side after it, or before it.
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

    /// Splits the network at random: in two, or as often as the faults say into more groups, or in one
    /// direction only.
    pub(super) fn on_chance_partition(&mut self) {
        let stream = Stream::Partition;
        let links = &self.router.faults().links;
        let (one_way, groups) = (links.one_way_share.as_ppm(), links.group_share.as_ppm());
        // Where there is but one kind, none is drawn.
        let any = one_way + groups > 0;
        let kind = if any { self.choices.below(stream, Choice::PartitionKind, 1_000_000) } else { 1_000_000 };
        let is_one_way = kind < u64::from(one_way);
        let spec = if !is_one_way && kind < u64::from(one_way + groups) {
            let groups = 3 + self.choices.below(stream, Choice::PartitionGroups, 3);
            PartitionSpec::Groups(self.sides(groups))
        } else {
            let sides = self.sides(2);
            match <[Vec<NodeId>; 2]>::try_from(sides) {
                Ok([from, to]) if is_one_way => PartitionSpec::OneWayGroups { from, to },
                Ok(sides) => PartitionSpec::Groups(sides.into()),
                Err(sides) => PartitionSpec::Groups(sides),
            }
        };
        let range = self.router.faults().partition_duration_ms.clone();
        let lasting = self.length(stream, Choice::PartitionLength, &range);
        self.keep(|| Happened::Partition { spec: spec.clone(), lasting: Some(lasting) });
        self.split(spec, Some(lasting));
        self.schedule_chance_partition();
    }

    /// Splits the network as a script says.
    pub(super) fn on_partition(
        &mut self,
        spec: PartitionSpec,
        lasting: Option<SimDuration>,
    ) -> Stepped<A::Notice> {
        self.note(16, 0, 0);
        self.split(spec, lasting);
        Stepped::at(None)
    }

    fn split(&mut self, spec: PartitionSpec, lasting: Option<SimDuration>) {
        let end = lasting.map(|lasting| self.clock.now() + lasting);
        let partition = self.router.partitions.add(spec, end);
        if let Some(end) = end {
            self.schedule(end, SimEvent::PartitionEnd { partition });
        }
    }

    /// Takes a node down, somewhere in its work.
    pub(super) fn on_chance_crash(&mut self, node: NodeId) -> Stepped<A::Notice> {
        let stream = Stream::Crash(node.0);
        let point = match self.choices.below(stream, Choice::CrashGap, 5) {
            0 => CrashPoint::Now,
            1 => CrashPoint::BeforeCommit,
            2 => CrashPoint::AfterCommit,
            3 => CrashPoint::AfterFirstSend,
            _ => CrashPoint::AfterAllSends,
        };
        let range = self.router.faults().restart_delay_ms.clone();
        let down_for = self.length(stream, Choice::CrashLength, &range);
        let stepped = self.on_crash(node, point, Some(down_for), true);
        self.schedule_chance_crash(node);
        stepped
    }

    /// Takes a node's links away for a while.
    pub(super) fn on_chance_leave(&mut self, node: NodeId) -> Stepped<A::Notice> {
        let range = self.router.faults().away_duration_ms.clone();
        let away_for = self.length(Stream::Churn(node.0), Choice::ChurnLength, &range);
        let leaves = self.slot(node).is_some_and(|slot| !slot.late && !slot.retired && !slot.away);
        let stepped = self.on_leave(node, Some(away_for), true);
        // A crash that struck as it was told of that is kept by now, and comes before it.
        if leaves {
            self.keep(|| Happened::Leave { node, away_for: Some(away_for) });
        }
        self.schedule_chance_leave(node);
        stepped
    }
}
