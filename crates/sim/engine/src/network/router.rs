//! The path of each frame from its sender to its receiver.

use crate::actor::FrameBytes;
use crate::faults::{FaultConfig, LinkFaults, LinkModel, Rate};
use crate::network::fate::{DropCause, Fates};
use crate::network::frame_faults::{FrameFault, FrameFaultScript, FrameName, Passage};
use crate::network::link::{LinkProperties, LinkTable, TransitPlan};
use crate::network::link_metrics::LinkMetrics;
use crate::network::partition::PartitionManager;
use crate::network::rules::{Envelope, Rules};
use crate::network::stream_order::{DeliveryDecision, StreamPosition};
use crate::network::topology::Topology;
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use std::collections::BTreeSet;
use syncline_types::{Choice, SimDuration, SimTime};

/// How one copy of a frame arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The time of arrival.
    pub at: SimTime,
    /// The index of the bit that is flipped in transit, if one is.
    pub flipped: Option<u64>,
}

impl Arrival {
    /// The bytes that arrive, given those that were sent.
    #[inline]
    fn apply_to(&self, sent: FrameBytes) -> FrameBytes {
        let Some(bit) = self.flipped else { return sent };
        let mut bytes = sent.to_vec();
        if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
        bytes.into()
    }
}

/// How the copies of one frame arrive: none if it is dropped, two if it is duplicated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// The first copy of the frame.
    pub first: Option<Arrival>,
    /// The duplicate. There is none without a first copy.
    pub second: Option<Arrival>,
    /// The position of the frame in the stream of its connection, if a connection carries it.
    pub position: Option<StreamPosition>,
}

impl Arrivals {
    /// The copies of the frame, in the order in which they are scheduled.
    pub(crate) fn copies(&self) -> impl Iterator<Item = Arrival> {
        [self.first, self.second].into_iter().flatten()
    }

    /// Calls `take` with each copy and with the bytes that arrive in it.
    #[inline]
    pub fn deliver_copies(&self, sent: FrameBytes, mut take: impl FnMut(&Arrival, FrameBytes)) {
        // A dropped frame has no copies.
        let Some(first) = &self.first else { return };
        let duplicate = self.second.as_ref().map(|copy| (copy, sent.clone()));
        take(first, first.apply_to(sent));
        if let Some((copy, sent)) = duplicate {
            take(copy, copy.apply_to(sent));
        }
    }
}

/// How long frames were in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlightTimes {
    /// The shortest time; the largest duration before the first frame.
    pub shortest: SimDuration,
    /// The longest time in flight so far.
    pub longest: SimDuration,
    /// Frames whose drawn latency, before all else that delays them, was larger than the jitter alone.
    pub beyond_jitter: u64,
    /// Frames that the latency tail delayed, and for which that was more than a millisecond.
    pub stretched: u64,
}

impl Default for FlightTimes {
    fn default() -> Self {
        Self {
            shortest: SimTime::MAX.since(SimTime::ZERO),
            longest: SimDuration::ZERO,
            beyond_jitter: 0,
            stretched: 0,
        }
    }
}

impl FlightTimes {
    fn record(&mut self, flight: SimDuration) {
        self.shortest = self.shortest.min(flight);
        self.longest = self.longest.max(flight);
    }
}

/// The faults of the network: those of [`FaultConfig`] that concern frames and links.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "each field is the setting of that name in FaultConfig")]
pub struct NetworkFaults {
    pub base_latency_ms: u64,
    pub latency_jitter_ms: u64,
    pub message_loss_rate: Rate,
    pub reorder_window_ms: u64,
    pub duplicate_rate: Rate,
    pub corruption_rate: Rate,
    pub slow_node_permille: u64,
    pub links: LinkFaults,
}

impl From<&FaultConfig> for NetworkFaults {
    fn from(faults: &FaultConfig) -> Self {
        Self {
            base_latency_ms: faults.base_latency_ms,
            latency_jitter_ms: faults.latency_jitter_ms,
            message_loss_rate: faults.message_loss_rate,
            reorder_window_ms: faults.reorder_window_ms,
            duplicate_rate: faults.duplicate_rate,
            corruption_rate: faults.corruption_rate,
            slow_node_permille: faults.slow_node_permille,
            links: faults.links.clone(),
        }
    }
}

