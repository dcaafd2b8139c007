//! Single links: what each is like, and what it does to a frame that chance, rules and partitions have
//! dealt with already. There is none of this while the faults of links are off.
//!
//! Every frame draws the same choices, from a stream of its own, whichever faults are on: one more fault
//! leaves what the others do as it was. What a link is like is drawn when it is first used.

use crate::faults::{LinkFaults, LinkModel, Rate};
use crate::network::bandwidth::Pipe;
use crate::network::fate::DropCause;
use crate::network::link_metrics::LinkMetrics;
use crate::network::rules::Envelope;
use crate::network::stream_order::{Connection, Ticket, Turn};
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use std::collections::BTreeMap;
use std::ops::Range;
use syncline_types::{Choice, SimDuration, SimTime};

/// What one direction of a link is like, when a test says so instead of chance. By default it is fast,
/// unbounded and up; what holds for all links, as latency and loss, holds for it besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkProperties {
    /// How many bytes per second it carries; 0 for any number.
    pub bandwidth: u64,
    /// How many bytes may wait for their turn.
    pub queue_bytes: u64,
    /// How many times longer frames take. 0 counts as 1.
    pub slowdown: u64,
    /// How often a frame is lost besides.
    pub loss: Rate,
    /// Whether it lets anything through.
    pub is_up: bool,
}

impl Default for LinkProperties {
    fn default() -> Self {
        let (queue_bytes, loss) = (LinkFaults::QUEUE_BYTES, Rate::ZERO);
        Self { bandwidth: 0, queue_bytes, slowdown: 1, loss, is_up: true }
    }
}

impl LinkProperties {
    /// A link that lets nothing through.
    pub fn down() -> Self {
        Self { is_up: false, ..Self::default() }
    }

    /// A link that carries so many bytes per second, with room for so many to wait.
    pub fn narrow(bandwidth: u64, queue_bytes: u64) -> Self {
        Self { bandwidth, queue_bytes, ..Self::default() }
    }

    /// A link on which frames take so many times longer.
    pub fn slow(slowdown: u64) -> Self {
        Self { slowdown, ..Self::default() }
    }

    /// A link that loses so many frames besides.
    pub fn lossy(loss: Rate) -> Self {
        Self { loss, ..Self::default() }
    }
}

/// What is known of a frame before its link is asked; the link changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    /// Why it is dropped, if it is.
    pub(super) drop: Option<DropCause>,
    /// A rule breaks its connection.
    pub(super) is_reset: bool,
    /// When it arrives.
    pub(super) first: SimTime,
    /// When its copy does, if it is doubled.
    pub(super) second: SimTime,
    pub(super) is_doubled: bool,
    /// The bits that are flipped in it, and in its copy.
    pub(super) flips: [Option<u64>; 2],
    /// They are flipped by a rule.
    pub(super) is_ruled_corrupt: bool,
    /// How often it is lost on a connection, if it is lost: chance decides if that is not known.
    pub(super) losses: Option<u64>,
    /// Its place, on a stream.
    pub(super) ticket: Option<Ticket>,
}

/// One direction of a link.
#[derive(Clone, Debug)]
struct Wire {
    /// How many times longer frames take, if it is a bad one.
    bad: Option<u64>,
    /// When the bad stretch ends that it is in, at the latest.
    burst_until: Option<SimTime>,
    pipe: Pipe,
    scripted: Option<LinkProperties>,
}

/// When a link goes up and down: for ever the same lengths, from a point within the first.
#[derive(Clone, Copy, Debug)]
struct Flap {
    up_us: u64,
    down_us: u64,
    begun_us: u64,
}

impl Flap {
    const fn is_down(self, now: SimTime) -> bool {
        (now.as_micros() + self.begun_us) % (self.up_us + self.down_us) >= self.up_us
    }
}

/// Both directions of a link.
#[derive(Clone, Debug)]
struct Pair {
    flap: Option<Flap>,
    connection: Option<Connection>,
}

/// What one frame drew.
struct Luck {
    tail: u64,
    tail_length: u64,
    burst: u64,
    burst_loss: u64,
    wire_loss: u64,
    reset: u64,
    losses: u64,
}

const ALWAYS: u64 = 1_000_000;

