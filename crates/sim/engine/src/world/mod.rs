//! The world: nodes, event queue, network and faults of one run.
//!
//! # How a step works
//!
//! [`World::step`] takes the earliest event from the script or the queue, advances the clock to its time, and
//! dispatches it. An event that concerns one node becomes an [`Input`] for the node's actor. The actor fills
//! in its effects; the world then routes the frames, sets the timers and updates its counters. The result of
//! the step is a [`StepReport`], which the checks of a run read.
//!
//! # Invariants
//!
//! - Time is monotone, and events of one time come in the order of scheduling.
//! - [`PendingWork`] equals what a scan over all nodes would find, so that asking whether a run has
//!   converged costs O(1). Every change of a node goes through `with_accounting` or ends in
//!   `refresh_accounting`.
//! - Each frame ends in exactly one fate (see [`Fates`](crate::network::Fates)).
//! - Each random decision comes from a stream of its own (see [`random`](crate::random)), so that one more
//!   fault leaves what the others do unchanged.
//!
//! # Parts
//!
//! `step` feeds inputs to actors, `crash` and `churn` take nodes down and away, `host` simulates clocks,
//! disks and pace, `random_faults` draws partitions, crashes and departures, `script` and `event_log` replay
//! and record a run event by event, `control` is what tests and runtimes change from outside.

mod churn;
mod control;
mod crash;
mod disk_images;
mod event_log;
mod heal;
mod history_hooks;
mod host;
mod host_event;
mod node_slot;
mod ordered_delivery;
mod pending_work;
mod random_faults;
mod script;
mod step;
mod step_report;
mod timers;
mod trace_digest;
mod wall_clock;

pub use churn::Churn;
pub use event_log::{EventLog, LoggedEvent, ScriptTime};
pub use host::HostEffects;
pub use host_event::{HostEvent, RandomHostFault};
pub use node_slot::Traffic;
pub use pending_work::{PendingWork, ProgressCount};
pub use step_report::{FrameSize, StepReport};
pub use trace_digest::TraceDigest;

use crate::actor::{Actor, EffectsPool, Input, Unfinished};
use crate::clock::SimClock;
use crate::event::SimEvent;
use crate::event_queue::EventQueue;
use crate::faults::FaultConfig;
use crate::history::{EntryKind, Recorder};
use crate::network::{NetworkRouter, Topology};
use crate::node_id::NodeId;
use crate::random::Choices;
use crate::world::host::HostTable;
use crate::world::node_slot::NodeSlot;
use crate::world::script::ScriptQueue;
use crate::world::timers::Timers;
use crate::world::trace_digest::TraceEvent;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_types::{Digest, SimTime};

/// A world of actors. It is a value: a clone is an independent world that continues from the same state.
#[derive(Clone, Debug)]
pub struct World<A: Actor> {
    clock: SimClock,
    choices: Choices,
    /// The faults in force. The router and the hosts get from it what they need; crashes, partitions and
    /// churn are drawn from it directly.
    faults: FaultConfig,
    router: NetworkRouter,
    queue: EventQueue<SimEvent<A::Op>>,
    nodes: Vec<NodeSlot<A>>,
    pending_work: PendingWork,
    trace: TraceDigest,
    /// How many timers were set so far: numbers their settings.
    settings: u64,
    events: u64,
    progress: ProgressCount,
    /// When the last of all frames so far arrives.
    last_arrival: SimTime,
    all_started: bool,
    /// The history, if the run records one.
    log: Option<Box<Recorder>>,
    churn: Churn,
    /// Clocks, disks and pace. `None` while no host can have a fault.
    hosts: Option<Box<HostTable<A::Op>>>,
    /// The backups of nodes.
    backups: BTreeMap<NodeId, Box<A>>,
    /// Until when random faults happen.
    chaos_until: SimTime,
    /// Whether random partitions are scheduled, which takes two nodes.
    may_split: bool,
    random_crashes: u64,
    effects_pool: EffectsPool<A::Notice>,
    /// The scripted events still to come. Present if there is a script or an event log.
    script: Option<Box<ScriptQueue<A::Op>>>,
    /// What the workload, random faults and the script did, if that is recorded.
    event_log: Option<EventLog<A::Op>>,
}

