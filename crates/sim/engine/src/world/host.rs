//! What goes wrong within nodes, by chance or as a test has it: wall clocks, timers, disks, pace.
//!
//! A world without such faults has none of this: asking costs one look at an empty option.

use crate::actor::{Actor, Commit};
use crate::event::{CrashPoint, Delivery, SimEvent};
use crate::faults::{HostFaults, Rate};
use crate::network::{Ticket, Turn};
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use crate::world::history_hooks::dropped_since;
use crate::world::wall_clock::WallClock;
use crate::world::{Stepped, World};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use syncline_types::{Choice, Moment, SimDuration, SimTime};

/// What a right clock shows at the start of a run whose clocks may be wrong: a day, so that they can be
/// behind.
const EPOCH_US: u64 = 86_400_000_000;
/// For how long at most a bit that has flipped lies there before the store looks through all its rows.
const SCRUB_WITHIN_MS: Range<u64> = 0..2_000;
/// How long a node is down whose disk failed, where crashes have no length of their own.
const DOWN_MS: Range<u64> = 100..1_000;

/// Something that happens to a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostEvent {
    /// Its wall clock is set to be ahead by so many microseconds (behind, if negative), and left alone.
    Clock(i64),
    /// Its wall clock stands still for a while.
    Freeze(SimDuration),
    /// It processes nothing for a while.
    Pause(SimDuration),
    /// The next write of a step fails.
    FailWrite,
    /// From now on its disk lies about every sync, or stops to.
    Lying(bool),
    /// A bit of a stored row flips.
    Rot,
    /// Its store looks through all rows.
    Scrub,
    /// It is done with an input, and may take the next. The number tells wakes apart.
    Wake(u64),
    /// Something of this kind happens by chance.
    Chance(Trouble),
}

/// A kind of trouble that comes by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The wall clock jumps.
    ClockJump,
    /// The wall clock stands still.
    ClockFreeze,
    /// The node stops to work.
    Pause,
    /// Power fails within the next commit.
    TornWrite,
    /// A bit on disk flips.
    Rot,
}

impl Trouble {
    const ALL: [Self; 5] = [Self::ClockJump, Self::ClockFreeze, Self::Pause, Self::TornWrite, Self::Rot];

    const fn rate(self, faults: &HostFaults) -> Rate {
        match self {
            Self::ClockJump => faults.clock_jump_probability,
            Self::ClockFreeze => faults.clock_freeze_probability,
            Self::Pause => faults.pause_probability,
            Self::TornWrite => faults.torn_write_probability,
            Self::Rot => faults.rot_probability,
        }
    }

    const fn draw(self, node: NodeId) -> (Stream, Choice) {
        match self {
            Self::ClockJump => (Stream::Clock(node.0), Choice::ClockJumpGap),
            Self::ClockFreeze => (Stream::Clock(node.0), Choice::ClockFreezeGap),
            Self::Pause => (Stream::Pause(node.0), Choice::PauseGap),
            Self::TornWrite => (Stream::Disk(node.0), Choice::TornWriteGap),
            Self::Rot => (Stream::Disk(node.0), Choice::RotGap),
        }
    }
}

/// What the faults of hosts did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostEffects {
    /// How far a wall clock was off at most when a step saw it, in milliseconds.
    pub clock_error_ms: u64,
    /// Jumps of wall clocks.
    pub clock_jumps: u64,
    /// Wall clocks that stood still.
    pub clock_freezes: u64,
    /// Timers that were set too long or too short.
    pub bent_timers: u64,
    /// Pauses.
    pub pauses: u64,
    /// Frames, timers and writes that waited because their node was at work or paused.
    pub inputs_delayed: u64,
    /// Writes that a crash lost while they waited.
    pub writes_lost_waiting: u64,
    /// Writes to disk that failed.
    pub failed_writes: u64,
    /// Commits of which the disk said that they are synced, and they were not.
    pub lying_syncs: u64,
    /// Commits that a crash lost for that.
    pub lost_commits: u64,
    /// Commits that a crash came into the middle of.
    pub torn_writes: u64,
    /// Rows on disk that a bit flipped in.
    pub rotten_rows: u64,
    /// Nodes that noticed that their state was damaged or gone, and began afresh under a new name.
    pub fresh_starts: u64,
}

