//! Single links: their properties, and what they do to a frame after rules, partitions and the faults that
//! all links share. While no link has faults of its own, there is no link table.
//!
//! Every frame makes the same draws, from a stream of its own, whichever faults are on: one more fault leaves
//! what the others do unchanged. The properties of a link are drawn when it is first used.

use crate::faults::{LinkFaults, LinkModel, Rate};
use crate::network::bandwidth::BandwidthQueue;
use crate::network::fate::DropCause;
use crate::network::link_metrics::LinkMetrics;
use crate::network::rules::Envelope;
use crate::network::stream_order::{Connection, DeliveryDecision, StreamPosition};
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use std::collections::BTreeMap;
use std::ops::Range;
use syncline_types::{Choice, SimDuration, SimTime};

/// Scripted properties of one direction of a link, in place of random ones. By default the link is fast,
/// unbounded and up. The faults that all links share, such as latency and loss, apply as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkProperties {
    /// The capacity in bytes per second; 0 for unbounded.
    pub bandwidth: u64,
    /// How many bytes may wait to be sent.
    pub queue_bytes: u64,
    /// The factor by which the latency is longer. 0 counts as 1.
    pub slowdown: u64,
    /// The additional rate of loss.
    pub loss: Rate,
    /// Whether any frame gets through.
    pub is_up: bool,
}

impl Default for LinkProperties {
    fn default() -> Self {
        let queue_bytes = LinkFaults::QUEUE_BYTES;
        Self { bandwidth: 0, queue_bytes, slowdown: 1, loss: Rate::ZERO, is_up: true }
    }
}

impl LinkProperties {
    /// A link on which no frame gets through.
    pub fn down() -> Self {
        Self { is_up: false, ..Self::default() }
    }

    /// A link with this capacity in bytes per second, and room for so many bytes to wait.
    pub fn narrow(bandwidth: u64, queue_bytes: u64) -> Self {
        Self { bandwidth, queue_bytes, ..Self::default() }
    }

    /// A link on which the latency is longer by this factor.
    pub fn slow(slowdown: u64) -> Self {
        Self { slowdown, ..Self::default() }
    }

    /// A link with this additional rate of loss.
    pub fn lossy(loss: Rate) -> Self {
        Self { loss, ..Self::default() }
    }
}

/// The planned path of a frame. The router makes the plan, and the link changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransitPlan {
    /// Why the frame is dropped, if it is.
    pub(super) drop: Option<DropCause>,
    /// Whether a rule breaks its connection.
    pub(super) is_reset: bool,
    /// When the first copy arrives.
    pub(super) first: SimTime,
    /// When the second copy arrives, if the frame is duplicated.
    pub(super) second: SimTime,
    pub(super) is_duplicated: bool,
    /// The bits that are flipped in the first copy and in the second.
    pub(super) flips: [Option<u64>; 2],
    /// Whether a rule flips them. A connection detects and repairs all other corruption.
    pub(super) is_ruled_corrupt: bool,
    /// How often the frame is lost on a connection before it gets through, if it is lost at all. `None`
    /// leaves the number to the seed.
    pub(super) losses: Option<u64>,
    /// Its position, if a connection carries it.
    pub(super) position: Option<StreamPosition>,
}

/// One direction of a link.
#[derive(Clone, Debug)]
struct LinkDirection {
    /// The factor by which the latency is longer, if the link is a bad one in this direction.
    bad: Option<u64>,
    /// When the current burst of losses ends at the latest, if there is one.
    burst_until: Option<SimTime>,
    bandwidth: BandwidthQueue,
    scripted: Option<LinkProperties>,
}

/// The schedule of a flapping link: periods of fixed lengths, up and then down, for ever.
#[derive(Clone, Copy, Debug)]
struct Flap {
    up_us: u64,
    down_us: u64,
    /// How far into its first period the link is at the start of the run.
    begun_us: u64,
}

impl Flap {
    const fn is_down(self, now: SimTime) -> bool {
        (now.as_micros() + self.begun_us) % (self.up_us + self.down_us) >= self.up_us
    }
}

/// Both directions of a link.
#[derive(Clone, Debug)]
struct LinkPair {
    flap: Option<Flap>,
    connection: Option<Connection>,
}