impl From<FaultConfig> for NetworkFaults {
    fn from(faults: FaultConfig) -> Self {
        Self::from(&faults)
    }
}

/// Carries every frame and accounts for each. Frames are datagrams, independent of each other, unless the
/// faults of the links say that connections carry them.
#[derive(Clone, Debug)]
pub struct NetworkRouter {
    faults: NetworkFaults,
    topology: Topology,
    /// Nodes that have no link now: they left, or have still to join.
    absent: BTreeSet<NodeId>,
    partitions: PartitionManager,
    rules: Rules,
    fates: Fates,
    bytes_sent: u64,
    reordered: u64,
    corrupted: u64,
    /// Per sender and receiver, the latest arrival so far.
    latest: Vec<Vec<SimTime>>,
    /// Per node, whether frames to it are slowed down.
    slow: Vec<bool>,
    flights: FlightTimes,
    /// The state of single links. `None` while no link has faults of its own.
    links: Option<Box<LinkTable>>,
    /// Scripted faults of single frames, and a record of all faults of frames. `None` without either.
    frame_script: Option<Box<FrameFaultScript>>,
}

impl NetworkRouter {
    /// A network with these faults, which must be valid, and a link between any two nodes.
    pub fn new(faults: impl Into<NetworkFaults>) -> Self {
        let faults = faults.into();
        let links = || Box::new(LinkTable::new(faults.links.clone(), faults.message_loss_rate));
        Self {
            links: faults.links.are_on().then(links),
            faults,
            topology: Topology::Mesh,
            absent: BTreeSet::new(),
            partitions: PartitionManager::default(),
            rules: Rules::default(),
            fates: Fates::default(),
            bytes_sent: 0,
            reordered: 0,
            corrupted: 0,
            latest: Vec::new(),
            slow: Vec::new(),
            flights: FlightTimes::default(),
            frame_script: None,
        }
    }

    /// Adds a node, and draws whether it is slow. Nodes are added in the order of their numbers.
    pub fn add_node(&mut self, node: NodeId, choices: &mut Choices) {
        assert!(node.index() == self.slow.len(), "nodes are added in the order of their numbers");
        let may_be_slow = self.faults.slow_node_permille > 1_000;
        let slow = may_be_slow && choices.below(Stream::Link(node.0), Choice::SlowNode, 4) == 0;
        self.slow.push(slow);
        self.latest.push(Vec::new());
    }

    /// Sets the shape of the network.
    pub(crate) const fn set_topology(&mut self, topology: Topology) {
        self.topology = topology;
    }

    /// The shape of the network.
    pub const fn topology(&self) -> Topology {
        self.topology
    }