impl HostEffects {
    /// Adds those of another run, or of another part.
    pub fn add(&mut self, other: &Self) {
        self.clock_error_ms = self.clock_error_ms.max(other.clock_error_ms);
        self.clock_jumps += other.clock_jumps;
        self.clock_freezes += other.clock_freezes;
        self.bent_timers += other.bent_timers;
        self.pauses += other.pauses;
        self.inputs_delayed += other.inputs_delayed;
        self.writes_lost_waiting += other.writes_lost_waiting;
        self.failed_writes += other.failed_writes;
        self.lying_syncs += other.lying_syncs;
        self.lost_commits += other.lost_commits;
        self.torn_writes += other.torn_writes;
        self.rotten_rows += other.rotten_rows;
        self.fresh_starts += other.fresh_starts;
    }
}

/// One node's clocks, pace and inbox.
#[derive(Clone, Debug)]
struct Host<Op> {
    clock: WallClock,
    /// By how many parts per million its timers are too long.
    timer_ppm: i64,
    processing: SimDuration,
    /// It takes no input before.
    busy_until: SimTime,
    /// What waits for that, in the order of arrival, with its number in the queue.
    inbox: VecDeque<(u64, SimEvent<Op>)>,
    /// How often it was to be woken.
    wakes: u64,
    /// Whether the last of these is still to come.
    waking: bool,
    lying: bool,
    fails_next: bool,
}

/// The hosts of a world in which something may be wrong with them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts<Op> {
    faults: HostFaults,
    nodes: Vec<Host<Op>>,
    effects: HostEffects,
    longest_jump_us: u64,
}

impl<Op> Hosts<Op> {
    /// Hosts with these faults; `None` if there are none.
    pub(crate) fn of(faults: &HostFaults) -> Option<Box<Self>> {
        (*faults != HostFaults::none()).then(|| Box::new(Self::sound(faults.clone())))
    }

    fn sound(faults: HostFaults) -> Self {
        Self { faults, nodes: Vec::new(), effects: HostEffects::default(), longest_jump_us: 0 }
    }

    /// The next node's host.
    pub(crate) fn add(&mut self, choices: &mut Choices) {
        let node = self.nodes.len() as u32;
        let either_way = |choices: &mut Choices, stream, choice, most: u64| {
            choices.between(stream, choice, 0, most * 2) as i64 - most as i64
        };
        let HostFaults { clock_skew_ms, clock_drift_ppm, timer_drift_ppm, .. } = self.faults;
        let stream = Stream::Clock(node);
        let offset = either_way(choices, stream, Choice::ClockSkew, clock_skew_ms * 1_000);
        let drift = either_way(choices, stream, Choice::ClockDrift, clock_drift_ppm);
        let timer_ppm = either_way(choices, stream, Choice::TimerDrift, timer_drift_ppm);
        let clock = if self.faults.bend_clocks() {
            let bound_us = self.faults.clock_bound_ms() as i64 * 1_000;
            WallClock::new(EPOCH_US).wrong_by_chance(offset, drift, bound_us)
        } else {
            WallClock::new(0)
        };
        let slow = self.faults.slow_host_permille > 1_000
            && choices.below(Stream::Pause(node), Choice::SlowHost, 4) == 0;
        let permille = if slow { self.faults.slow_host_permille } else { 1_000 };
        self.nodes.push(Host {
            clock,
            timer_ppm,
            processing: SimDuration::from_micros(self.faults.processing.as_micros() * permille / 1_000),
            busy_until: SimTime::ZERO,
            inbox: VecDeque::new(),
            wakes: 0,
            waking: false,
            lying: false,
            fails_next: false,
        });
    }

