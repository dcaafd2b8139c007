//! Partitions, crashes and departures that happen by chance.
//!
//! A chance of p per chaos tick is drawn as the gap to the next event: uniform over `1..2/p` ticks,
//! which has the mean 1/p. One draw an event, however long nothing happens.

use super::actor::Actor;
use super::event::{CrashPoint, SimEvent};
use super::world::{Stepped, World};
use crate::network::{CHAOS_TICK_MS, PartitionSpec, Rate};
use crate::runtime::Stream;
use crate::types::NodeId;
use std::ops::Range;
use syncline_types::{Choice, SimDuration, SimTime};

impl<A: Actor> World<A> {
    /// Lets partitions, crashes and departures happen by chance, as the faults say, until `until`.
    pub fn unleash(&mut self, until: SimTime) {
        self.chaos_until = until;
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

    /// Splits the network in two at random.
    pub(super) fn on_chance_partition(&mut self) {
        let stream = Stream::Partition;
        let mut sides = [Vec::new(), Vec::new()];
        for node in (0..self.len() as u32).map(NodeId) {
            let [left, right] = &mut sides;
            let side = if self.choices.below(stream, Choice::PartitionSides, 2) == 0 { left } else { right };
            side.push(node);
        }
        let [left, right] = &mut sides;
        if left.is_empty() {
            left.extend(right.pop());
        } else if right.is_empty() {
            right.extend(left.pop());
        }
        let range = self.router.faults().partition_duration_ms.clone();
        let end = self.clock.now() + self.length(stream, Choice::PartitionLength, &range);
        let partition = self.router.partitions.add(PartitionSpec::Groups(sides.into()), Some(end));
        self.schedule(end, SimEvent::PartitionEnd { partition });
        self.schedule_chance_partition();
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
        let stepped = self.on_leave(node, Some(away_for), true);
        self.schedule_chance_leave(node);
        stepped
    }
}