    /// Removes a node's links, and breaks its connections.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.absent.insert(node);
        self.break_connections(node);
    }

    /// Restores a node's links.
    pub(crate) fn enter(&mut self, node: NodeId) {
        self.absent.remove(&node);
    }

    /// Whether there is a link from `from` to `to` now: the topology has one, and neither node is away.
    pub fn is_linked(&self, from: NodeId, to: NodeId) -> bool {
        let absent = |node| !self.absent.is_empty() && self.absent.contains(&node);
        from == to || (self.topology.links(from, to, self.slow.len()) && !absent(from) && !absent(to))
    }

    /// Whether the script has taken down the link from `from` to `to`. Links that flap come up again.
    pub fn is_taken_down(&self, from: NodeId, to: NodeId) -> bool {
        self.links.as_ref().is_some_and(|links| links.is_taken_down(from, to))
    }

    /// Whether there is a link between any two nodes.
    pub(crate) fn is_whole(&self) -> bool {
        self.topology == Topology::Mesh && self.absent.is_empty()
    }

    /// The fates of all frames so far.
    pub const fn fates(&self) -> &Fates {
        &self.fates
    }

    /// Counts a frame that arrived as delivered: it took effect.
    pub const fn count_delivered(&mut self) {
        self.fates.delivered += 1;
    }

    /// Counts a frame that arrived as dropped by its receiver.
    pub fn drop_arrived(&mut self, cause: DropCause) {
        self.fates.drop(cause);
    }

    /// Changes the fate of a frame that was counted as delivered: its receiver had no use for it.
    ///
    /// # Panics
    ///
    /// If no frame was delivered.
    pub fn revoke_delivery(&mut self, cause: DropCause) {
        assert!(self.fates.delivered > 0, "only a frame that was delivered can lose that fate");
        self.fates.delivered -= 1;
        self.fates.drop(cause);
    }

    /// The partitions of the run.
    pub const fn partitions(&self) -> &PartitionManager {
        &self.partitions
    }

    pub(crate) const fn partitions_mut(&mut self) -> &mut PartitionManager {
        &mut self.partitions
    }

    /// The rules in force.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) const fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }

    pub(crate) fn set_frame_script(&mut self, script: Option<Box<FrameFaultScript>>) {
        self.frame_script = script;
    }

    /// The faults of single frames that were recorded so far, in the order of sending.
    pub fn recorded_frame_faults(&self) -> &[(FrameName, FrameFault)] {
        self.frame_script.as_ref().map_or(&[], |script| script.recorded())
    }

    /// Bytes handed to the network.
    pub const fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Frames that arrive before one that was sent earlier on the same link.
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Copies of frames in which a bit was flipped, at random or by a rule.
    pub const fn corrupted(&self) -> u64 {
        self.corrupted
    }

    /// How long frames were in flight that were not dropped when they were sent.
    pub fn flights(&self) -> FlightTimes {
        let stretched = self.links.as_ref().map_or(0, |links| links.stretched);
        FlightTimes { stretched, ..self.flights }
    }

    /// Whether frames to `node` are slowed down.
    pub fn is_slow(&self, node: NodeId) -> bool {
        self.slow.get(node.index()).copied().unwrap_or(false)
    }

    /// Ends all faults, partitions and rules. The latency stays as it was.
    pub fn heal(&mut self) {
        let NetworkFaults { base_latency_ms, latency_jitter_ms, .. } = self.faults;
        self.faults = FaultConfig::none().with_latency(base_latency_ms, latency_jitter_ms).into();
        self.rules = Rules::default();
        if let Some(links) = &mut self.links {
            // The table itself stays: without it, each frame in flight on a connection would be dropped.
            links.heal();
        }
        self.partitions.heal_all();
    }

    /// Routes one frame: drops it, or returns when its copies arrive.
    pub fn route(&mut self, now: SimTime, frame: Envelope, choices: &mut Choices) -> Arrivals {
        let Envelope { from, to, bytes, .. } = frame;
        let link = Stream::Link(from.0);
        self.fates.sent += 1;
        self.bytes_sent += bytes as u64;
        let ruling = self.rules.judge(now, &frame);
        // Every frame makes the same draws, whatever becomes of it: the fate of one frame must not change
        // what is drawn for another.
        let NetworkFaults { message_loss_rate, duplicate_rate, .. } = self.faults;
        let (low, span, window) = self.latencies();
        let latency = (Choice::LinkLatency, span);
        let reorder = (Choice::LinkReorder, window);
        let loss = (Choice::LinkLoss, MILLION);
        let duplicate = (Choice::LinkDuplicate, MILLION);
        let drawn = choices.draw_all(link, [loss, latency, reorder, duplicate, latency, reorder]);
        let [lost, takes, late, duplicated, takes_again, late_again] = drawn;
        let lost = lost < u64::from(message_loss_rate.as_ppm());
        let duplicated = duplicated < u64::from(duplicate_rate.as_ppm());
        self.flights.beyond_jitter += u64::from(low + takes > self.faults.latency_jitter_ms * 1_000);
        let again = self.delay(to, low + takes_again + late_again);
        let bits = 8 * bytes as u64;
        let mut passage = Passage {
            lost,
            takes: self.delay(to, low + takes + late),
            again: duplicated.then_some(again),
            flipped: self.flip(from, bits, choices),
            again_flipped: self.flip(from, bits, choices),
            losses: None,
            is_resent: self.faults.links.model == LinkModel::Stream,
        };
        if let Some(script) = &mut self.frame_script {
            script.apply(from, to, bits, &mut passage);
        }
        let Passage { lost, takes, flipped: mut flip, again_flipped: mut flip_second, losses, .. } = passage;
        let duplicated = passage.again.is_some();
        let mut first = now + takes;
        // The second copy has a time even if there is none: a rule may still duplicate the frame.
        let mut second = now + passage.again.unwrap_or(again);
        if ruling.corrupted && bits > 0 {
            // A stream of its own: a rule that corrupts a frame moves no draw of another fault.
            flip = Some(choices.draw(Stream::Rules, Choice::FlippedBit, bits));
            flip_second = flip;
        }
        let duplicated = duplicated || ruling.duplicated;
        first += ruling.delay;
        second += ruling.delay;
        // The first cause that applies is the fate of the frame: rules come before the network.
        let drop = if ruling.dropped {
            Some(DropCause::Rule)
        } else if to.index() >= self.slow.len() {
            Some(DropCause::ReceiverUnknown)
        } else if !self.is_linked(from, to) {
            Some(DropCause::NoLink)
        } else if self.partitions.is_partitioned(from, to, now) {
            Some(DropCause::PartitionAtSend)
        } else {
            lost.then_some(DropCause::Loss)
        };
        let mut plan = TransitPlan {
            drop,
            is_reset: ruling.reset,
            first,
            second,
            is_duplicated: duplicated,
            flips: [flip, flip_second],
            is_ruled_corrupt: ruling.corrupted,
            losses,
            position: None,
        };
        if self.links.is_none() {
            return self.launch(now, from, to, &plan);
        }
        self.apply_link(now, frame, &mut plan, choices);
        self.launch(now, from, to, &plan)
    }

    /// Applies the faults of the frame's link to it.
    fn apply_link(&mut self, now: SimTime, frame: Envelope, plan: &mut TransitPlan, choices: &mut Choices) {
        let Some(links) = &mut self.links else {
            unreachable!("the caller has checked that links have faults")
        };
        links.carry(now, &frame, plan, choices);
        if let Some(script) = &mut self.frame_script {
            script.record_losses(frame.from, frame.to, plan.losses.unwrap_or_default());
        }
    }

    /// Accounts for a frame whose path is decided.
    fn launch(&mut self, now: SimTime, from: NodeId, to: NodeId, plan: &TransitPlan) -> Arrivals {
        let &TransitPlan { drop, first, second, is_duplicated, flips: [flip, flip_second], position, .. } =
            plan;
        if let Some(cause) = drop {
            self.fates.drop(cause);
            return Arrivals::default();
        }
        self.count_reordered(from, to, first);
        self.flights.record(first.since(now));
        // Each copy is counted here once. `arrive` or `decide_delivery` ends its flight, also once, which
        // keeps the account of fates balanced.
        self.fates.in_flight += 1;
        self.corrupted += u64::from(flip.is_some());
        if is_duplicated {
            self.fates.duplicated += 1;
            self.fates.in_flight += 1;
            self.corrupted += u64::from(flip_second.is_some());
        }
        let second = Arrival { at: second, flipped: flip_second };
        let first = Some(Arrival { at: first, flipped: flip });
        Arrivals { first, second: is_duplicated.then_some(second), position }
    }

    /// The random bit that is flipped in a copy of `bits` bits, if one is. Draws nothing if the rate is zero.
    fn flip(&self, from: NodeId, bits: u64, choices: &mut Choices) -> Option<u64> {
        let rate = self.faults.corruption_rate;
        if rate == Rate::ZERO {
            return None;
        }
        let link = Stream::Corruption(from.0);
        let corrupt = draw_rate(choices, link, Choice::LinkCorrupt, rate);
        let bit = choices.draw(link, Choice::FlippedBit, bits);
        (corrupt && bits > 0).then_some(bit)
    }

    /// The least latency, the number of possible latencies, and the reorder window, all in microseconds.
    const fn latencies(&self) -> (u64, u64, u64) {
        let base = self.faults.base_latency_ms * 1_000;
        let jitter = self.faults.latency_jitter_ms * 1_000;
        let low = base.saturating_sub(jitter);
        (low, base + jitter - low + 1, self.faults.reorder_window_ms * 1_000)
    }

    /// A delay of so many microseconds, or more if `to` is slow.
    fn delay(&self, to: NodeId, mut delay: u64) -> SimDuration {
        if self.is_slow(to) {
            delay = delay * self.faults.slow_node_permille / 1_000;
        }
        SimDuration::from_micros(delay)
    }

    fn count_reordered(&mut self, from: NodeId, to: NodeId, arrival: SimTime) {
        // A test may send in the name of a node that does not exist; its frames are not counted.
        let Some(links) = self.latest.get_mut(from.index()) else { return };
        if links.len() <= to.index() {
            links.resize(to.index() + 1, SimTime::ZERO);
        }
        if let Some(latest) = links.get_mut(to.index()) {
            self.reordered += u64::from(arrival < *latest);
            *latest = arrival.max(*latest);
        }
    }

    /// Ends the flight of a frame. Returns whether it is delivered; otherwise it is counted as dropped.
    #[inline]
    pub fn arrive(&mut self, now: SimTime, from: NodeId, to: NodeId, is_up: bool) -> bool {
        assert!(self.fates.in_flight > 0, "a frame that arrives is in flight");
        self.fates.in_flight -= 1;
        // The first cause that applies is the fate. The path comes before the receiver: a frame that is cut
        // off never finds out that its receiver is down.
        let drop = if !self.is_linked(from, to) {
            DropCause::NoLink
        } else if self.partitions.is_partitioned(from, to, now) {
            DropCause::PartitionAtDelivery
        } else if self.finds_link_down(now, from, to) {
            DropCause::LinkDown
        } else if !is_up {
            DropCause::ReceiverCrashed
        } else {
            return true;
        };
        self.fates.drop(drop);
        false
    }
}