/// The draws of one frame.
struct LinkDraws {
    tail: u64,
    tail_length: u64,
    burst: u64,
    burst_loss: u64,
    wire_loss: u64,
    reset: u64,
    losses: u64,
}

/// The scale of rates: parts per million.
const ALWAYS: u64 = 1_000_000;

impl LinkDraws {
    fn draw(from: NodeId, choices: &mut Choices) -> Self {
        let mut draw = |choice, bound| choices.draw(Stream::SingleLink(from.0), choice, bound);
        Self {
            tail: draw(Choice::LinkTail, ALWAYS),
            tail_length: draw(Choice::LinkTailLength, 1 << 32),
            burst: draw(Choice::LinkBurst, ALWAYS),
            burst_loss: draw(Choice::LinkBurstLoss, ALWAYS),
            wire_loss: draw(Choice::LinkBadLoss, ALWAYS),
            reset: draw(Choice::ConnectionReset, ALWAYS),
            losses: draw(Choice::Retransmissions, ALWAYS),
        }
    }
}

/// Whether a number that was drawn below a million falls within a rate.
fn hits(drawn: u64, rate: Rate) -> bool {
    drawn < u64::from(rate.as_ppm())
}

/// All links that were used so far. Each query costs O(log links).
#[derive(Clone, Debug)]
pub(crate) struct LinkTable {
    faults: LinkFaults,
    /// The rate of loss that all links share.
    loss: Rate,
    directions: BTreeMap<(NodeId, NodeId), LinkDirection>,
    pairs: BTreeMap<(NodeId, NodeId), LinkPair>,
    uplinks: BTreeMap<NodeId, BandwidthQueue>,
    /// How many connections were opened so far: numbers them.
    opened: u64,
    /// From this time on no random fault of a link begins.
    pub(super) calm_from: SimTime,
    pub(super) metrics: LinkMetrics,
    /// Frames that the latency tail delayed, and for which that was more than a millisecond.
    pub stretched: u64,
}

const fn pair_of(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    if a.0 < b.0 { (a, b) } else { (b, a) }
}

impl LinkTable {
    pub(crate) fn new(faults: LinkFaults, loss: Rate) -> Self {
        Self {
            faults,
            loss,
            directions: BTreeMap::new(),
            pairs: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            opened: 0,
            calm_from: SimTime::MAX,
            metrics: LinkMetrics::default(),
            stretched: 0,
        }
    }

    /// Ends all faults of links. Frames in flight on connections stay in flight.
    pub(crate) fn heal(&mut self) {
        let LinkFaults { model, retransmit_after, reset_after, .. } = self.faults;
        self.faults = LinkFaults { model, retransmit_after, reset_after, ..LinkFaults::none() };
        self.loss = Rate::ZERO;
        for direction in self.directions.values_mut() {
            direction.bad = None;
            direction.burst_until = None;
            direction.scripted = None;
        }
        for pair in self.pairs.values_mut() {
            pair.flap = None;
        }
    }

    /// Applies the faults of a link to a frame.
    pub(super) fn carry(
        &mut self,
        now: SimTime,
        frame: &Envelope,
        plan: &mut TransitPlan,
        choices: &mut Choices,
    ) {
        let &Envelope { from, to, .. } = frame;
        let draws = LinkDraws::draw(from, choices);
        // Without a link there is nothing to use. The draws were made all the same.
        if matches!(plan.drop, Some(DropCause::ReceiverUnknown | DropCause::NoLink)) {
            return;
        }
        self.prepare(from, to, choices);
        let is_stream = self.faults.model == LinkModel::Stream;
        if is_stream && self.breaks(now, from, to, plan.is_reset, &draws) {
            plan.drop = Some(DropCause::ConnectionReset);
        }
        // Such a frame never enters the link: it uses no capacity and does not advance the burst.
        if matches!(plan.drop, Some(DropCause::Rule | DropCause::ConnectionReset)) {
            return;
        }
        let is_down = self.is_down(from, to, now);
        self.metrics.link_down_frames += u64::from(is_down);
        if is_down {
            plan.drop.get_or_insert(DropCause::LinkDown);
        }
        if self.loses(now, from, to, &draws) {
            plan.drop.get_or_insert(DropCause::Loss);
        }
        self.stretch(now, from, to, plan, &draws);
        if is_stream {
            self.carry_in_order(now, frame, plan, &draws);
        } else if let Some(leaves) = self.queue(now, frame, self.room(from, to)) {
            plan.first += leaves.since(now);
            plan.second += leaves.since(now);
        } else {
            // The frame never leaves its sender, so this fate replaces any that was to come later on its way.
            self.metrics.queue_drops += 1;
            plan.drop = Some(DropCause::QueueFull);
        }
    }

