//! One step of a node: an input, and what becomes of its effects.

use crate::actor::{Actor, Commit, Context, Effects, Input, Outgoing, TimerChange};
use crate::event::{CrashPoint, Delivery, SimEvent};
use crate::network::{Arrivals, Envelope};
use crate::node_id::NodeId;
use crate::random::Stream;
use crate::world::node_slot::Slot;
use crate::world::pending_work::{ProgressCount, Standing, Tally};
use crate::world::{Stepped, World};
use syncline_types::{Digest, Moment, SimTime, canary};

impl<A: Actor> World<A> {
    /// A frame arrives. What comes of it goes into `stepped`, in which nothing is yet.
    pub(super) fn deliver(&mut self, delivery: &Delivery, stepped: &mut Stepped<A::Notice>) {
        let &Delivery { from, to, kind, housekeeping, ref bytes, corrupt, life } = delivery;
        stepped.node = Some(to);
        self.note(1, u64::from(from.0) << 32 | u64::from(to.0), u64::from(kind));
        self.trace.payload(bytes);
        if !housekeeping {
            self.landed();
        }
        if !self.router.arrive(self.clock.now(), from, to, self.is_up(to)) {
            return;
        }
        self.feed_into(to, Input::Frame { from, bytes }, stepped);
        stepped.frame = Some((from, kind));
        stepped.corrupt = corrupt;
        if let Some(slot) = self.nodes.get_mut(to.index()).filter(|_| stepped.accepted) {
            slot.traffic.received += 1;
            slot.traffic.bytes_received += bytes.len() as u64;
            // One that crashed while reading it has forgotten that it did.
            if !stepped.crashed {
                let heard = (from, slot.actor.lane());
                let newest = slot.lives_heard.get(&heard).copied().unwrap_or(0);
                stepped.stale_accepted = life < newest;
                if life > newest {
                    slot.lives_heard.insert(heard, life);
                }
            }
        }
    }

    /// A timer runs out; `stepped` is as in [`World::deliver`].
    pub(super) fn fire(&mut self, node: NodeId, timer: u64, setting: u64, stepped: &mut Stepped<A::Notice>) {
        let Some(slot) = self.nodes.get_mut(node.index()) else { return };
        stepped.node = Some(node);
        let before = slot.standing();
        if !slot.timers.fire(timer, setting) {
            return;
        }
        if slot.counts() {
            self.tally.shift(before, slot.standing());
        }
        self.note(2, u64::from(node.0), timer);
        self.feed_into(node, Input::Timer(timer), stepped);
    }