impl<A: Actor> World<A> {
    /// An empty world. The faults must be [valid](FaultConfig::validate).
    pub fn new(choices: Choices, faults: FaultConfig) -> Self {
        Self {
            clock: SimClock::default(),
            choices,
            hosts: HostTable::of(&faults.hosts),
            router: NetworkRouter::new(&faults),
            faults,
            queue: EventQueue::default(),
            nodes: Vec::new(),
            pending_work: PendingWork::default(),
            trace: TraceDigest::default(),
            settings: 0,
            events: 0,
            progress: ProgressCount::default(),
            last_arrival: SimTime::ZERO,
            all_started: true,
            log: None,
            churn: Churn::default(),
            backups: BTreeMap::new(),
            chaos_until: SimTime::ZERO,
            may_split: false,
            random_crashes: 0,
            effects_pool: EffectsPool::default(),
            script: None,
            event_log: None,
        }
    }

    /// Sets the shape of the network.
    pub const fn with_topology(mut self, topology: Topology) -> Self {
        self.router.set_topology(topology);
        self
    }

    /// Adds an actor. It starts with the next [`World::start_added`].
    pub fn add(&mut self, actor: A) -> NodeId {
        self.push(actor, false)
    }

    fn push(&mut self, actor: A, late: bool) -> NodeId {
        let node = NodeId(self.nodes.len() as u32);
        let digest = actor.digest();
        let unfinished = actor.unfinished();
        self.router.add_node(node, &mut self.choices);
        if let Some(hosts) = &mut self.hosts {
            hosts.add(&self.faults.hosts, &mut self.choices);
        }
        let slot = NodeSlot {
            actor,
            started: false,
            up: !late,
            late,
            retired: false,
            excluded: false,
            away: false,
            left_at: SimTime::ZERO,
            went_down_at: SimTime::ZERO,
            departures: 0,
            armed: None,
            crashes: 0,
            timers: Timers::default(),
            unfinished,
            lives_heard: BTreeMap::new(),
            digest,
            traffic: Traffic::default(),
            history: vec![(self.clock.now(), digest)],
        };
        // A node that joins late counts as down until then: the run does not converge without it.
        self.pending_work.count(slot.pending_bits(), true);
        self.pending_work.count_digest(digest, true);
        self.nodes.push(slot);
        self.all_started = false;
        node
    }

    /// The actor of a node.
    pub fn actor(&self, node: NodeId) -> Option<&A> {
        self.nodes.get(node.index()).map(|slot| &slot.actor)
    }

    /// All actors that have not retired, in the order of joining.
    pub fn actors(&self) -> impl Iterator<Item = (NodeId, &A)> {
        let slots = (0..).map(NodeId).zip(&self.nodes);
        slots.filter(|(_, slot)| !slot.retired).map(|(node, slot)| (node, &slot.actor))
    }