    /// Draws the properties of a link when it is first used.
    fn prepare(&mut self, from: NodeId, to: NodeId, choices: &mut Choices) {
        let faults = &self.faults;
        self.directions.entry((from, to)).or_insert_with(|| {
            let mut draw = |choice, bound| choices.draw(Stream::LinkTraits(from.0), choice, bound);
            let is_bad = hits(draw(Choice::BadLink, ALWAYS), faults.bad_link_rate);
            // A bad link is at least twice as slow, if the setting allows a factor at all.
            let slowdown = (2 + draw(Choice::BadLinkSlowdown, faults.bad_link_slowdown.max(2) - 1))
                .min(faults.bad_link_slowdown);
            let bad = is_bad.then_some(slowdown);
            LinkDirection { bad, burst_until: None, bandwidth: BandwidthQueue::default(), scripted: None }
        });
        self.pairs.entry(pair_of(from, to)).or_insert_with(|| {
            let mut draw = |choice, bound| choices.draw(Stream::LinkTraits(from.0), choice, bound);
            let flaps = hits(draw(Choice::FlappingLink, ALWAYS), faults.flap_rate);
            let mut length = |choice, range: &Range<u64>| {
                range.start * 1_000 + draw(choice, (range.end - range.start) * 1_000)
            };
            let up_us = length(Choice::FlapUp, &faults.flap_up_ms);
            let down_us = length(Choice::FlapDown, &faults.flap_down_ms);
            let begun_us = length(Choice::FlapBegun, &(0..(up_us + down_us).div_ceil(1_000)));
            LinkPair { flap: flaps.then_some(Flap { up_us, down_us, begun_us }), connection: None }
        });
    }

    /// Breaks the connection as a frame is sent, at random or by a rule. Returns whether it does.
    fn breaks(&mut self, now: SimTime, from: NodeId, to: NodeId, is_ruled: bool, draws: &LinkDraws) -> bool {
        let is_random = now < self.calm_from && hits(draws.reset, self.faults.reset_rate);
        self.metrics.chance_resets += u64::from(is_random && self.connection(from, to).is_some());
        if is_random || is_ruled {
            self.break_between(from, to);
        }
        is_random || is_ruled
    }

    /// Whether the link loses a frame: within a burst, or by its own rate of loss.
    ///
    /// Bursts follow the model of Gilbert and Elliott (Gilbert 1960, Elliott 1963): a link is in one of two
    /// states, changes between them from frame to frame at two rates, and loses frames at a high rate in one.
    fn loses(&mut self, now: SimTime, from: NodeId, to: NodeId, draws: &LinkDraws) -> bool {
        let Some(direction) = self.directions.get_mut(&(from, to)) else {
            unreachable!("a link is prepared before use")
        };
        let lasting = direction.burst_until.filter(|until| now < *until);
        self.metrics.bursts_expired += u64::from(lasting.is_none() && direction.burst_until.is_some());
        // One draw serves both transitions: the state decides which rate it is compared with.
        direction.burst_until = match lasting {
            Some(until) => {
                let ends = hits(draws.burst, self.faults.burst_end_rate);
                self.metrics.bursts_ended += u64::from(ends);
                (!ends).then_some(until)
            }
            None => hits(draws.burst, self.faults.burst_rate).then(|| now + self.faults.burst_most),
        };
        let in_burst = direction.burst_until.is_some() && hits(draws.burst_loss, self.faults.burst_loss);
        self.metrics.burst_losses += u64::from(in_burst);
        let loss = match (direction.scripted, direction.bad) {
            (Some(scripted), _) => scripted.loss,
            (None, Some(_)) => self.faults.bad_link_loss,
            (None, None) => Rate::ZERO,
        };
        in_burst || hits(draws.wire_loss, loss)
    }

