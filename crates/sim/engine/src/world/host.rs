//! Faults within nodes, random or scripted: wall clocks, timers, disks, pace.
//!
//! A world without host faults has no host table: every question costs one look at an empty option.
//!
//! A node whose host has a pace processes one input at a time. While it is busy, inputs wait in its inbox in
//! the order of arrival, and one wake-up event is scheduled for the time when it is free again.

use crate::actor::{Actor, Commit};
use crate::event::{CrashPoint, Delivery, SimEvent};
use crate::faults::HostFaults;
use crate::network::{DeliveryDecision, StreamPosition};
use crate::node_id::NodeId;
use crate::random::{Choices, Stream};
use crate::world::event_log::LoggedEvent;
use crate::world::history_hooks::dropped_since;
use crate::world::host_event::{HostEvent, RandomHostFault, host_event_number};
use crate::world::trace_digest::TraceEvent;
use crate::world::wall_clock::WallClock;
use crate::world::{StepReport, World};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use syncline_types::{Choice, Moment, SimDuration, SimTime};

/// What a right clock shows at the start of a run whose clocks may be wrong: one day, so that a clock can be
/// behind.
const EPOCH_US: u64 = 86_400_000_000;
/// When the store finds a flipped bit by its scrub of all rows, in milliseconds after the flip.
const SCRUB_WITHIN_MS: Range<u64> = 0..2_000;
/// How long a node whose disk failed is down, in milliseconds, if the faults set no length of crashes.
const DOWN_MS: Range<u64> = 100..1_000;

/// How often each host fault happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostEffects {
    /// The largest error of a wall clock that a step saw, in milliseconds.
    pub clock_error_ms: u64,
    /// How often a wall clock jumped.
    pub clock_jumps: u64,
    /// How often a wall clock stood still.
    pub clock_freezes: u64,
    /// Timers that fired too late or too early.
    #[serde(rename = "bent_timers")]
    pub skewed_timers: u64,
    /// How often a node paused.
    pub pauses: u64,
    /// Frames, timers and writes that waited because their node was busy or paused.
    pub inputs_delayed: u64,
    /// Writes that a crash lost while they waited in an inbox.
    pub writes_lost_waiting: u64,
    /// Writes to disk that failed.
    pub failed_writes: u64,
    /// Commits that a disk reported as synced, and that were not.
    pub lying_syncs: u64,
    /// Commits that a crash lost because the disk had lied.
    pub lost_commits: u64,
    /// Commits in the middle of which the node crashed.
    pub torn_writes: u64,
    /// Stored rows in which a bit flipped.
    pub rotten_rows: u64,
    /// Nodes that found their state damaged or lost, and started over as a new replica.
    pub fresh_starts: u64,
    /// How often the disk of a node came back from an earlier copy.
    #[serde(skip_serializing_if = "is_zero")]
    pub restored_disks: u64,
    /// How often the disk of a node was replaced by a copy of another node's.
    #[serde(skip_serializing_if = "is_zero")]
    pub cloned_disks: u64,
    /// How often the disk of a node was lost and its name was not.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost_disks: u64,
    /// How often a wall clock was far ahead for a while.
    #[serde(skip_serializing_if = "is_zero")]
    pub clocks_ahead: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl HostEffects {
    /// Adds the counts of another run, or of another part of this one.
    pub fn add(&mut self, other: &Self) {
        self.clock_error_ms = self.clock_error_ms.max(other.clock_error_ms);
        self.clock_jumps += other.clock_jumps;
        self.clock_freezes += other.clock_freezes;
        self.skewed_timers += other.skewed_timers;
        self.pauses += other.pauses;
        self.inputs_delayed += other.inputs_delayed;
        self.writes_lost_waiting += other.writes_lost_waiting;
        self.failed_writes += other.failed_writes;
        self.lying_syncs += other.lying_syncs;
        self.lost_commits += other.lost_commits;
        self.torn_writes += other.torn_writes;
        self.rotten_rows += other.rotten_rows;
        self.fresh_starts += other.fresh_starts;
        self.restored_disks += other.restored_disks;
        self.cloned_disks += other.cloned_disks;
        self.lost_disks += other.lost_disks;
        self.clocks_ahead += other.clocks_ahead;
    }

    /// How often the disk of a node was replaced by one that does not hold what the node had acknowledged last.
    pub const fn replaced_disks(&self) -> u64 {
        self.restored_disks + self.cloned_disks + self.lost_disks
    }
}

