//! The world: actors, queue, network, and what is unfinished.

mod churn;
mod crash;
mod event_log;
mod heal;
mod history_hooks;
mod host;
mod node_slot;
mod ordered_delivery;
mod pending_work;
mod random_faults;
mod script;
mod step;
mod timers;
mod trace_digest;
mod wall_clock;

pub use churn::Churn;
pub use event_log::{Cue, Happened};
pub use host::{HostEffects, HostEvent, Trouble};
pub use node_slot::Traffic;
pub use pending_work::{ProgressCount, Tally};
pub use trace_digest::TraceDigest;

use crate::actor::{Actor, Input, Spare, Unfinished};
use crate::clock::SimClock;
use crate::event::SimEvent;
use crate::event_queue::EventQueue;
use crate::faults::FaultConfig;
use crate::history::{Recorder, What};
use crate::network::{DropCause, NetworkRouter, Topology};
use crate::node_id::NodeId;
use crate::random::Choices;
use crate::world::host::Hosts;
use crate::world::node_slot::Slot;
use crate::world::script::Script;
use crate::world::timers::Timers;
use std::collections::BTreeMap;
use std::sync::Arc;
use syncline_types::{Digest, SimTime};

/// What one event did.
#[derive(Clone, Debug)]
pub struct Stepped<N> {
    /// The node it happened to, if to one.
    pub node: Option<NodeId>,
    /// What that node had to say.
    pub notices: Vec<N>,
    /// An operation that found its node down and was not done.
    pub op_refused: bool,
    /// Whether a node went down.
    pub crashed: bool,
    /// Whether one came back.
    pub restarted: bool,
    /// A frame took effect.
    pub accepted: bool,
    /// Why a frame that was handed over took none.
    pub refused: Option<DropCause>,
    /// The frame that was handed over was not what was sent.
    pub corrupt: bool,
    /// The frame that arrived, whatever came of it: its sender and its kind.
    pub frame: Option<(NodeId, u8)>,
    /// A frame took effect although its receiver had heard from a later life of its sender.
    pub stale_accepted: bool,
    /// A crash has undone what the node says that it did: its disk had lied.
    pub undone: bool,
}

impl<N> Stepped<N> {
    pub(crate) const fn at(node: Option<NodeId>) -> Self {
        Self {
            node,
            notices: Vec::new(),
            op_refused: false,
            crashed: false,
            restarted: false,
            accepted: false,
            refused: None,
            corrupt: false,
            frame: None,
            stale_accepted: false,
            undone: false,
        }
    }
}

/// A world of actors. It is a value: a clone is another world that goes on from here.
#[derive(Clone, Debug)]
pub struct World<A: Actor> {
    /// The clock.
    pub clock: SimClock,
    /// All chance.
    pub choices: Choices,
    /// The network.
    pub router: NetworkRouter,
    pub(super) queue: EventQueue<SimEvent<A::Op>>,
    pub(super) nodes: Vec<Slot<A>>,
    pub(super) tally: Tally,
    pub(super) trace: TraceDigest,
    pub(super) settings: u64,
    events: u64,
    pub(super) moves: ProgressCount,
    /// When the last of all frames so far arrives.
    pub(super) last_arrival: SimTime,
    all_started: bool,
    pub(super) log: Option<Box<Recorder>>,
    pub(super) churn: Churn,
    /// Present where something may be wrong with hosts.
    pub(super) hosts: Option<Box<Hosts<A::Op>>>,
    /// Until when partitions, crashes and departures happen by chance.
    pub(super) chaos_until: SimTime,
    pub(super) may_split: bool,
    /// Crashes that struck by chance, but for those of power that fails in the middle of a commit.
    pub chance_crashes: u64,
    pub(super) spare: Spare<A::Notice>,
    /// What is still to happen by a script. Present where there is one, or a chronicle.
    pub(super) script: Option<Box<Script<A::Op>>>,
    /// What the workload, chance and the script did, in the order of happening, if it is kept.
    pub chronicle: Option<Vec<(Cue, Happened<A::Op>)>>,
}

