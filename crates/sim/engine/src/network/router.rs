//! The way of each frame from its sender to its receiver.

use crate::actor::Bytes;
use crate::faults::{FaultConfig, LinkModel, Rate};
use crate::network::fate::{DropCause, Fates};
use crate::network::frame_faults::{FrameBook, Passage};
use crate::network::link::{Draft, LinkProperties, Links};
use crate::network::link_metrics::LinkMetrics;
use crate::network::partition::PartitionManager;
use crate::network::rules::{Envelope, Rules};
use crate::network::stream_order::{Ticket, Turn};
use crate::network::topology::Topology;
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use std::collections::BTreeSet;
use syncline_types::{Choice, SimDuration, SimTime};

/// How one copy of a frame arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// When.
    pub at: SimTime,
    /// The bit that was flipped on the way, if one was.
    pub flipped: Option<u64>,
}

impl Arrival {
    /// What arrives of the bytes that were sent.
    #[inline]
    fn carried(&self, sent: Bytes) -> Bytes {
        let Some(bit) = self.flipped else { return sent };
        let mut bytes = sent.to_vec();
        if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
            *byte ^= 1 << (bit % 8);
        }
        bytes.into()
    }
}

/// How the copies of one frame arrive: none if it is dropped, two if it is doubled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrivals {
    /// The first copy.
    pub first: Option<Arrival>,
    /// The second.
    pub second: Option<Arrival>,
    /// The place of the frame in its connection, if one carries it.
    pub ticket: Option<Ticket>,
}

impl Arrivals {
    /// The copies.
    pub(crate) fn copies(&self) -> impl Iterator<Item = Arrival> {
        [self.first, self.second].into_iter().flatten()
    }

    /// Hands over each copy, and what it brings of the bytes that were sent.
    #[inline]
    pub fn hand_over(&self, sent: Bytes, mut take: impl FnMut(&Arrival, Bytes)) {
        let Some(first) = &self.first else { return };
        let again = self.second.as_ref().map(|copy| (copy, sent.clone()));
        take(first, first.carried(sent));
        if let Some((copy, sent)) = again {
            take(copy, copy.carried(sent));
        }
    }
}

/// How long frames took on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flights {
    /// The shortest time; the longest there is before the first frame.
    pub shortest: SimDuration,
    /// The longest.
    pub longest: SimDuration,
    /// How many drew more, before all else that makes them late, than jitter alone could.
    pub beyond_jitter: u64,
    /// How many the tail made longer than they were, and than a millisecond.
    pub stretched: u64,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            shortest: SimTime::MAX.since(SimTime::ZERO),
            longest: SimDuration::ZERO,
            beyond_jitter: 0,
            stretched: 0,
        }
    }
}

impl Flights {
    fn note(&mut self, flight: SimDuration) {
        self.shortest = self.shortest.min(flight);
        self.longest = self.longest.max(flight);
    }
}

/// Carries every frame of every session and all gossip, and accounts for each. Each frame fends
/// for itself, as datagrams do, unless the faults of the links say that connections carry them.
#[derive(Clone, Debug)]
pub struct NetworkRouter {
    faults: FaultConfig,
    topology: Topology,
    /// Nodes that have no link now: they left, or have still to join.
    absent: BTreeSet<NodeId>,
    /// Who cannot reach whom.
    pub partitions: PartitionManager,
    /// What is done to frames besides.
    pub rules: Rules,
    /// What became of every frame so far.
    pub fates: Fates,
    bytes_sent: u64,
    reordered: u64,
    corrupted: u64,
    /// Per sender and receiver, the latest arrival so far.
    latest: Vec<Vec<SimTime>>,
    slow: Vec<bool>,
    flights: Flights,
    /// What single links do besides; `None` while they do nothing.
    links: Option<Box<Links>>,
    /// What is done to single frames, and what was, if that is wanted.
    pub book: Option<Box<FrameBook>>,
}