/// One node's clocks, pace and inbox.
#[derive(Clone, Debug)]
struct HostState<Op> {
    clock: WallClock,
    /// By how many parts per million the node's timers are too long.
    timer_ppm: i64,
    /// How long the node works on each input.
    processing: SimDuration,
    /// The node takes no input before this time.
    busy_until: SimTime,
    /// Inputs that wait until then, in the order of arrival, with their numbers in the queue.
    inbox: VecDeque<(u64, SimEvent<Op>)>,
    /// How many wake-ups were scheduled or voided so far: the number of the latest.
    wakes: u64,
    /// Whether the latest wake-up is still to come.
    waking: bool,
    lying: bool,
    fails_next: bool,
}

/// The hosts of all nodes, in a world in which hosts can have faults.
#[derive(Clone, Debug)]
pub(crate) struct HostTable<Op> {
    nodes: Vec<HostState<Op>>,
    pub(super) effects: HostEffects,
    longest_jump_us: u64,
    longest_pause: SimDuration,
}

impl<Op> HostTable<Op> {
    /// The table for a world with these faults; `None` if there are none.
    pub(crate) fn of(faults: &HostFaults) -> Option<Box<Self>> {
        (*faults != HostFaults::none()).then(|| Box::new(Self::new()))
    }

    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            effects: HostEffects::default(),
            longest_jump_us: 0,
            longest_pause: SimDuration::ZERO,
        }
    }

    /// Adds the host of the next node, and draws what is wrong with it.
    pub(crate) fn add(&mut self, faults: &HostFaults, choices: &mut Choices) {
        let node = self.nodes.len() as u32;
        let either_way = |choices: &mut Choices, stream, choice, most: u64| {
            choices.between(stream, choice, 0, most * 2) as i64 - most as i64
        };
        let &HostFaults { clock_skew_ms, clock_drift_ppm, timer_drift_ppm, .. } = faults;
        let stream = Stream::Clock(node);
        let offset = either_way(choices, stream, Choice::ClockSkew, clock_skew_ms * 1_000);
        let drift = either_way(choices, stream, Choice::ClockDrift, clock_drift_ppm);
        let timer_ppm = either_way(choices, stream, Choice::TimerDrift, timer_drift_ppm);
        let clock = if faults.skews_clocks() {
            let bound_us = faults.clock_bound_ms() as i64 * 1_000;
            WallClock::new(EPOCH_US).randomly_wrong(offset, drift, bound_us)
        } else {
            WallClock::new(0)
        };
        let slow =
            faults.slow_host_permille > 1_000 && choices.below(Stream::Pause(node), Choice::SlowHost, 4) == 0;
        let permille = if slow { faults.slow_host_permille } else { 1_000 };
        self.nodes.push(HostState {
            clock,
            timer_ppm,
            processing: SimDuration::from_micros(faults.processing.as_micros() * permille / 1_000),
            busy_until: SimTime::ZERO,
            inbox: VecDeque::new(),
            wakes: 0,
            waking: false,
            lying: false,
            fails_next: false,
        });
    }

    /// When a timer fires that a node sets at `now` for `at`.
    pub(super) fn skewed_time(
        &mut self,
        node: NodeId,
        at: SimTime,
        now: SimTime,
        chaos_until: SimTime,
    ) -> SimTime {
        let ppm = self.nodes.get(node.index()).map_or(0, |host| host.timer_ppm);
        if ppm == 0 || now >= chaos_until || at <= now {
            return at;
        }
        self.effects.skewed_timers += 1;
        let span = u128::from(at.since(now).as_micros());
        // Rounded up: a timer never fires before the time that the drift allows.
        let skewed = (span * (1_000_000 + i128::from(ppm)).unsigned_abs()).div_ceil(1_000_000);
        now + SimDuration::from_micros(u64::try_from(skewed).unwrap_or(u64::MAX))
    }
}

/// The invariant of the host table.
const HAS_HOST: &str = "a host table has a row for each node";

impl<A: Actor> World<A> {
    /// How often each host fault happened, except for those that the actors' disks count.
    pub fn host_effects(&self) -> HostEffects {
        self.hosts.as_ref().map(|hosts| hosts.effects).unwrap_or_default()
    }

    /// The largest random jump of a wall clock, in microseconds.
    pub fn longest_clock_jump_us(&self) -> u64 {
        self.hosts.as_ref().map_or(0, |hosts| hosts.longest_jump_us)
    }

    /// The longest pause of a node so far.
    pub fn longest_pause(&self) -> SimDuration {
        self.hosts.as_ref().map_or(SimDuration::ZERO, |hosts| hosts.longest_pause)
    }