impl<A: Actor> World<A> {
    /// An empty world. The faults must be valid.
    pub fn new(choices: Choices, faults: FaultConfig) -> Self {
        Self {
            clock: SimClock::default(),
            choices,
            hosts: Hosts::of(&faults.hosts),
            router: NetworkRouter::new(faults),
            queue: EventQueue::default(),
            nodes: Vec::new(),
            tally: Tally::default(),
            trace: TraceDigest::default(),
            settings: 0,
            events: 0,
            moves: ProgressCount::default(),
            last_arrival: SimTime::ZERO,
            all_started: true,
            log: None,
            churn: Churn::default(),
            chaos_until: SimTime::ZERO,
            may_split: false,
            chance_crashes: 0,
            spare: Spare::default(),
            script: None,
            chronicle: None,
        }
    }

    /// Gives the network another shape.
    pub const fn with_topology(mut self, topology: Topology) -> Self {
        self.router.set_topology(topology);
        self
    }

    /// Adds an actor. It starts when the world next moves.
    pub fn add(&mut self, actor: A) -> NodeId {
        self.push(actor, false)
    }

    pub(super) fn push(&mut self, actor: A, late: bool) -> NodeId {
        let node = NodeId(self.nodes.len() as u32);
        let digest = actor.digest();
        let unfinished = actor.unfinished();
        self.router.add_node(node, &mut self.choices);
        if let Some(hosts) = &mut self.hosts {
            hosts.add(&mut self.choices);
        }
        let slot = Slot {
            actor,
            started: false,
            up: !late,
            late,
            retired: false,
            aside: false,
            away: false,
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
        self.tally.count(slot.standing(), true);
        self.tally.count_digest(digest, true);
        self.nodes.push(slot);
        self.all_started = false;
        node
    }

    /// The actor of a node.
    pub fn actor(&self, node: NodeId) -> Option<&A> {
        self.nodes.get(node.index()).map(|slot| &slot.actor)
    }

    /// All actors that take part.
    pub fn actors(&self) -> impl Iterator<Item = (NodeId, &A)> {
        let slots = (0..).map(NodeId).zip(&self.nodes);
        slots.filter(|(_, slot)| !slot.retired).map(|(node, slot)| (node, &slot.actor))
    }

    /// Has the run not wait for a node from now on: neither for its frames, nor for frames to it, nor for what
    /// it has not finished, and its digest need not be that of the others. To be said before the run begins.
    pub fn set_aside(&mut self, node: NodeId) {
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| slot.counts()) else { return };
        slot.aside = true;
        self.tally.count(slot.standing(), false);
        self.tally.count_digest(slot.digest, false);
    }