    /// Delays a frame, if the link is a bad one or the frame falls into the tail of the latency.
    fn stretch(&mut self, now: SimTime, from: NodeId, to: NodeId, plan: &mut TransitPlan, draws: &LinkDraws) {
        let Some(direction) = self.directions.get(&(from, to)) else {
            unreachable!("a link is prepared before use")
        };
        let slowdown = match (direction.scripted, direction.bad) {
            (Some(scripted), _) => scripted.slowdown.max(1),
            (None, Some(slowdown)) => {
                self.metrics.bad_link_frames += 1;
                slowdown
            }
            (None, None) => 1,
        };
        plan.first = now + plan.first.since(now).times(slowdown);
        plan.second = now + plan.second.since(now).times(slowdown);
        if hits(draws.tail, self.faults.tail_rate) {
            self.metrics.tail_delays += 1;
            // A Pareto distribution of shape one, by inverse transform sampling: 1/u for a uniform u.
            let delay = plan.first.since(now).max(SimDuration::from_millis(1));
            let longer = (u128::from(delay.as_micros()) << 32) / u128::from(draws.tail_length + 1);
            // The cap bounds the tail alone: a frame that is slower anyway is not sped up.
            let longest = self.faults.tail_most.max(delay);
            let longer = SimDuration::from_micros(u64::try_from(longer).unwrap_or(u64::MAX));
            let longer = longer.min(longest);
            self.stretched += u64::from(longer > delay);
            plan.first = now + longer;
        }
    }

    /// How many bytes may wait on a link.
    fn room(&self, from: NodeId, to: NodeId) -> u64 {
        let scripted = self.directions.get(&(from, to)).and_then(|direction| direction.scripted);
        scripted.map_or(self.faults.queue_bytes, |scripted| scripted.queue_bytes)
    }

    /// When a frame that is ready at `now` has left its sender; `None` if there is no room for it to wait.
    fn queue(&mut self, now: SimTime, frame: &Envelope, room: u64) -> Option<SimTime> {
        let &Envelope { from, to, bytes, .. } = frame;
        let Some(direction) = self.directions.get_mut(&(from, to)) else {
            unreachable!("a link is prepared before use")
        };
        let (queue, rate) = match direction.scripted {
            Some(scripted) => (&mut direction.bandwidth, scripted.bandwidth),
            None if self.faults.shared_uplink => {
                self.metrics.uplink_frames += u64::from(self.faults.bandwidth > 0);
                (self.uplinks.entry(from).or_default(), self.faults.bandwidth)
            }
            None => (&mut direction.bandwidth, self.faults.bandwidth),
        };
        if rate == 0 {
            return Some(now);
        }
        let departure = queue.accept(now, bytes as u64, rate, room)?;
        self.metrics.frames_queued += u64::from(departure.waited > SimDuration::ZERO);
        self.metrics.queue_delay_us += departure.waited.as_micros();
        Some(departure.at)
    }

    /// Enqueues a frame on its connection. Each fault that would lose a datagram costs a retransmission.
    fn carry_in_order(&mut self, now: SimTime, frame: &Envelope, plan: &mut TransitPlan, draws: &LinkDraws) {
        let &Envelope { from, to, .. } = frame;
        let delay = plan.first.since(now);
        let [flip, _] = plan.flips;
        let is_corrupt = flip.is_some() && !plan.is_ruled_corrupt;
        // `carry` has returned for all causes but a loss, a partition and a link that is down. The last two
        // do not drop the frame: when it arrives, `decide` stalls it for as long as the direction is blocked.
        let retransmissions = match plan.drop.take() {
            Some(DropCause::Loss) => *plan.losses.get_or_insert_with(|| self.losses(draws)),
            Some(_) => 1,
            None => u64::from(is_corrupt),
        };
        self.metrics.frames_retransmitted += retransmissions;
        // A connection delivers each frame once. Its checksums detect random corruption, and a retransmission
        // repairs it; only a rule can corrupt a frame for good.
        plan.is_duplicated = false;
        if !plan.is_ruled_corrupt {
            plan.flips = [None; 2];
        }
        let ready_at = self.connect(now, from, to, delay);
        // A connection has flow control instead of a bounded queue: a frame waits and is never dropped.
        let leaves = self.queue(now.max(ready_at), frame, u64::MAX).unwrap_or(now);
        let arrival = leaves + delay + self.faults.retransmit_after.times(retransmissions);
        if let Some(connection) = self.connection(from, to) {
            let (at, position) = connection.enqueue(from, to, arrival);
            plan.first = at;
            plan.position = Some(position);
        }
    }