    /// The host table. It is created when the first host fault is scripted in a world without.
    pub(super) fn hosts(&mut self) -> &mut HostTable<A::Op> {
        let nodes = self.nodes.len();
        let hosts = self.hosts.get_or_insert_with(|| Box::new(HostTable::new()));
        while hosts.nodes.len() < nodes {
            hosts.add(&self.faults.hosts, &mut self.choices);
        }
        hosts
    }

    fn host(&mut self, node: NodeId) -> Option<&mut HostState<A::Op>> {
        self.hosts.as_mut()?.nodes.get_mut(node.index())
    }

    /// How far a node's wall clock is ahead of virtual time, in microseconds; behind, if negative.
    pub fn clock_offset_us(&self, node: NodeId) -> i64 {
        // A copy is read: `WallClock::advance` rounds, so reading the clock itself could change the run.
        let host = self.hosts.as_ref().and_then(|hosts| hosts.nodes.get(node.index()));
        host.map_or(0, |host| { host.clock }.offset_us(self.clock.now(), self.chaos_until))
    }

    /// What the wall clock of a node shows, in milliseconds.
    pub fn wall_ms(&self, node: NodeId) -> u64 {
        let Some(hosts) = &self.hosts else { return self.now().as_millis() };
        { hosts.nodes[node.index()].clock }.wall_ms(self.now(), self.chaos_until)
    }

    /// The time as the clocks of a node show it.
    pub(super) fn moment(&mut self, node: NodeId) -> Moment {
        let now = self.clock.now();
        let chaos_until = self.chaos_until;
        let Some(hosts) = &mut self.hosts else { return Moment::at(now) };
        let host = hosts.nodes.get_mut(node.index()).expect(HAS_HOST);
        let error_ms = host.clock.offset_us(now, chaos_until).unsigned_abs() / 1_000;
        hosts.effects.clock_error_ms = hosts.effects.clock_error_ms.max(error_ms);
        Moment { now, wall_ms: host.clock.wall_ms(now, chaos_until) }
    }