impl NetworkRouter {
    /// A network with these faults, which must be valid, and a link between any two nodes.
    pub fn new(faults: FaultConfig) -> Self {
        let links = || Box::new(Links::new(faults.links.clone(), faults.message_loss_rate));
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
            flights: Flights::default(),
            book: None,
        }
    }

    /// Makes room for one more node, and decides whether it is slow.
    pub fn add_node(&mut self, node: NodeId, choices: &mut Choices) {
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
        self.break_connections(node);
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

    /// Copies of frames that a bit was flipped in, by chance or by a rule.
    pub const fn corrupted(&self) -> u64 {
        self.corrupted
    }

    /// How long frames took that were not dropped when they were sent.
    pub fn flights(&self) -> Flights {
        let stretched = self.links.as_ref().map_or(0, |links| links.stretched);
        Flights { stretched, ..self.flights }
    }

    /// Whether frames to `node` are slowed down.
    pub fn is_slow(&self, node: NodeId) -> bool {
        self.slow.get(node.index()).copied().unwrap_or(false)
    }

    /// Takes all faults, partitions and rules away; frames take as long as before.
    pub fn heal(&mut self) {
        let FaultConfig { base_latency_ms, latency_jitter_ms, .. } = self.faults;
        self.faults = FaultConfig::none().with_latency(base_latency_ms, latency_jitter_ms);
        self.rules = Rules::default();
        if let Some(links) = &mut self.links {
            links.heal();
        }
        self.partitions.heal_all();
    }

    /// Takes one frame: drops it, or says when it arrives.
    pub fn route(&mut self, now: SimTime, frame: Envelope, choices: &mut Choices) -> Arrivals {
        let Envelope { from, to, bytes, .. } = frame;
        let link = Stream::Link(from.0);
        self.fates.sent += 1;
        self.bytes_sent += bytes as u64;
        let ruling = self.rules.judge(now, &frame);
        // Every frame draws the same choices, whatever becomes of it: what happens to one frame never
        // decides what happens to another.
        let FaultConfig { message_loss_rate, duplicate_rate, .. } = self.faults;
        let (low, span, window) = self.latencies();
        let (latency, reorder) = ((Choice::LinkLatency, span), (Choice::LinkReorder, window));
        let (loss, double) = ((Choice::LinkLoss, MILLION), (Choice::LinkDuplicate, MILLION));
        let drawn = choices.drawn_all(link, [loss, latency, reorder, double, latency, reorder]);
        let [lost, takes, late, doubled, takes_again, late_again] = drawn;
        let lost = lost < u64::from(message_loss_rate.as_ppm());
        let doubled = doubled < u64::from(duplicate_rate.as_ppm());
        self.flights.beyond_jitter += u64::from(low + takes > self.faults.latency_jitter_ms * 1_000);
        let again = self.delay(to, low + takes_again + late_again);
        let bits = 8 * bytes as u64;
        let mut passage = Passage {
            lost,
            takes: self.delay(to, low + takes + late),
            again: doubled.then_some(again),
            flipped: self.flip(from, bits, choices),
            again_flipped: self.flip(from, bits, choices),
            losses: None,
            is_resent: self.faults.links.model == LinkModel::Stream,
        };
        if let Some(book) = &mut self.book {
            book.turn(from, to, bits, &mut passage);
        }
        let Passage { lost, takes, flipped: mut flip, again_flipped: mut flip_second, losses, .. } = passage;
        let doubled = passage.again.is_some();
        let (first, second) = (now + takes, now + passage.again.unwrap_or(again));
        if ruling.corrupted && bits > 0 {
            flip = Some(choices.drawn(Stream::Rules, Choice::FlippedBit, bits));
            flip_second = flip;
        }
        let doubled = doubled || ruling.doubled;
        let (first, second) = (first + ruling.delay, second + ruling.delay);
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
        let mut draft = Draft {
            drop,
            is_reset: ruling.reset,
            first,
            second,
            is_doubled: doubled,
            flips: [flip, flip_second],
            is_ruled_corrupt: ruling.corrupted,
            losses,
            ticket: None,
        };
        if self.links.is_none() {
            return self.launch(now, from, to, &draft);
        }
        self.carry(now, frame, &mut draft, choices);
        self.launch(now, from, to, &draft)
    }

    /// Lets the link have its way with a frame.
    fn carry(&mut self, now: SimTime, frame: Envelope, draft: &mut Draft, choices: &mut Choices) {
        let Some(links) = &mut self.links else { return };
        links.carry(now, &frame, draft, choices);
        if let Some(book) = &mut self.book {
            book.lost(frame.from, frame.to, draft.losses.unwrap_or_default());
        }
    }

    /// Accounts for a frame whose way is known.
    fn launch(&mut self, now: SimTime, from: NodeId, to: NodeId, draft: &Draft) -> Arrivals {
        let &Draft { drop, first, second, is_doubled, flips: [flip, flip_second], ticket, .. } = draft;
        if let Some(cause) = drop {
            self.fates.drop(cause);
            return Arrivals::default();
        }
        self.note_order(from, to, first);
        self.flights.note(first.since(now));
        self.fates.in_flight += 1;
        self.corrupted += u64::from(flip.is_some());
        if is_doubled {
            self.fates.duplicated += 1;
            self.fates.in_flight += 1;
            self.corrupted += u64::from(flip_second.is_some());
        }
        let second = Arrival { at: second, flipped: flip_second };
        let first = Some(Arrival { at: first, flipped: flip });
        Arrivals { first, second: is_doubled.then_some(second), ticket }
    }

    /// Which of its `bits` a copy loses by chance, if any. Draws nothing where that never happens.
    fn flip(&self, from: NodeId, bits: u64, choices: &mut Choices) -> Option<u64> {
        let rate = self.faults.corruption_rate;
        if rate == Rate::ZERO {
            return None;
        }
        let link = Stream::Corruption(from.0);
        let corrupt = draw_rate(choices, link, Choice::LinkCorrupt, rate);
        let bit = choices.drawn(link, Choice::FlippedBit, bits);
        (corrupt && bits > 0).then_some(bit)
    }

    /// The least latency, how many there are, and how many delays on top, all by microseconds.
    const fn latencies(&self) -> (u64, u64, u64) {
        let (base, jitter) = (self.faults.base_latency_ms * 1_000, self.faults.latency_jitter_ms * 1_000);
        let low = base.saturating_sub(jitter);
        (low, base + jitter - low + 1, self.faults.reorder_window_ms * 1_000)
    }

    /// So many microseconds, or more if `to` is slow.
    fn delay(&self, to: NodeId, mut delay: u64) -> SimDuration {
        if self.is_slow(to) {
            delay = delay * self.faults.slow_node_permille / 1_000;
        }
        SimDuration::from_micros(delay)
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
    pub fn arrive(&mut self, now: SimTime, from: NodeId, to: NodeId, is_up: bool) -> bool {
        self.fates.in_flight -= 1;
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

/// The faults of single links.
impl NetworkRouter {
    /// How often the faults of single links struck so far.
    pub fn link_metrics(&self) -> LinkMetrics {
        LinkMetrics {
            one_way_partitions: self.partitions.one_way(),
            group_partitions: self.partitions.into_groups(),
            ..self.links.as_ref().map_or_else(LinkMetrics::default, |links| links.metrics)
        }
    }

    /// From `calm_from` on nothing new breaks by chance.
    pub(crate) fn calm(&mut self, calm_from: SimTime) {
        if let Some(links) = &mut self.links {
            links.calm_from = calm_from;
        }
    }

    fn finds_link_down(&mut self, now: SimTime, from: NodeId, to: NodeId) -> bool {
        let Some(links) = &mut self.links else { return false };
        let is_down = links.is_down(from, to, now);
        links.metrics.link_down_frames += u64::from(is_down);
        is_down
    }

    /// What a frame that arrives on a connection may do. If nothing, this is its fate.
    pub fn turn(&mut self, now: SimTime, from: NodeId, to: NodeId, ticket: Ticket) -> Turn {
        let is_blocked = self.partitions.is_partitioned(from, to, now);
        let links = self.links.as_mut();
        let turn = links.map_or(Turn::Broken, |links| links.turn(now, (from, to), ticket, is_blocked));
        if matches!(turn, Turn::GivesUp | Turn::Broken) {
            self.fates.in_flight -= 1;
            self.fates.drop(DropCause::ConnectionReset);
        }
        turn
    }

    /// Breaks the connection between two nodes. Says whether there was one.
    pub fn break_connection(&mut self, a: NodeId, b: NodeId) -> bool {
        self.links.as_mut().is_some_and(|links| links.break_between(a, b))
    }

    /// Breaks all connections of a node.
    pub(crate) fn break_connections(&mut self, node: NodeId) {
        if let Some(links) = &mut self.links {
            links.break_all_of(node);
        }
    }

    /// Says what one direction of a link is like from now on, or leaves it to chance again. Gives what
    /// was said before.
    pub(crate) fn set_link(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
        choices: &mut Choices,
    ) -> Option<LinkProperties> {
        let (faults, loss) = (&self.faults.links, self.faults.message_loss_rate);
        let links = self.links.get_or_insert_with(|| Box::new(Links::new(faults.clone(), loss)));
        links.set(from, to, properties, choices)
    }
}

/// Rates are parts of it.
const MILLION: u64 = 1_000_000;

fn draw_rate(choices: &mut Choices, link: Stream, choice: Choice, rate: Rate) -> bool {
    choices.drawn(link, choice, MILLION) < u64::from(rate.as_ppm())
}