    /// How often a frame that was lost once is lost before it gets through: a geometric distribution, by
    /// inverse transform sampling from one draw.
    fn losses(&self, draws: &LinkDraws) -> u64 {
        const MOST: u64 = 10;
        let loss = u64::from(self.loss.as_ppm());
        let mut losses = 1;
        let mut chance = loss;
        while draws.losses < chance && losses < MOST {
            losses += 1;
            chance = chance * loss / ALWAYS;
        }
        losses
    }

    /// When the connection between two nodes is ready. Opens one if there is none: the handshake is a round
    /// trip.
    fn connect(&mut self, now: SimTime, from: NodeId, to: NodeId, delay: SimDuration) -> SimTime {
        let Some(pair) = self.pairs.get_mut(&pair_of(from, to)) else {
            unreachable!("a link is prepared before use")
        };
        let connection = pair.connection.get_or_insert_with(|| {
            self.opened += 1;
            self.metrics.connections_opened += 1;
            Connection::new(self.opened, now + delay.times(2))
        });
        connection.ready_at
    }

    fn connection(&mut self, a: NodeId, b: NodeId) -> Option<&mut Connection> {
        self.pairs.get_mut(&pair_of(a, b))?.connection.as_mut()
    }

    /// Whether the script has taken down the link from `from` to `to`.
    pub(super) fn is_taken_down(&self, from: NodeId, to: NodeId) -> bool {
        let scripted = self.directions.get(&(from, to)).and_then(|direction| direction.scripted);
        scripted.is_some_and(|scripted| !scripted.is_up)
    }

    /// Whether the link is down: scripted, or because it flaps.
    pub(super) fn is_down(&self, from: NodeId, to: NodeId, now: SimTime) -> bool {
        if let Some(scripted) = self.directions.get(&(from, to)).and_then(|direction| direction.scripted) {
            return !scripted.is_up;
        }
        let flap = || self.pairs.get(&pair_of(from, to))?.flap;
        now < self.calm_from && flap().is_some_and(|flap| flap.is_down(now))
    }

    /// Decides about a frame that arrives on a connection. `is_blocked` tells whether a partition is up.
    pub(crate) fn decide(
        &mut self,
        now: SimTime,
        (from, to): (NodeId, NodeId),
        position: StreamPosition,
        is_blocked: bool,
    ) -> DeliveryDecision {
        let is_down = self.is_down(from, to, now);
        let times = (self.faults.retransmit_after, self.faults.reset_after);
        let Some(connection) = self.connection(from, to) else {
            // The connection broke since the frame was sent.
            return DeliveryDecision::Broken;
        };
        let decision = connection.decide(now, (from, to), position, is_blocked || is_down, times);
        match decision {
            DeliveryDecision::StallUntil(_) => {
                self.metrics.frames_stalled += 1;
                self.metrics.link_down_frames += u64::from(is_down);
            }
            DeliveryDecision::TimedOut => {
                // Both directions break: the frames behind this one find no connection and are dropped.
                self.metrics.stall_resets += 1;
                self.break_between(from, to);
            }
            DeliveryDecision::Deliver | DeliveryDecision::WaitUntil(_) | DeliveryDecision::Broken => {}
        }
        decision
    }

    /// Breaks the connection between two nodes. Returns whether there was one.
    pub(super) fn break_between(&mut self, a: NodeId, b: NodeId) -> bool {
        let pair = self.pairs.get_mut(&pair_of(a, b));
        let broke = pair.is_some_and(|pair| pair.connection.take().is_some());
        self.metrics.connection_resets += u64::from(broke);
        broke
    }

    /// Breaks all connections of a node. O(links).
    pub(super) fn break_all_of(&mut self, node: NodeId) {
        for ((a, b), pair) in &mut self.pairs {
            if *a == node || *b == node {
                self.metrics.connection_resets += u64::from(pair.connection.take().is_some());
            }
        }
    }

    /// Sets the properties of one direction of a link, or, with `None`, lets the seed decide again. Returns
    /// the properties that were set before.
    pub(super) fn set(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
        choices: &mut Choices,
    ) -> Option<LinkProperties> {
        self.prepare(from, to, choices);
        let direction = self.directions.get_mut(&(from, to))?;
        direction.bandwidth.round_up();
        std::mem::replace(&mut direction.scripted, properties)
    }
}