    /// Excludes a node from convergence: the run waits neither for its frames, nor for frames to it, nor for
    /// its unfinished work, and ignores its digest. Call it before the run begins.
    pub fn exclude_from_convergence(&mut self, node: NodeId) {
        assert!(self.events == 0, "a node is excluded from convergence before the run begins");
        // A node that is excluded already, or unknown, has nothing to remove from the counters.
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| slot.counts()) else { return };
        slot.excluded = true;
        self.pending_work.count(slot.pending_bits(), false);
        self.pending_work.count_digest(slot.digest, false);
    }

    fn is_excluded(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.excluded)
    }

    /// How many nodes were added so far, those that retired included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node was added yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|slot| slot.up)
    }

    /// Whether a timer of a node is set.
    pub fn has_timer(&self, node: NodeId, timer: u64) -> bool {
        self.slot(node).is_some_and(|slot| slot.timers.is_set(timer))
    }

    /// Whether a node has left and has not returned.
    pub fn is_away(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.away)
    }

    /// Whether a node is gone for the rest of the run.
    pub fn is_retired(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.retired)
    }

    /// Whether a node has still to join.
    pub fn is_late(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.late)
    }

    fn slot(&self, node: NodeId) -> Option<&NodeSlot<A>> {
        self.nodes.get(node.index())
    }

    fn slot_mut(&mut self, node: NodeId) -> Option<&mut NodeSlot<A>> {
        self.nodes.get_mut(node.index())
    }

    /// When a node went down, if it takes part in the run and is down.
    pub fn down_since(&self, node: NodeId) -> Option<SimTime> {
        self.slot(node).filter(|slot| slot.takes_part() && !slot.up).map(|slot| slot.went_down_at)
    }

    /// When a node left, if it takes part in the run and is away.
    pub fn away_since(&self, node: NodeId) -> Option<SimTime> {
        self.slot(node).filter(|slot| slot.takes_part() && slot.away).map(|slot| slot.left_at)
    }

    /// How often the digest of a node has changed from `since` on. O(changes).
    pub fn changes_since(&self, node: NodeId, since: SimTime) -> usize {
        let history = self.slot(node).map_or(&[][..], |slot| &slot.history);
        history.iter().skip(1).rev().take_while(|(at, _)| *at >= since).count()
    }

    /// When the digest of a node last changed; the start if it never did.
    pub fn last_change(&self, node: NodeId) -> SimTime {
        let last = self.slot(node).and_then(|slot| slot.history.iter().skip(1).next_back());
        last.map_or(SimTime::ZERO, |(at, _)| *at)
    }

    /// The traffic counters of a node.
    pub fn traffic(&self, node: NodeId) -> Traffic {
        self.nodes.get(node.index()).map_or_else(Traffic::default, |slot| slot.traffic)
    }

    /// The digest of a node's state.
    pub fn digest(&self, node: NodeId) -> Digest {
        self.nodes.get(node.index()).map_or(Digest::ZERO, |slot| slot.digest)
    }

    /// The digest that a node began with.
    pub fn first_digest(&self, node: NodeId) -> Digest {
        self.slot(node).and_then(|slot| slot.history.first()).map_or(Digest::ZERO, |(_, digest)| *digest)
    }

    /// The unfinished work of a node, and how many of its timers are not housekeeping.
    pub fn unfinished(&self, node: NodeId) -> (Unfinished, u32) {
        self.nodes
            .get(node.index())
            .map_or_else(Default::default, |slot| (slot.unfinished, slot.timers.awaited()))
    }

    /// Whether a node had this digest at some time in `since..=now`. Digests that it had within one instant
    /// all count: without latency a whole session fits into one instant.
    pub fn had_digest(&self, node: NodeId, digest: Digest, since: SimTime) -> bool {
        let slot = self.nodes.get(node.index()).expect("only a node of the world has had digests");
        for (from, own) in slot.history.iter().rev() {
            if *own == digest {
                return true;
            }
            // This digest was in force at `since`; those before it had been replaced by then.
            if *from < since {
                break;
            }
        }
        false
    }

    /// The work that is pending.
    pub const fn pending_work(&self) -> &PendingWork {
        &self.pending_work
    }

    /// The digest of everything that happened so far.
    pub const fn trace(&self) -> TraceDigest {
        self.trace
    }

    /// The current virtual time.
    pub const fn now(&self) -> SimTime {
        self.clock.now()
    }

    /// The clock of the run.
    pub const fn clock(&self) -> SimClock {
        self.clock
    }

    /// The faults in force.
    pub const fn faults(&self) -> &FaultConfig {
        &self.faults
    }

    /// The network.
    pub const fn router(&self) -> &NetworkRouter {
        &self.router
    }

    /// Until when random faults happen.
    pub const fn chaos_until(&self) -> SimTime {
        self.chaos_until
    }

    /// How many events were taken so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How often the run made progress so far.
    pub const fn progress(&self) -> ProgressCount {
        self.progress
    }

    /// The random crashes that happened so far, except for power failures within a commit.
    pub const fn random_crashes(&self) -> u64 {
        self.random_crashes
    }

    /// When the last of all frames so far arrives, or has arrived.
    pub const fn last_arrival(&self) -> SimTime {
        self.last_arrival
    }

    /// When the next event is due.
    pub fn next_time(&self) -> Option<SimTime> {
        let queued = self.queue.peek_time();
        let Some(script) = &self.script else { return queued };
        queued.into_iter().chain(script.next_time()).min()
    }

    /// Schedules an event for `at`, or for now if `at` is past. Returns its number in the order of
    /// scheduling.
    pub fn schedule(&mut self, at: SimTime, event: SimEvent<A::Op>) -> u64 {
        self.pending_work.ops += u64::from(matches!(event, SimEvent::Op { .. }));
        // `heal_at` advances the clock alone: the queue would accept a time between its last event and now.
        let number = self.queue.schedule(at.max(self.clock.now()), event);
        if let Some(log) = &mut self.log {
            log.scheduled(number);
        }
        number
    }

    fn retain_events(&mut self, keep: impl Fn(&SimEvent<A::Op>) -> bool) {
        // Frames and operations must be kept: `pending_work` counts them and is not adjusted here.
        if let Some(script) = &mut self.script {
            script.retain(&keep);
        }
        self.queue.retain(keep);
    }

    /// Starts the nodes that were added since the last call, and announces the members to all nodes. Returns
    /// a report for each input that a node got.
    pub fn start_added(&mut self) -> Vec<StepReport<A::Notice>> {
        if self.all_started {
            return Vec::new();
        }
        self.all_started = true;
        let members = self.members();
        let mut reports = Vec::new();
        for &node in members.iter() {
            self.open_entry(Some(node), EntryKind::Peers);
            reports.push(self.announce_peers(node, &members));
            let slot = self.slot_mut(node).filter(|slot| !slot.late);
            if slot.is_some_and(|slot| !std::mem::replace(&mut slot.started, true)) {
                self.schedule_random_faults(node);
                reports.push(self.feed(node, Input::Start));
            }
            self.close_entry();
        }
        reports
    }

    fn members(&self) -> Arc<[NodeId]> {
        let slots = (0..).map(NodeId).zip(&self.nodes);
        slots.filter(|(_, slot)| !slot.retired).map(|(node, _)| node).collect()
    }

    /// Tells a node who the members are and whom it can reach.
    fn announce_peers(&mut self, node: NodeId, members: &Arc<[NodeId]>) -> StepReport<A::Notice> {
        let reachable = if self.router.is_whole() {
            members.clone()
        } else {
            members.iter().copied().filter(|&other| self.router.is_linked(node, other)).collect()
        };
        self.feed(node, Input::Peers { members: members.clone(), reachable })
    }

    /// Changes an actor from outside, as a test does that acts for it.
    pub fn change(&mut self, node: NodeId, change: impl FnOnce(&mut A)) {
        self.with_accounting(node, |slot| change(&mut slot.actor));
    }

    /// Takes the next event. Returns what it did, or `None` if there is none.
    pub fn step(&mut self) -> Option<StepReport<A::Notice>> {
        // The report is built in its final place: moving it up through the calls would cost more than many
        // steps themselves.
        let mut report = None;
        if self.script.is_some() || self.event_log.is_some() {
            report = self.step_scripted();
        } else {
            let mut event = None;
            if let Some((at, number)) = self.queue.pop_into(&mut event) {
                self.take_at(at, number, &mut event, report.insert(StepReport::at(None)));
            }
        }
        report
    }

    /// Takes `event`, which is due at `at`; `report` is as in [`World::take`].
    fn take_at(
        &mut self,
        at: SimTime,
        number: u64,
        event: &mut Option<SimEvent<A::Op>>,
        report: &mut StepReport<A::Notice>,
    ) {
        self.clock.advance_to(at);
        self.events += 1;
        if self.hosts.is_none() && self.log.is_none() {
            self.take(event, report);
        } else if let Some((number, event)) = event.take().and_then(|event| self.admit(number, event)) {
            if self.log.is_some() {
                self.take_recorded(number, event, report);
            } else {
                self.take(&mut Some(event), report);
            }
        }
    }

    /// Takes `event` and writes what it does into `report`, which is empty. Both are passed by reference:
    /// most events are frames and timers, and moving them would be a good part of their cost.
    fn take(&mut self, event: &mut Option<SimEvent<A::Op>>, report: &mut StepReport<A::Notice>) {
        match event {
            Some(SimEvent::DeliverMessage(delivery)) => self.deliver(delivery, report),
            &mut Some(SimEvent::TimerFired { node, timer, setting }) => {
                self.fire(node, timer, setting, report);
            }
            event => {
                if let Some(event) = event.take() {
                    *report = self.take_rare(event);
                }
            }
        }
    }

    #[inline(never)]
    fn take_rare(&mut self, event: SimEvent<A::Op>) -> StepReport<A::Notice> {
        match event {
            SimEvent::DeliverMessage(_) | SimEvent::TimerFired { .. } => {
                unreachable!("frames and timers are taken on the fast path")
            }
            SimEvent::DeliverInTurn(arriving) => {
                let (position, delivery) = *arriving;
                self.deliver_in_turn(position, delivery)
            }
            SimEvent::LinkChanged { from, to, change } => {
                self.on_link_change(from, to, change);
                StepReport::at(None)
            }
            SimEvent::NodeCrash { node, point, down_for } => self.on_crash(node, point, down_for, false),
            SimEvent::NodeRestart { node, crash } => self.on_restart(node, crash),
            SimEvent::PartitionStart => {
                self.note(TraceEvent::RandomPartition, 0, 0);
                self.on_random_partition();
                StepReport::at(None)
            }
            SimEvent::PartitionAt { spec, lasting } => self.on_partition(*spec, lasting),
            SimEvent::PartitionEnd { partition } => {
                self.note(TraceEvent::PartitionEnd, partition.0, 0);
                self.router.partitions_mut().heal(partition);
                StepReport::at(None)
            }
            SimEvent::ChanceCrash { node } => {
                self.note(TraceEvent::RandomCrash, u64::from(node.0), 0);
                self.on_random_crash(node)
            }
            SimEvent::NodeLeave { node, away_for } => self.on_leave(node, away_for, false),
            SimEvent::NodeReturn { node, departure } => self.on_return(node, departure),
            SimEvent::ChanceLeave { node } => self.on_random_leave(node),
            SimEvent::NodeRetire { node } => self.on_retire(node),
            SimEvent::NodeJoin { node } => self.on_join(node),
            SimEvent::ReachChanged { node } => self.on_reach_changed(node),
            SimEvent::Op { node, op } => {
                // The operation ends here even if its node refuses it: nothing will ask for it again.
                self.op_ended();
                self.note(TraceEvent::Op, u64::from(node.0), 0);
                if !self.is_up(node) {
                    return StepReport { op_refused: true, ..StepReport::at(Some(node)) };
                }
                self.feed(node, Input::Op(&op))
            }
            SimEvent::Host { node, what } => self.on_host(node, what),
        }
    }

    /// An operation of the workload takes place now, or is lost.
    fn op_ended(&mut self) {
        assert!(self.pending_work.ops > 0, "each operation that was scheduled ends once");
        self.pending_work.ops -= 1;
    }

    /// Adds an event to the trace digest, and counts it as progress if it comes from outside the nodes.
    #[inline]
    fn note(&mut self, kind: TraceEvent, node: u64, detail: u64) {
        self.progress.outside += u64::from(kind.is_external());
        self.trace.record(self.clock.now().as_micros(), kind, node, detail);
    }

    /// A frame that the run waited for is not in flight any more.
    fn frame_landed(&mut self) {
        debug_assert!(self.pending_work.frames > 0, "each awaited frame lands once");
        self.pending_work.frames -= 1;
    }
}