    /// What the disk of a node does with the writes of its next step. `crash` is the point at which the node
    /// will crash in that step.
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
        let host = hosts.nodes.get(node.index()).expect(HAS_HOST);
        // Scripted faults hold at any time, random ones only during chaos.
        if host.fails_next {
            return Commit::Fails;
        }
        if host.lying {
            return Commit::Unsynced;
        }
        if !chaos {
            return Commit::Durable;
        }
        // Drawn before the step, whether or not it writes: the draws do not depend on the actor.
        let fails = self.faults.hosts.failed_write_rate.as_ppm();
        let lies = self.faults.hosts.lying_sync_rate.as_ppm();
        if self.choices.chance(Stream::Disk(node.0), Choice::FailedWrite, fails) {
            return Commit::Fails;
        }
        if self.choices.chance(Stream::Disk(node.0), Choice::LyingSync, lies) {
            return Commit::Unsynced;
        }
        Commit::Durable
    }

    /// The disk of a node has failed to write: a failure that was scripted for its next write has taken place.
    pub(super) fn write_failed(&mut self, node: NodeId) {
        if let Some(host) = self.host(node) {
            host.fails_next = false;
        }
    }

    /// Draws how long a node whose disk failed or was replaced is down.
    pub(super) fn down_for(&mut self, node: NodeId) -> SimDuration {
        let crashes = self.faults.restart_delay_ms.clone();
        let range = if crashes.is_empty() { DOWN_MS } else { crashes };
        self.length(Stream::Disk(node.0), Choice::RestartDelay, &range)
    }

    /// Schedules the first random faults of a node's host.
    pub(super) fn schedule_random_host_faults(&mut self, node: NodeId) {
        if self.hosts.is_some() {
            RandomHostFault::ALL.into_iter().for_each(|fault| self.schedule_random_host_fault(node, fault));
        }
    }

    fn schedule_random_host_fault(&mut self, node: NodeId, fault: RandomHostFault) {
        let rate = fault.rate(&self.faults.hosts);
        let (stream, choice) = fault.draw(node);
        if let Some(at) = self.gap(stream, choice, rate) {
            self.schedule(at, SimEvent::Host { node, what: HostEvent::Chance(fault) });
        }
    }

    /// Applies a host event.
    pub(super) fn on_host(&mut self, node: NodeId, what: HostEvent) -> StepReport<A::Notice> {
        let now = self.clock.now();
        let detail = host_event_number(what);
        assert!(detail != 0, "a host event differs in the trace from a retirement, whose detail is zero");
        self.note(TraceEvent::HostEvent, u64::from(node.0), detail);
        self.hosts();
        match what {
            HostEvent::Chance(fault) => return self.on_random_host_fault(node, fault),
            HostEvent::Rot => return self.on_rot(node),
            HostEvent::Scrub => return self.on_scrub(node),
            HostEvent::BackUp => return self.on_back_up(node),
            HostEvent::Restore(down_for) => return self.on_restore(node, down_for),
            HostEvent::Clone { from, down_for } => return self.on_clone(node, from, down_for),
            HostEvent::LoseDisk { down_for, counted } => return self.on_lose_disk(node, down_for, counted),
            _ => {}
        }
        // A scripted event may name a node that does not exist.
        let Some(host) = self.host(node) else { return StepReport::at(None) };
        match what {
            HostEvent::Clock(offset_us) => host.clock.set(now, offset_us),
            HostEvent::Freeze(lasting) => {
                host.clock.freeze(now, lasting);
                self.hosts().effects.clock_freezes += 1;
            }
            HostEvent::Pause(lasting) => {
                host.busy_until = host.busy_until.max(now + lasting);
                let hosts = self.hosts();
                hosts.effects.pauses += 1;
                hosts.longest_pause = hosts.longest_pause.max(lasting);
            }
            HostEvent::Ahead { by_us, lasting } => {
                host.clock.run_ahead(now, by_us, lasting);
                self.hosts().effects.clocks_ahead += 1;
            }
            HostEvent::FailWrite => host.fails_next = true,
            HostEvent::Lying(lying) => host.lying = lying,
            // Wake-ups are handled by `admit`, the others above.
            HostEvent::Rot
            | HostEvent::Scrub
            | HostEvent::BackUp
            | HostEvent::Restore(_)
            | HostEvent::Clone { .. }
            | HostEvent::LoseDisk { .. }
            | HostEvent::Wake(_)
            | HostEvent::Chance(_) => {}
        }
        StepReport::at(Some(node))
    }

    fn on_random_host_fault(&mut self, node: NodeId, fault: RandomHostFault) -> StepReport<A::Notice> {
        let now = self.clock.now();
        let faults = self.faults.hosts.clone();
        let mut report = StepReport::at(Some(node));
        match fault {
            RandomHostFault::ClockJump => {
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
            RandomHostFault::ClockFreeze => {
                let range = &faults.clock_freeze_ms;
                let lasting = self.length(Stream::Clock(node.0), Choice::ClockFreeze, range);
                report = self.on_host(node, HostEvent::Freeze(lasting));
            }
            RandomHostFault::Pause => {
                let lasting = self.length(Stream::Pause(node.0), Choice::PauseLength, &faults.pause_ms);
                report = self.on_host(node, HostEvent::Pause(lasting));
            }
            RandomHostFault::TornWrite => {
                let down_for = self.down_for(node);
                report = self.on_crash(node, CrashPoint::MidCommit, Some(down_for), true);
            }
            RandomHostFault::Rot => report = self.on_rot(node),
            RandomHostFault::Restore
            | RandomHostFault::Clone
            | RandomHostFault::LoseDisk
            | RandomHostFault::ClockAhead => {
                if let Some(what) = self.drawn_host_event(node, fault) {
                    self.log_event(|| LoggedEvent::Host { node, what });
                    report = self.on_host(node, what);
                }
            }
        }
        self.schedule_random_host_fault(node, fault);
        report
    }

    /// Flips a bit of a stored row, and schedules the scrub that finds it unless a read does so before.
    fn on_rot(&mut self, node: NodeId) -> StepReport<A::Notice> {
        let mut has_flipped = false;
        // Drawn even if the store is empty: the draws of a stream do not depend on the actor's state.
        let place = self.choices.below(Stream::Disk(node.0), Choice::RottenRow, u64::MAX);
        self.with_accounting(node, |slot| has_flipped = slot.actor.rot(place));
        if has_flipped {
            self.hosts().effects.rotten_rows += 1;
            let after = self.length(Stream::Disk(node.0), Choice::ScrubTime, &SCRUB_WITHIN_MS);
            let at = self.clock.now() + after;
            self.schedule(at, SimEvent::Host { node, what: HostEvent::Scrub });
        }
        StepReport::at(Some(node))
    }

    fn on_scrub(&mut self, node: NodeId) -> StepReport<A::Notice> {
        let found = self.slot_mut(node).is_some_and(|slot| slot.up && slot.actor.scrub());
        if !found {
            return StepReport::at(Some(node));
        }
        let down_for = self.down_for(node);
        self.take_down(node, Some(down_for));
        StepReport { crashed: true, ..StepReport::at(Some(node)) }
    }

    /// Decides which event takes place now, and returns it with its number: this one, or, if it is a wake-up,
    /// the first in the node's inbox. `None` if the event went into the inbox because its node is busy.
    pub(super) fn admit(&mut self, number: u64, event: SimEvent<A::Op>) -> Option<(u64, SimEvent<A::Op>)> {
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
        let Some(host) = self.host(node) else { unreachable!("{HAS_HOST}") };
        // The inbox is FIFO: an input must not overtake those that wait, even if the node is free by now.
        if host.inbox.is_empty() && host.busy_until <= now {
            host.busy_until = now + host.processing;
            return Some((number, event));
        }
        host.inbox.push_back((number, event));
        self.hosts().effects.inputs_delayed += 1;
        self.schedule_wake_up(node);
        None
    }

    fn schedule_wake_up(&mut self, node: NodeId) {
        // One wake-up at a time is enough: it schedules the next one itself.
        let Some(host) = self.host(node).filter(|host| !host.waking) else { return };
        host.waking = true;
        host.wakes += 1;
        let at = host.busy_until;
        let what = HostEvent::Wake(host.wakes);
        self.schedule(at, SimEvent::Host { node, what });
    }

    fn on_wake(&mut self, node: NodeId, wake: u64) -> Option<(u64, SimEvent<A::Op>)> {
        let now = self.clock.now();
        self.note(TraceEvent::HostEvent, u64::from(node.0), host_event_number(HostEvent::Wake(wake)));
        let host = self.host(node).filter(|host| host.wakes == wake)?;
        host.waking = false;
        if host.inbox.is_empty() {
            return None;
        }
        if host.busy_until > now {
            // A pause has begun since the wake-up was scheduled.
            self.schedule_wake_up(node);
            return None;
        }
        let next = host.inbox.pop_front();
        host.busy_until = now + host.processing;
        if !host.inbox.is_empty() {
            self.schedule_wake_up(node);
        }
        next
    }

    /// Drops the inputs in the inbox of a node that goes down.
    pub(super) fn drop_inbox(&mut self, node: NodeId) {
        let now = self.clock.now();
        // Without host faults there is no inbox.
        let Some(host) = self.host(node) else { return };
        host.busy_until = now;
        host.waking = false;
        // This voids the wake-up that may be scheduled.
        host.wakes += 1;
        for (number, event) in std::mem::take(&mut host.inbox) {
            match event {
                SimEvent::DeliverMessage(delivery) => self.drop_waiting(number, None, &delivery),
                SimEvent::DeliverInTurn(arriving) => self.drop_waiting(number, Some(arriving.0), &arriving.1),
                SimEvent::Op { .. } => {
                    self.op_ended();
                    self.hosts().effects.writes_lost_waiting += 1;
                }
                // A timer that waited is void: `take_down` clears the timers of the node.
                _ => {}
            }
        }
    }

    /// Drops a frame that waited in an inbox, and accounts for it: with its node, or with its connection.
    fn drop_waiting(&mut self, number: u64, position: Option<StreamPosition>, delivery: &Delivery) {
        let now = self.clock.now();
        let &Delivery { from, to, housekeeping, .. } = delivery;
        let before = self.log.as_ref().map(|_| self.router.fates().clone());
        // A frame whose connection is gone was accounted for with it.
        let decision = position.map(|position| self.router.decide_delivery(now, from, to, position));
        if !matches!(decision, Some(DeliveryDecision::TimedOut | DeliveryDecision::Broken)) {
            self.router.arrive(now, from, to, false);
        }
        if !housekeeping {
            self.frame_landed();
        }
        if let (Some(log), Some(before)) = (&mut self.log, before) {
            log.lost_waiting(number, dropped_since(&before, self.router.fates()));
        }
    }

    /// Ends all host faults: clocks are right, disks sync, and pauses are over.
    pub(super) fn heal_hosts(&mut self) {
        let now = self.clock.now();
        for node in (0..self.len() as u32).map(NodeId) {
            // Without host faults there is nothing to end.
            let Some(host) = self.host(node) else { return };
            host.clock.set(now, 0);
            host.lying = false;
            host.fails_next = false;
            host.busy_until = host.busy_until.min(now + host.processing);
            if !host.inbox.is_empty() {
                // The wake-up that is scheduled comes at the end of a pause that is over now.
                host.waking = false;
                self.schedule_wake_up(node);
            }
        }
    }
}