    /// When a timer that a node sets at `now` for `at` fires.
    pub(super) fn bent(&mut self, node: NodeId, at: SimTime, now: SimTime, chaos_until: SimTime) -> SimTime {
        let ppm = self.nodes.get(node.index()).map_or(0, |host| host.timer_ppm);
        if ppm == 0 || now >= chaos_until || at <= now {
            return at;
        }
        self.effects.bent_timers += 1;
        let span = u128::from(at.since(now).as_micros());
        let bent = (span * (1_000_000 + i128::from(ppm)).unsigned_abs()).div_ceil(1_000_000);
        now + SimDuration::from_micros(u64::try_from(bent).unwrap_or(u64::MAX))
    }
}

impl<A: Actor> World<A> {
    /// What the faults of hosts did, but for what disks know themselves.
    pub fn host_effects(&self) -> HostEffects {
        self.hosts.as_ref().map(|hosts| hosts.effects).unwrap_or_default()
    }

    /// By how much a wall clock was set off at most, in one jump by chance, in microseconds.
    pub fn longest_clock_jump_us(&self) -> u64 {
        self.hosts.as_ref().map_or(0, |hosts| hosts.longest_jump_us)
    }

    /// The hosts; from now on something may be wrong with them.
    fn hosts(&mut self) -> &mut Hosts<A::Op> {
        let (nodes, choices) = (self.len(), &mut self.choices);
        let hosts = self.hosts.get_or_insert_with(|| Box::new(Hosts::sound(HostFaults::none())));
        while hosts.nodes.len() < nodes {
            hosts.add(choices);
        }
        hosts
    }

    fn host(&mut self, node: NodeId) -> Option<&mut Host<A::Op>> {
        self.hosts.as_mut()?.nodes.get_mut(node.index())
    }

    /// How far a node's wall clock is ahead of the right time, in microseconds; behind, if negative.
    pub fn clock_offset_us(&self, node: NodeId) -> i64 {
        let host = self.hosts.as_ref().and_then(|hosts| hosts.nodes.get(node.index()));
        host.map_or(0, |host| { host.clock }.offset_us(self.clock.now(), self.chaos_until))
    }

    /// The time as a node has it.
    pub(super) fn moment(&mut self, node: NodeId) -> Moment {
        let (now, chaos_until) = (self.clock.now(), self.chaos_until);
        let Some(hosts) = &mut self.hosts else { return Moment::at(now) };
        let Some(host) = hosts.nodes.get_mut(node.index()) else { return Moment::at(now) };
        let error_ms = host.clock.offset_us(now, chaos_until).unsigned_abs() / 1_000;
        hosts.effects.clock_error_ms = hosts.effects.clock_error_ms.max(error_ms);
        Moment { now, wall_ms: host.clock.wall_ms(now, chaos_until) }
    }

    /// What the disk of a node makes of what the next step writes.
    pub(super) fn commit(&mut self, node: NodeId, crash: Option<CrashPoint>) -> Commit {
        match crash {
            Some(CrashPoint::BeforeCommit) => return Commit::Lost,
            Some(CrashPoint::MidCommit) => {
                let stream = Stream::Disk(node.0);
                let permille = self.choices.below(stream, Choice::TornWrite, 1_000);
                return Commit::Torn { permille };
            }
            _ => {}
        }
        let chaos = self.clock.now() < self.chaos_until;
        let Some(hosts) = &self.hosts else { return Commit::Durable };
        let Some(host) = hosts.nodes.get(node.index()) else { return Commit::Durable };
        if host.fails_next {
            return Commit::Fails;
        }
        if host.lying {
            return Commit::Unsynced;
        }
        if !chaos {
            return Commit::Durable;
        }
        let (fails, lies) = (hosts.faults.failed_write_rate.as_ppm(), hosts.faults.lying_sync_rate.as_ppm());
        if self.choices.chance(Stream::Disk(node.0), Choice::FailedWrite, fails) {
            return Commit::Fails;
        }
        if self.choices.chance(Stream::Disk(node.0), Choice::LyingSync, lies) {
            return Commit::Unsynced;
        }
        Commit::Durable
    }