/// Faults of single links.
impl NetworkRouter {
    /// How often each fault of single links happened so far.
    pub fn link_metrics(&self) -> LinkMetrics {
        LinkMetrics {
            one_way_partitions: self.partitions.one_way(),
            group_partitions: self.partitions.into_groups(),
            ..self.links.as_ref().map_or_else(LinkMetrics::default, |links| links.metrics)
        }
    }

    /// From `calm_from` on no random fault of a link begins.
    pub(crate) fn set_calm_from(&mut self, calm_from: SimTime) {
        if let Some(links) = &mut self.links {
            links.calm_from = calm_from;
        }
    }

    fn finds_link_down(&mut self, now: SimTime, from: NodeId, to: NodeId) -> bool {
        // Without faults of their own all links are up.
        let Some(links) = &mut self.links else { return false };
        let is_down = links.is_down(from, to, now);
        links.metrics.link_down_frames += u64::from(is_down);
        is_down
    }

    /// Decides about a frame that arrives on a connection. If it is dropped, it is counted so.
    pub fn decide_delivery(
        &mut self,
        now: SimTime,
        from: NodeId,
        to: NodeId,
        position: StreamPosition,
    ) -> DeliveryDecision {
        let is_blocked = self.partitions.is_partitioned(from, to, now);
        let links = self.links.as_mut();
        let decision = links
            .map_or(DeliveryDecision::Broken, |links| links.decide(now, (from, to), position, is_blocked));
        // A frame that waits or stalls stays in flight. `arrive` ends the flight of a delivered one.
        if matches!(decision, DeliveryDecision::TimedOut | DeliveryDecision::Broken) {
            assert!(self.fates.in_flight > 0, "a frame that arrives is in flight");
            self.fates.in_flight -= 1;
            self.fates.drop(DropCause::ConnectionReset);
        }
        decision
    }

    /// Breaks the connection between two nodes. Returns whether there was one.
    pub fn break_connection(&mut self, a: NodeId, b: NodeId) -> bool {
        self.links.as_mut().is_some_and(|links| links.break_between(a, b))
    }

    /// Breaks all connections of a node.
    pub(crate) fn break_connections(&mut self, node: NodeId) {
        if let Some(links) = &mut self.links {
            links.break_all_of(node);
        }
    }

    /// Sets the properties of one direction of a link, or, with `None`, lets the seed decide again. Returns
    /// the properties that were set before.
    pub(crate) fn set_link(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
        choices: &mut Choices,
    ) -> Option<LinkProperties> {
        let faults = &self.faults.links;
        let loss = self.faults.message_loss_rate;
        // If there is no table yet, no random fault of a link is on: otherwise `new` would have made one.
        let links = self.links.get_or_insert_with(|| Box::new(LinkTable::new(faults.clone(), loss)));
        links.set(from, to, properties, choices)
    }
}

/// The scale of rates: parts per million.
const MILLION: u64 = 1_000_000;

fn draw_rate(choices: &mut Choices, link: Stream, choice: Choice, rate: Rate) -> bool {
    choices.draw(link, choice, MILLION) < u64::from(rate.as_ppm())
}