    /// Changes a node and keeps the tally in step with it.
    pub(super) fn retally(&mut self, node: NodeId, change: impl FnOnce(&mut Slot<A>)) {
        let now = self.clock.now();
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| !slot.retired) else { return };
        let before = slot.standing();
        change(slot);
        take_stock(slot, before, now, &mut self.moves, &mut self.tally);
    }

    /// Gives an input to a node that is up, and honours its effects, as far as an armed crash lets
    /// it come.
    pub(super) fn feed(&mut self, node: NodeId, input: Input<'_, A::Op>) -> Stepped<A::Notice> {
        let mut stepped = Stepped::at(Some(node));
        self.feed_into(node, input, &mut stepped);
        stepped
    }

    /// As [`World::feed`]; `stepped` is as in [`World::deliver`].
    fn feed_into(&mut self, node: NodeId, input: Input<'_, A::Op>, stepped: &mut Stepped<A::Notice>) {
        let (is_frame, is_op) = (matches!(input, Input::Frame { .. }), matches!(input, Input::Op(_)));
        let (now, chaos_until) = (self.clock.now(), self.chaos_until);
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| slot.up) else { return };
        // A crash by chance that waited for a step until chaos was over does not happen any more.
        let armed = slot.armed.take().filter(|armed| !armed.by_chance || now < chaos_until);
        let (slot, moment, commit) = if self.hosts.is_none() && armed.is_none() {
            (slot, Moment::at(now), Commit::Durable)
        } else {
            let (moment, commit) = (self.moment(node), self.commit(node, armed.map(|armed| armed.point)));
            let Some(slot) = self.nodes.get_mut(node.index()) else { return };
            (slot, moment, commit)
        };
        let entropy = &mut self.choices.source(Stream::Node(node.0));
        let mut context = Context::new(moment, entropy, commit);
        let mut effects = self.spare.take();
        slot.actor.step(input, &mut context, &mut effects);
        if is_frame {
            // A frame whose receiver crashes while reading it was delivered.
            match effects.refusal {
                Some(cause) => self.router.fates.drop(cause),
                None => self.router.fates.delivered += 1,
            }
        }
        if effects.failed {
            let down_for = self.down_for(node);
            self.take_down(node, Some(down_for));
            (stepped.crashed, stepped.accepted, stepped.op_refused) = (true, is_frame, is_op);
            return;
        }
        if is_frame {
            (stepped.accepted, stepped.refused) = (effects.refusal.is_none(), effects.refusal);
        }
        if let Some(armed) = armed {
            stepped.crashed = true;
            stepped.op_refused = cut_short(&mut effects, armed.point) && is_op;
        }
        if !effects.notices.is_empty() {
            stepped.notices = std::mem::take(&mut effects.notices);
        }
        for message in effects.messages.drain(..) {
            self.send(node, message);
        }
        let digest = match armed {
            Some(armed) => {
                stepped.undone = self.crash_in_step(node, &armed);
                self.digest(node)
            }
            None => self.settle(node, &effects.timers),
        };
        self.spare.keep(effects);
        self.note(9, u64::from(node.0), digest.short());
    }

    fn send(&mut self, from: NodeId, message: Outgoing) {
        let Outgoing { to, bytes, kind, mut housekeeping } = message;
        housekeeping |= self.is_aside(to);
        let Some(slot) = self.nodes.get_mut(from.index()) else { return };
        housekeeping |= slot.aside;
        let life = slot.crashes;
        slot.traffic.sent += 1;
        slot.traffic.bytes_sent += bytes.len() as u64;
        let frame = Envelope { from, to, kind, bytes: bytes.len() };
        let arrivals = if self.log.is_none() {
            self.router.route(self.clock.now(), frame, &mut self.choices)
        } else {
            self.route_recorded(frame, housekeeping)
        };
        let mut which = 0;
        arrivals.hand_over(bytes, |copy, bytes| {
            self.last_arrival = self.last_arrival.max(copy.at);
            self.tally.frames += u64::from(!housekeeping);
            let corrupt = copy.flipped.is_some();
            let delivery = Delivery { from, to, kind, housekeeping, bytes, corrupt, life };
            let event = match arrivals.ticket {
                None => SimEvent::DeliverMessage(delivery),
                Some(ticket) => SimEvent::DeliverInTurn(Box::new((ticket, delivery))),
            };
            let number = self.queue.schedule(copy.at, event);
            if let Some(log) = &mut self.log {
                log.on_its_way(number, which);
            }
            which += 1;
        });
    }

    fn route_recorded(&mut self, frame: Envelope, housekeeping: bool) -> Arrivals {
        let before = self.router.fates.clone();
        let arrivals = self.router.route(self.clock.now(), frame, &mut self.choices);
        self.record_frame(frame, housekeeping, &arrivals, &before);
        arrivals
    }

    /// Ends a step: sets timers, and takes stock of the node. Gives its digest.
    fn settle(&mut self, node: NodeId, changes: &[TimerChange]) -> Digest {
        let (now, chaos_until) = (self.clock.now(), self.chaos_until);
        let Some(slot) = self.nodes.get_mut(node.index()) else { return Digest::ZERO };
        let before = slot.standing();
        for &change in changes {
            let (id, at, housekeeping) = match change {
                TimerChange::Set { id, at, housekeeping } => (id, at, housekeeping),
                TimerChange::Cancel { id } => {
                    slot.timers.cancel(id);
                    continue;
                }
            };
            self.settings += 1;
            let setting = self.settings;
            slot.timers.set(id, setting, housekeeping);
            let at = match &mut self.hosts {
                Some(hosts) => hosts.bent(node, at, now, chaos_until),
                None => at,
            };
            let event = SimEvent::TimerFired { node, timer: id, setting };
            let number = self.queue.schedule(at.max(now), event);
            if let Some(log) = &mut self.log {
                log.scheduled(number);
            }
        }
        take_stock(slot, before, now, &mut self.moves, &mut self.tally);
        slot.digest
    }
}

/// Sees what has become of a node, and keeps the tally in step with that.
fn take_stock<A: Actor>(
    slot: &mut Slot<A>,
    before: Standing,
    now: SimTime,
    moves: &mut ProgressCount,
    tally: &mut Tally,
) {
    slot.unfinished = slot.actor.unfinished();
    let digest = slot.actor.digest();
    if digest != slot.digest {
        let known = std::mem::replace(&mut slot.digest, digest);
        slot.history.push((now, digest));
        if slot.counts() {
            moves.changes += 1;
            tally.count_digest(known, false);
            tally.count_digest(digest, true);
        }
    }
    if slot.counts() {
        tally.shift(before, slot.standing());
    }
}

/// Takes from the effects of a step those that a crash in it forestalls. Says whether what it was to make
/// durable is not.
fn cut_short<N>(effects: &mut Effects<N>, crash: CrashPoint) -> bool {
    let sent = match crash {
        CrashPoint::AfterAllSends => usize::MAX,
        CrashPoint::AfterFirstSend => 1,
        CrashPoint::BeforeCommit if canary!(SentBeforeCommit) => usize::MAX,
        _ => 0,
    };
    effects.messages.truncate(sent);
    let uncommitted = matches!(crash, CrashPoint::BeforeCommit | CrashPoint::MidCommit);
    if !uncommitted || canary!(AcknowledgedBeforeCommit) {
        return false;
    }
    effects.notices.clear();
    true
}