    /// How long a node is down whose disk failed.
    pub(super) fn down_for(&mut self, node: NodeId) -> SimDuration {
        if let Some(host) = self.host(node) {
            host.fails_next = false;
        }
        let crashes = self.router.faults().restart_delay_ms.clone();
        let range = if crashes.is_empty() { DOWN_MS } else { crashes };
        self.length(Stream::Disk(node.0), Choice::RestartDelay, &range)
    }

    /// Lets hosts go wrong by chance, as the faults say.
    pub(super) fn expose_host(&mut self, node: NodeId) {
        if self.hosts.is_some() {
            Trouble::ALL.into_iter().for_each(|trouble| self.schedule_trouble(node, trouble));
        }
    }

    fn schedule_trouble(&mut self, node: NodeId, trouble: Trouble) {
        let Some(rate) = self.hosts.as_ref().map(|hosts| trouble.rate(&hosts.faults)) else { return };
        let (stream, choice) = trouble.draw(node);
        if let Some(at) = self.gap(stream, choice, rate) {
            self.schedule(at, SimEvent::Host { node, what: HostEvent::Chance(trouble) });
        }
    }

    /// Something happens to a host.
    pub(super) fn on_host(&mut self, node: NodeId, what: HostEvent) -> Stepped<A::Notice> {
        let now = self.clock.now();
        self.note(14, u64::from(node.0), host_number(what));
        self.hosts();
        match what {
            HostEvent::Chance(trouble) => return self.on_trouble(node, trouble),
            HostEvent::Rot => return self.on_rot(node),
            HostEvent::Scrub => return self.on_scrub(node),
            _ => {}
        }
        let Some(host) = self.host(node) else { return Stepped::at(None) };
        match what {
            HostEvent::Clock(offset_us) => host.clock.set(now, offset_us),
            HostEvent::Freeze(lasting) => {
                host.clock.freeze(now, lasting);
                self.hosts().effects.clock_freezes += 1;
            }
            HostEvent::Pause(lasting) => {
                host.busy_until = host.busy_until.max(now + lasting);
                self.hosts().effects.pauses += 1;
            }
            HostEvent::FailWrite => host.fails_next = true,
            HostEvent::Lying(lying) => host.lying = lying,
            // A node that wakes is seen to before events are told apart.
            HostEvent::Rot | HostEvent::Scrub | HostEvent::Wake(_) | HostEvent::Chance(_) => {}
        }
        Stepped::at(Some(node))
    }

    fn on_trouble(&mut self, node: NodeId, trouble: Trouble) -> Stepped<A::Notice> {
        let now = self.clock.now();
        let faults = self.hosts().faults.clone();
        let mut stepped = Stepped::at(Some(node));
        match trouble {
            Trouble::ClockJump => {
                let stream = Stream::Clock(node.0);
                let by = self.length(stream, Choice::ClockJump, &faults.clock_jump_ms).as_micros() as i64;
                let back = self.choices.below(stream, Choice::ClockJump, 2) == 0;
                let before = self.clock_offset_us(node);
                if let Some(host) = self.host(node) {
                    host.clock.jump(now, if back { -by } else { by });
                }
                let jumped = before.abs_diff(self.clock_offset_us(node));
                let hosts = self.hosts();
                hosts.effects.clock_jumps += 1;
                hosts.longest_jump_us = hosts.longest_jump_us.max(jumped);
            }
            Trouble::ClockFreeze => {
                let range = &faults.clock_freeze_ms;
                let lasting = self.length(Stream::Clock(node.0), Choice::ClockFreeze, range);
                stepped = self.on_host(node, HostEvent::Freeze(lasting));
            }
            Trouble::Pause => {
                let lasting = self.length(Stream::Pause(node.0), Choice::PauseLength, &faults.pause_ms);
                stepped = self.on_host(node, HostEvent::Pause(lasting));
            }
            Trouble::TornWrite => {
                let down_for = self.down_for(node);
                stepped = self.on_crash(node, CrashPoint::MidCommit, Some(down_for), true);
            }
            Trouble::Rot => stepped = self.on_rot(node),
        }
        self.schedule_trouble(node, trouble);
        stepped
    }