    pub(super) fn is_aside(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.aside)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|slot| slot.up)
    }

    /// Whether a node has left and is not back.
    pub fn is_away(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.away)
    }

    /// Whether a node is gone for good.
    pub fn is_retired(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.retired)
    }

    /// Whether a node has still to join.
    pub fn is_late(&self, node: NodeId) -> bool {
        self.slot(node).is_some_and(|slot| slot.late)
    }

    pub(super) fn slot(&self, node: NodeId) -> Option<&Slot<A>> {
        self.nodes.get(node.index())
    }

    pub(super) fn slot_mut(&mut self, node: NodeId) -> Option<&mut Slot<A>> {
        self.nodes.get_mut(node.index())
    }

    /// What a node sent and received.
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

    /// What a node has not finished, and how many timers somebody waits for.
    pub fn unfinished(&self, node: NodeId) -> (Unfinished, u32) {
        self.nodes
            .get(node.index())
            .map_or_else(Default::default, |slot| (slot.unfinished, slot.timers.awaited()))
    }

    /// Whether a node had this digest at some time in `since..=now`. Of several within one instant all count:
    /// without latency a whole session fits into it.
    pub fn had_digest(&self, node: NodeId, digest: Digest, since: SimTime) -> bool {
        let Some(slot) = self.nodes.get(node.index()) else { return false };
        for (from, own) in slot.history.iter().rev() {
            if *own == digest {
                return true;
            }
            if *from < since {
                break;
            }
        }
        false
    }

    /// What is unfinished.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The digest of all that happened.
    pub const fn trace(&self) -> TraceDigest {
        self.trace
    }

    /// Until when things go wrong by chance.
    pub const fn chaos_until(&self) -> SimTime {
        self.chaos_until
    }

    /// Events taken so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How often something came from outside, and how often a digest changed.
    /// How often the run has moved so far.
    pub const fn moves(&self) -> ProgressCount {
        self.moves
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

    /// Schedules something for `at`, or for now if that is past. Gives its number in the order of scheduling.
    pub fn schedule(&mut self, at: SimTime, event: SimEvent<A::Op>) -> u64 {
        self.tally.ops += u64::from(matches!(event, SimEvent::Op { .. }));
        let number = self.queue.schedule(at.max(self.clock.now()), event);
        if let Some(log) = &mut self.log {
            log.scheduled(number);
        }
        number
    }

    pub(super) fn retain_events(&mut self, keep: impl Fn(&SimEvent<A::Op>) -> bool) {
        if let Some(script) = &mut self.script {
            script.retain(&keep);
        }
        self.queue.retain(keep);
    }

    /// Starts what was added and tells all nodes of each other. Gives what came of it.
    pub fn start_added(&mut self) -> Vec<Stepped<A::Notice>> {
        if self.all_started {
            return Vec::new();
        }
        self.all_started = true;
        let members = self.members();
        let mut came = Vec::new();
        for &node in members.iter() {
            self.open_entry(Some(node), What::Peers);
            came.push(self.tell(node, &members));
            let slot = self.slot_mut(node).filter(|slot| !slot.late);
            if slot.is_some_and(|slot| !std::mem::replace(&mut slot.started, true)) {
                self.expose(node);
                came.push(self.feed(node, Input::Start));
            }
            self.close_entry();
        }
        came
    }

    pub(super) fn members(&self) -> Arc<[NodeId]> {
        let slots = (0..).map(NodeId).zip(&self.nodes);
        slots.filter(|(_, slot)| !slot.retired).map(|(node, _)| node).collect()
    }

    /// Tells a node who takes part and whom it can reach.
    pub(super) fn tell(&mut self, node: NodeId, members: &Arc<[NodeId]>) -> Stepped<A::Notice> {
        let reachable = if self.router.is_whole() {
            members.clone()
        } else {
            members.iter().copied().filter(|&other| self.router.is_linked(node, other)).collect()
        };
        self.feed(node, Input::Peers { members: members.clone(), reachable })
    }

    /// Changes an actor from outside, as a test does that plays a part.
    pub fn change(&mut self, node: NodeId, change: impl FnOnce(&mut A)) {
        self.retally(node, |slot| change(&mut slot.actor));
    }

    /// Takes the next event. `None` if there is none.
    pub fn step(&mut self) -> Option<Stepped<A::Notice>> {
        // One place, in which the result is made.
        let mut stepped = None;
        if self.script.is_some() || self.chronicle.is_some() {
            stepped = self.step_as_told();
        } else {
            let mut event = None;
            if let Some((at, number)) = self.queue.pop_into(&mut event) {
                self.take_at(at, number, &mut event, stepped.insert(Stepped::at(None)));
            }
        }
        stepped
    }

    /// Takes the event that there is; `stepped` is as in [`World::take`].
    pub(super) fn take_at(
        &mut self,
        at: SimTime,
        number: u64,
        event: &mut Option<SimEvent<A::Op>>,
        stepped: &mut Stepped<A::Notice>,
    ) {
        self.clock.advance_to(at);
        self.events += 1;
        if self.hosts.is_none() && self.log.is_none() {
            self.take(event, stepped);
        } else if let Some((number, event)) = event.take().and_then(|event| self.hold(number, event)) {
            if self.log.is_some() {
                self.take_recorded(number, event, stepped);
            } else {
                self.take(&mut Some(event), stepped);
            }
        }
    }

    /// Takes the event that there is. What comes of it goes into `stepped`, in which nothing is yet: most events
    /// are frames and timers, and moving either costs as much as a part of these.
    pub(super) fn take(&mut self, event: &mut Option<SimEvent<A::Op>>, stepped: &mut Stepped<A::Notice>) {
        match event {
            Some(SimEvent::DeliverMessage(delivery)) => self.deliver(delivery, stepped),
            &mut Some(SimEvent::TimerFired { node, timer, setting }) => {
                self.fire(node, timer, setting, stepped);
            }
            event => {
                if let Some(event) = event.take() {
                    *stepped = self.take_rare(event);
                }
            }
        }
    }

    #[inline(never)]
    fn take_rare(&mut self, event: SimEvent<A::Op>) -> Stepped<A::Notice> {
        match event {
            SimEvent::DeliverMessage(_) | SimEvent::TimerFired { .. } => Stepped::at(None),
            SimEvent::DeliverInTurn(arriving) => {
                let (ticket, delivery) = *arriving;
                self.deliver_in_turn(ticket, delivery)
            }
            SimEvent::LinkChanged { from, to, change } => {
                self.on_link_change(from, to, change);
                Stepped::at(None)
            }
            SimEvent::NodeCrash { node, point, down_for } => self.on_crash(node, point, down_for, false),
            SimEvent::NodeRestart { node, crash } => self.on_restart(node, crash),
            SimEvent::PartitionStart => {
                self.note(5, 0, 0);
                self.on_chance_partition();
                Stepped::at(None)
            }
            SimEvent::PartitionAt { spec, lasting } => self.on_partition(*spec, lasting),
            SimEvent::PartitionEnd { partition } => {
                self.note(6, partition.0, 0);
                self.router.partitions.heal(partition);
                Stepped::at(None)
            }
            SimEvent::ChanceCrash { node } => {
                self.note(7, u64::from(node.0), 0);
                self.on_chance_crash(node)
            }
            SimEvent::NodeLeave { node, away_for } => self.on_leave(node, away_for, false),
            SimEvent::NodeReturn { node, departure } => self.on_return(node, departure),
            SimEvent::ChanceLeave { node } => self.on_chance_leave(node),
            SimEvent::NodeRetire { node } => self.on_retire(node),
            SimEvent::NodeJoin { node } => self.on_join(node),
            SimEvent::ReachChanged { node } => self.on_reach_changed(node),
            SimEvent::Op { node, op } => {
                self.tally.ops -= 1;
                self.note(8, u64::from(node.0), 0);
                if !self.is_up(node) {
                    return Stepped { op_refused: true, ..Stepped::at(Some(node)) };
                }
                self.feed(node, Input::Op(&op))
            }
            SimEvent::Host { node, what } => self.on_host(node, what),
        }
    }

    /// An operation will not take place.
    pub(super) const fn tally_op_lost(&mut self) {
        self.tally.ops -= 1;
    }

    pub(super) fn note(&mut self, kind: u64, node: u64, detail: u64) {
        // All but frames that arrive, timers and the ends of steps comes from outside.
        self.moves.outside += u64::from(kind > 2 && kind != 9);
        self.trace.event([self.clock.now().as_micros(), kind, node, detail]);
    }

    /// A frame that somebody waited for is not on its way any more.
    pub(super) const fn landed(&mut self) {
        self.tally.frames -= 1;
    }
}