impl Luck {
    fn draw(from: NodeId, choices: &mut Choices) -> Self {
        let mut draw = |choice, bound| choices.drawn(Stream::Wire(from.0), choice, bound);
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

fn strikes(drawn: u64, rate: Rate) -> bool {
    drawn < u64::from(rate.as_ppm())
}

/// All links that were ever used. Asking about one costs O(log links).
#[derive(Clone, Debug)]
pub(crate) struct Links {
    faults: LinkFaults,
    /// How often a frame is lost on any link.
    loss: Rate,
    wires: BTreeMap<(NodeId, NodeId), Wire>,
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
    uplinks: BTreeMap<NodeId, Pipe>,
    opened: u64,
    /// From when on nothing new breaks by chance.
    pub(super) calm_from: SimTime,
    pub(super) metrics: LinkMetrics,
    /// Frames that the tail made longer than they were, and than a millisecond.
    pub stretched: u64,
}

const fn pair_of(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    if a.0 < b.0 { (a, b) } else { (b, a) }
}

impl Links {
    pub(crate) fn new(faults: LinkFaults, loss: Rate) -> Self {
        Self {
            faults,
            loss,
            wires: BTreeMap::new(),
            pairs: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            opened: 0,
            calm_from: SimTime::MAX,
            metrics: LinkMetrics::default(),
            stretched: 0,
        }
    }

    /// Takes all that is wrong with links away. What is on its way on connections stays there.
    pub(crate) fn heal(&mut self) {
        let LinkFaults { model, retransmit_after, reset_after, .. } = self.faults;
        self.faults = LinkFaults { model, retransmit_after, reset_after, ..LinkFaults::none() };
        self.loss = Rate::ZERO;
        for wire in self.wires.values_mut() {
            (wire.bad, wire.burst_until, wire.scripted) = (None, None, None);
        }
        for pair in self.pairs.values_mut() {
            pair.flap = None;
        }
    }

    /// Lets the link have its way with a frame.
    pub(super) fn carry(&mut self, now: SimTime, frame: &Envelope, draft: &mut Draft, choices: &mut Choices) {
        let &Envelope { from, to, .. } = frame;
        let luck = Luck::draw(from, choices);
        if matches!(draft.drop, Some(DropCause::ReceiverUnknown | DropCause::NoLink)) {
            return;
        }
        self.prepare(from, to, choices);
        let is_stream = self.faults.model == LinkModel::Stream;
        if is_stream && self.breaks(now, from, to, draft.is_reset, &luck) {
            draft.drop = Some(DropCause::ConnectionReset);
        }
        if matches!(draft.drop, Some(DropCause::Rule | DropCause::ConnectionReset)) {
            return;
        }
        let is_down = self.is_down(from, to, now);
        self.metrics.link_down_frames += u64::from(is_down);
        if is_down {
            draft.drop.get_or_insert(DropCause::LinkDown);
        }
        if self.loses(now, from, to, &luck) {
            draft.drop.get_or_insert(DropCause::Loss);
        }
        self.stretch(now, from, to, draft, &luck);
        if is_stream {
            self.carry_in_order(now, frame, draft, &luck);
        } else if let Some(leaves) = self.queue(now, frame, self.room(from, to)) {
            draft.first += leaves.since(now);
            draft.second += leaves.since(now);
        } else {
            self.metrics.queue_drops += 1;
            draft.drop = Some(DropCause::QueueFull);
        }
    }

    /// Draws what the link is like, if it was never used.
    fn prepare(&mut self, from: NodeId, to: NodeId, choices: &mut Choices) {
        let faults = &self.faults;
        self.wires.entry((from, to)).or_insert_with(|| {
            let mut draw = |choice, bound| choices.drawn(Stream::Wiring(from.0), choice, bound);
            let is_bad = strikes(draw(Choice::BadLink, ALWAYS), faults.bad_link_rate);
            // Twice as slow at least, where a factor is allowed at all.
            let slowdown = (2 + draw(Choice::BadLinkSlowdown, faults.bad_link_slowdown.max(2) - 1))
                .min(faults.bad_link_slowdown);
            let bad = is_bad.then_some(slowdown);
            Wire { bad, burst_until: None, pipe: Pipe::default(), scripted: None }
        });
        self.pairs.entry(pair_of(from, to)).or_insert_with(|| {
            let mut draw = |choice, bound| choices.drawn(Stream::Wiring(from.0), choice, bound);
            let flaps = strikes(draw(Choice::FlappingLink, ALWAYS), faults.flap_rate);
            let mut length = |choice, range: &Range<u64>| {
                range.start * 1_000 + draw(choice, (range.end - range.start) * 1_000)
            };
            let up_us = length(Choice::FlapUp, &faults.flap_up_ms);
            let down_us = length(Choice::FlapDown, &faults.flap_down_ms);
            let begun_us = length(Choice::FlapBegun, &(0..(up_us + down_us).div_ceil(1_000)));
            Pair { flap: flaps.then_some(Flap { up_us, down_us, begun_us }), connection: None }
        });
    }

    /// Whether the connection breaks as this frame is sent.
    fn breaks(&mut self, now: SimTime, from: NodeId, to: NodeId, is_ruled: bool, luck: &Luck) -> bool {
        let by_chance = now < self.calm_from && strikes(luck.reset, self.faults.reset_rate);
        self.metrics.chance_resets += u64::from(by_chance && self.connection(from, to).is_some());
        if by_chance || is_ruled {
            self.break_between(from, to);
        }
        by_chance || is_ruled
    }

    /// Whether the link loses a frame, besides what all links lose.
    fn loses(&mut self, now: SimTime, from: NodeId, to: NodeId, luck: &Luck) -> bool {
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return false };
        let lasting = wire.burst_until.filter(|until| now < *until);
        self.metrics.bursts_expired += u64::from(lasting.is_none() && wire.burst_until.is_some());
        wire.burst_until = match lasting {
            Some(until) => {
                let ends = strikes(luck.burst, self.faults.burst_end_rate);
                self.metrics.bursts_ended += u64::from(ends);
                (!ends).then_some(until)
            }
            None => strikes(luck.burst, self.faults.burst_rate).then(|| now + self.faults.burst_most),
        };
        let in_burst = wire.burst_until.is_some() && strikes(luck.burst_loss, self.faults.burst_loss);
        self.metrics.burst_losses += u64::from(in_burst);
        let loss = match (wire.scripted, wire.bad) {
            (Some(scripted), _) => scripted.loss,
            (None, Some(_)) => self.faults.bad_link_loss,
            (None, None) => Rate::ZERO,
        };
        in_burst || strikes(luck.wire_loss, loss)
    }

    /// Makes a frame take longer, if the link is a bad one or the tail of the latency strikes.
    fn stretch(&mut self, now: SimTime, from: NodeId, to: NodeId, draft: &mut Draft, luck: &Luck) {
        let Some(wire) = self.wires.get(&(from, to)) else { return };
        let slowdown = match (wire.scripted, wire.bad) {
            (Some(scripted), _) => scripted.slowdown.max(1),
            (None, Some(slowdown)) => {
                self.metrics.bad_link_frames += 1;
                slowdown
            }
            (None, None) => 1,
        };
        draft.first = now + draft.first.since(now).times(slowdown);
        draft.second = now + draft.second.since(now).times(slowdown);
        if strikes(luck.tail, self.faults.tail_rate) {
            self.metrics.tail_delays += 1;
            // Pareto with a shape of one, by the inverse of its distribution: 1/u for a uniform u.
            let delay = draft.first.since(now).max(SimDuration::from_millis(1));
            let longer = (u128::from(delay.as_micros()) << 32) / u128::from(luck.tail_length + 1);
            let longest = self.faults.tail_most.max(delay);
            let longer = SimDuration::from_micros(u64::try_from(longer).unwrap_or(u64::MAX));
            let longer = longer.min(longest);
            self.stretched += u64::from(longer > delay);
            draft.first = now + longer;
        }
    }

    /// The bytes that may wait on a link.
    fn room(&self, from: NodeId, to: NodeId) -> u64 {
        let scripted = self.wires.get(&(from, to)).and_then(|wire| wire.scripted);
        scripted.map_or(self.faults.queue_bytes, |scripted| scripted.queue_bytes)
    }

    /// When a frame that is ready at `now` has left its sender; `None` if there is no room to wait.
    fn queue(&mut self, now: SimTime, frame: &Envelope, room: u64) -> Option<SimTime> {
        let &Envelope { from, to, bytes, .. } = frame;
        let Some(wire) = self.wires.get_mut(&(from, to)) else { return Some(now) };
        let (pipe, rate) = match wire.scripted {
            Some(scripted) => (&mut wire.pipe, scripted.bandwidth),
            None if self.faults.shared_uplink => {
                self.metrics.uplink_frames += u64::from(self.faults.bandwidth > 0);
                (self.uplinks.entry(from).or_default(), self.faults.bandwidth)
            }
            None => (&mut wire.pipe, self.faults.bandwidth),
        };
        if rate == 0 {
            return Some(now);
        }
        let departure = pipe.take(now, bytes as u64, rate, room)?;
        self.metrics.frames_queued += u64::from(departure.waited > SimDuration::ZERO);
        self.metrics.queue_delay_us += departure.waited.as_micros();
        Some(departure.at)
    }

    /// Puts a frame in its place in its connection. What would lose a datagram makes it late.
    fn carry_in_order(&mut self, now: SimTime, frame: &Envelope, draft: &mut Draft, luck: &Luck) {
        let &Envelope { from, to, .. } = frame;
        let delay = draft.first.since(now);
        let [flip, _] = draft.flips;
        let is_garbled = flip.is_some() && !draft.is_ruled_corrupt;
        let again = match draft.drop.take() {
            Some(DropCause::Loss) => *draft.losses.get_or_insert_with(|| self.losses(luck)),
            Some(_) => 1,
            None => u64::from(is_garbled),
        };
        self.metrics.frames_retransmitted += again;
        draft.is_doubled = false;
        if !draft.is_ruled_corrupt {
            draft.flips = [None; 2];
        }
        let ready_at = self.connect(now, from, to, delay);
        let leaves = self.queue(now.max(ready_at), frame, u64::MAX).unwrap_or(now);
        let arrival = leaves + delay + self.faults.retransmit_after.times(again);
        if let Some(connection) = self.connection(from, to) {
            let (at, ticket) = connection.enter(from, to, arrival);
            (draft.first, draft.ticket) = (at, Some(ticket));
        }
    }

    /// How often a frame that was lost once is lost until it gets through: geometric, by the inverse of
    /// its distribution, from one draw.
    fn losses(&self, luck: &Luck) -> u64 {
        const MOST: u64 = 10;
        let loss = u64::from(self.loss.as_ppm());
        let (mut losses, mut chance) = (1, loss);
        while luck.losses < chance && losses < MOST {
            losses += 1;
            chance = chance * loss / ALWAYS;
        }
        losses
    }

    /// When the connection is ready, which is set up if there is none.
    fn connect(&mut self, now: SimTime, from: NodeId, to: NodeId, delay: SimDuration) -> SimTime {
        let Some(pair) = self.pairs.get_mut(&pair_of(from, to)) else { return now };
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

    /// Whether the link lets nothing through.
    pub(super) fn is_down(&self, from: NodeId, to: NodeId, now: SimTime) -> bool {
        if let Some(scripted) = self.wires.get(&(from, to)).and_then(|wire| wire.scripted) {
            return !scripted.is_up;
        }
        let flap = || self.pairs.get(&pair_of(from, to))?.flap;
        now < self.calm_from && flap().is_some_and(|flap| flap.is_down(now))
    }

    /// What a frame that arrives on a connection may do; `is_blocked` if a partition is up.
    pub(crate) fn turn(
        &mut self,
        now: SimTime,
        (from, to): (NodeId, NodeId),
        ticket: Ticket,
        is_blocked: bool,
    ) -> Turn {
        let is_down = self.is_down(from, to, now);
        let times = (self.faults.retransmit_after, self.faults.reset_after);
        let Some(connection) = self.connection(from, to) else { return Turn::Broken };
        let turn = connection.turn(now, (from, to), ticket, is_blocked || is_down, times);
        match turn {
            Turn::Stalls(_) => {
                self.metrics.frames_stalled += 1;
                self.metrics.link_down_frames += u64::from(is_down);
            }
            Turn::GivesUp => {
                self.metrics.stall_resets += 1;
                self.break_between(from, to);
            }
            Turn::Now | Turn::Waits(_) | Turn::Broken => {}
        }
        turn
    }

    /// Breaks the connection between two nodes. Says whether there was one.
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

    /// Says what one direction of a link is like from now on, or leaves it to chance again. Gives what
    /// was said before.
    pub(super) fn set(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
        choices: &mut Choices,
    ) -> Option<LinkProperties> {
        self.prepare(from, to, choices);
        let wire = self.wires.get_mut(&(from, to))?;
        wire.pipe.round_up();
        std::mem::replace(&mut wire.scripted, properties)
    }
}