    /// A bit of a row flips. The store looks through all rows some time later, and may read it before.
    fn on_rot(&mut self, node: NodeId) -> Stepped<A::Notice> {
        let mut struck = false;
        // Drawn first, since a change to a node and a draw cannot be under way together.
        let place = self.choices.below(Stream::Disk(node.0), Choice::RottenRow, u64::MAX);
        self.retally(node, |slot| struck = slot.actor.rot(place));
        if struck {
            self.hosts().effects.rotten_rows += 1;
            let after = self.length(Stream::Disk(node.0), Choice::ScrubTime, &SCRUB_WITHIN_MS);
            let at = self.clock.now() + after;
            self.schedule(at, SimEvent::Host { node, what: HostEvent::Scrub });
        }
        Stepped::at(Some(node))
    }

    fn on_scrub(&mut self, node: NodeId) -> Stepped<A::Notice> {
        let found = self.slot_mut(node).is_some_and(|slot| slot.up && slot.actor.scrub());
        if !found {
            return Stepped::at(Some(node));
        }
        let down_for = self.down_for(node);
        self.take_down(node, Some(down_for));
        Stepped { crashed: true, ..Stepped::at(Some(node)) }
    }

    /// Says which event takes place now, and its number in the queue: the next one, unless its node cannot
    /// attend to it and it goes to the node's inbox; or what waited there, if the node wakes.
    pub(super) fn hold(&mut self, number: u64, event: SimEvent<A::Op>) -> Option<(u64, SimEvent<A::Op>)> {
        if self.hosts.is_none() {
            return Some((number, event));
        }
        let node = match &event {
            SimEvent::DeliverMessage(delivery) => delivery.to,
            SimEvent::DeliverInTurn(arriving) => arriving.1.to,
            SimEvent::TimerFired { node, .. } | SimEvent::Op { node, .. } => *node,
            SimEvent::Host { node, what: HostEvent::Wake(wake) } => return self.on_wake(*node, *wake),
            _ => return Some((number, event)),
        };
        let now = self.clock.now();
        if !self.is_up(node) {
            return Some((number, event));
        }
        let host = self.host(node)?;
        if host.inbox.is_empty() && host.busy_until <= now {
            host.busy_until = now + host.processing;
            return Some((number, event));
        }
        host.inbox.push_back((number, event));
        self.hosts().effects.inputs_delayed += 1;
        self.wake_later(node);
        None
    }

    fn wake_later(&mut self, node: NodeId) {
        let Some(host) = self.host(node).filter(|host| !host.waking) else { return };
        host.waking = true;
        host.wakes += 1;
        let (at, what) = (host.busy_until, HostEvent::Wake(host.wakes));
        self.schedule(at, SimEvent::Host { node, what });
    }

    fn on_wake(&mut self, node: NodeId, wake: u64) -> Option<(u64, SimEvent<A::Op>)> {
        let now = self.clock.now();
        self.note(14, u64::from(node.0), host_number(HostEvent::Wake(wake)));
        let host = self.host(node).filter(|host| host.wakes == wake)?;
        host.waking = false;
        if host.inbox.is_empty() {
            return None;
        }
        if host.busy_until > now {
            // It was paused meanwhile.
            self.wake_later(node);
            return None;
        }
        let next = host.inbox.pop_front();
        host.busy_until = now + host.processing;
        if !host.inbox.is_empty() {
            self.wake_later(node);
        }
        next
    }

