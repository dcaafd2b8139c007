//! The way of each frame from its sender to its receiver.

use super::fate::{DropCause, Fates};
use super::faults::{FaultConfig, Rate};
use super::partition::PartitionManager;
use super::topology::Topology;
use crate::runtime::{Choices, Stream};
use crate::types::NodeId;
use std::collections::BTreeSet;
use syncline_types::{Choice, SimDuration, SimTime};

/// When the copies of one frame arrive: none if it is dropped, two if it is doubled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// The first copy.
    pub first: Option<SimTime>,
    /// The second.
    pub second: Option<SimTime>,
}

/// Carries every frame of every session and all gossip, and accounts for each. Each frame fends
/// for itself, as datagrams do.
#[derive(Clone, Debug)]
pub struct NetworkRouter {
    faults: FaultConfig,
    topology: Topology,
    /// Nodes that have no link now: they left, or have still to join.
    absent: BTreeSet<NodeId>,
    /// Who cannot reach whom.
    pub partitions: PartitionManager,
    pub(crate) fates: Fates,
    bytes_sent: u64,
    reordered: u64,
    /// Per sender and receiver, the latest arrival so far.
    latest: Vec<Vec<SimTime>>,
    slow: Vec<bool>,
}

impl NetworkRouter {
    /// A network with these faults, which must be valid, and a link between any two nodes.
    pub fn new(faults: FaultConfig) -> Self {
        Self {
            faults,
            topology: Topology::Mesh,
            absent: BTreeSet::new(),
            partitions: PartitionManager::default(),
            fates: Fates::default(),
            bytes_sent: 0,
            reordered: 0,
            latest: Vec::new(),
            slow: Vec::new(),
        }
    }

    /// Makes room for one more node, and decides whether it is slow.
    pub(crate) fn add_node(&mut self, node: NodeId, choices: &mut Choices) {
        let may_be_slow = self.faults.slow_node_permille > 1_000;
        let slow = may_be_slow && choices.below(Stream::Link(node.0), Choice::SlowNode, 4) == 0;
        self.slow.push(slow);
        self.latest.push(Vec::new());
    }

    /// Gives the network another shape.
    pub(crate) const fn set_topology(&mut self, topology: Topology) {
        self.topology = topology;
    }

    /// The shape of the network.
    pub const fn topology(&self) -> Topology {
        self.topology
    }

    /// Takes a node's links away.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.absent.insert(node);
    }

    /// Gives a node its links.
    pub(crate) fn enter(&mut self, node: NodeId) {
        self.absent.remove(&node);
    }

    /// Whether there is a link from `from` to `to` now: the topology has one, and neither is away.
    pub fn is_linked(&self, from: NodeId, to: NodeId) -> bool {
        let absent = |node| !self.absent.is_empty() && self.absent.contains(&node);
        from == to || (self.topology.links(from, to, self.slow.len()) && !absent(from) && !absent(to))
    }

    /// Whether there is a link between any two nodes.
    pub(crate) fn is_whole(&self) -> bool {
        self.topology == Topology::Mesh && self.absent.is_empty()
    }

    /// The faults in force.
    pub const fn faults(&self) -> &FaultConfig {
        &self.faults
    }

    /// What became of all frames so far.
    pub const fn fates(&self) -> &Fates {
        &self.fates
    }

    /// Bytes handed to the network.
    pub const fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Frames that were overtaken by a later one on the same link.
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Whether frames to `node` are slowed down.
    pub fn is_slow(&self, node: NodeId) -> bool {
        self.slow.get(node.index()).copied().unwrap_or(false)
    }

    /// Takes one frame: drops it, or says when it arrives.
    pub(crate) fn route(
        &mut self,
        now: SimTime,
        from: NodeId,
        to: NodeId,
        bytes: usize,
        choices: &mut Choices,
    ) -> Arrivals {
        let link = Stream::Link(from.0);
        self.fates.sent += 1;
        self.bytes_sent += bytes as u64;
        // Every frame draws the same choices, whatever becomes of it: what happens to one frame never
        // decides what happens to another.
        let lost = draw_rate(choices, link, Choice::LinkLoss, self.faults.message_loss_rate);
        let first = self.arrival(now, link, to, choices);
        let doubled = draw_rate(choices, link, Choice::LinkDuplicate, self.faults.duplicate_rate);
        let second = self.arrival(now, link, to, choices);
        let drop = if to.index() >= self.slow.len() {
            Some(DropCause::ReceiverUnknown)
        } else if !self.is_linked(from, to) {
            Some(DropCause::NoLink)
        } else if self.partitions.is_partitioned(from, to, now) {
            Some(DropCause::PartitionAtSend)
        } else {
            lost.then_some(DropCause::Loss)
        };
        if let Some(cause) = drop {
            self.fates.drop(cause);
            return Arrivals::default();
        }
        self.note_order(from, to, first);
        self.fates.in_flight += 1;
        if doubled {
            self.fates.duplicated += 1;
            self.fates.in_flight += 1;
        }
        Arrivals { first: Some(first), second: doubled.then_some(second) }
    }

    fn arrival(&self, now: SimTime, link: Stream, to: NodeId, choices: &mut Choices) -> SimTime {
        let (base, jitter) = (self.faults.base_latency_ms * 1_000, self.faults.latency_jitter_ms * 1_000);
        let low = base.saturating_sub(jitter);
        let mut delay = low + choices.drawn(link, Choice::LinkLatency, base + jitter - low + 1);
        delay += choices.drawn(link, Choice::LinkReorder, self.faults.reorder_window_ms * 1_000);
        if self.is_slow(to) {
            delay = delay * self.faults.slow_node_permille / 1_000;
        }
        now + SimDuration::from_micros(delay)
    }

    fn note_order(&mut self, from: NodeId, to: NodeId, arrival: SimTime) {
        let Some(links) = self.latest.get_mut(from.index()) else { return };
        if links.len() <= to.index() {
            links.resize(to.index() + 1, SimTime::ZERO);
        }
        if let Some(latest) = links.get_mut(to.index()) {
            self.reordered += u64::from(arrival < *latest);
            *latest = arrival.max(*latest);
        }
    }

    /// Takes a frame off the link: whether it may be handed over, or why not.
    pub(crate) fn arrive(&mut self, now: SimTime, from: NodeId, to: NodeId, is_up: bool) -> bool {
        self.fates.in_flight -= 1;
        let drop = if !self.is_linked(from, to) {
            DropCause::NoLink
        } else if self.partitions.is_partitioned(from, to, now) {
            DropCause::PartitionAtDelivery
        } else if !is_up {
            DropCause::ReceiverCrashed
        } else {
            return true;
        };
        self.fates.drop(drop);
        false
    }
}

fn draw_rate(choices: &mut Choices, link: Stream, choice: Choice, rate: Rate) -> bool {
    choices.drawn(link, choice, 1_000_000) < u64::from(rate.as_ppm())
}