    /// A node goes down, and what waited in its inbox is lost.
    pub(super) fn spill(&mut self, node: NodeId) {
        let now = self.clock.now();
        let Some(host) = self.host(node) else { return };
        (host.busy_until, host.waking) = (now, false);
        host.wakes += 1;
        for (number, event) in std::mem::take(&mut host.inbox) {
            match event {
                SimEvent::DeliverMessage(delivery) => self.lose(number, None, &delivery),
                SimEvent::DeliverInTurn(arriving) => self.lose(number, Some(arriving.0), &arriving.1),
                SimEvent::Op { .. } => {
                    self.tally_op_lost();
                    self.hosts().effects.writes_lost_waiting += 1;
                }
                _ => {}
            }
        }
    }

    /// A frame that waited is lost with its node, or with the connection that carried it.
    fn lose(&mut self, number: u64, ticket: Option<Ticket>, delivery: &Delivery) {
        let (now, &Delivery { from, to, housekeeping, .. }) = (self.clock.now(), delivery);
        let before = self.log.as_ref().map(|_| self.router.fates.clone());
        let turn = ticket.map(|ticket| self.router.turn(now, from, to, ticket));
        if !matches!(turn, Some(Turn::GivesUp | Turn::Broken)) {
            self.router.arrive(now, from, to, false);
        }
        if !housekeeping {
            self.landed();
        }
        if let (Some(log), Some(before)) = (&mut self.log, before) {
            log.lost_waiting(number, dropped_since(&before, &self.router.fates));
        }
    }

    /// Nothing is wrong with hosts any more: clocks are right, disks honest, and pauses over.
    pub(super) fn heal_hosts(&mut self) {
        let now = self.clock.now();
        for node in (0..self.len() as u32).map(NodeId) {
            let Some(host) = self.host(node) else { return };
            host.clock.set(now, 0);
            (host.lying, host.fails_next) = (false, false);
            host.busy_until = host.busy_until.min(now + host.processing);
            if !host.inbox.is_empty() {
                host.waking = false;
                self.wake_later(node);
            }
        }
    }
}

impl HostEvent {
    /// In words, with the host as what they are said of.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Clock(ahead_us) => format!("its clock is set to be {ahead_us} us ahead"),
            Self::Freeze(lasting) => format!("its clock stands still for {} ms", lasting.as_millis()),
            Self::Pause(lasting) => format!("it pauses for {} ms", lasting.as_millis()),
            Self::FailWrite => "its next write to disk fails".to_owned(),
            Self::Lying(true) => "its disk lies about syncs from now on".to_owned(),
            Self::Lying(false) => "its disk is honest again".to_owned(),
            Self::Rot => "a bit on its disk flips".to_owned(),
            Self::Scrub => "its store looks through all rows".to_owned(),
            Self::Wake(_) => "it may take its next input".to_owned(),
            Self::Chance(Trouble::ClockJump) => "its clock jumps by chance".to_owned(),
            Self::Chance(Trouble::ClockFreeze) => "its clock stands still by chance".to_owned(),
            Self::Chance(Trouble::Pause) => "it pauses by chance".to_owned(),
            Self::Chance(Trouble::TornWrite) => "power fails in its next commit by chance".to_owned(),
            Self::Chance(Trouble::Rot) => "a bit on its disk flips by chance".to_owned(),
        }
    }
}

/// What tells one happening from another in the trace.
const fn host_number(what: HostEvent) -> u64 {
    match what {
        HostEvent::Clock(offset) => 1 << 56 | (offset as u64 & ((1 << 56) - 1)),
        HostEvent::Freeze(lasting) => 2 << 56 | lasting.as_micros(),
        HostEvent::Pause(lasting) => 3 << 56 | lasting.as_micros(),
        HostEvent::FailWrite => 4 << 56,
        HostEvent::Lying(lying) => 5 << 56 | lying as u64,
        HostEvent::Rot => 6 << 56,
        HostEvent::Scrub => 7 << 56,
        HostEvent::Wake(_) => 8 << 56,
        HostEvent::Chance(trouble) => 9 << 56 | trouble as u64,
    }
}
