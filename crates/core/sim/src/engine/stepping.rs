//! One step of a node: an input, and what becomes of its effects.

use super::actor::{Actor, Context, Effects, Input, Outgoing, TimerChange};
use super::event::{CrashPoint, Delivery, SimEvent};
use super::slot::Slot;
use super::world::{Stepped, World};
use crate::network::Envelope;
use crate::runtime::Stream;
use crate::types::NodeId;
use syncline_types::canary;

impl<A: Actor> World<A> {
    pub(super) fn deliver(&mut self, delivery: &Delivery) -> Stepped<A::Notice> {
        let &Delivery { from, to, kind, housekeeping, ref bytes, corrupt, life } = delivery;
        self.note(1, u64::from(from.0) << 32 | u64::from(to.0), u64::from(kind));
        self.trace.payload(bytes);
        if !housekeeping {
            self.landed();
        }
        if !self.router.arrive(self.clock.now(), from, to, self.is_up(to)) {
            return Stepped::at(Some(to));
        }
        let mut stepped = self.feed(to, Input::Frame { from, bytes });
        stepped.frame = Some((from, kind));
        stepped.corrupt = corrupt;
        if stepped.accepted
            && let Some(slot) = self.nodes.get_mut(to.index())
        {
            slot.traffic.received += 1;
            slot.traffic.bytes_received += bytes.len() as u64;
        }
        // One that crashed while reading it has forgotten that it did.
        if stepped.accepted
            && !stepped.crashed
            && let Some(slot) = self.nodes.get_mut(to.index())
        {
            let heard = (from, slot.actor.lane());
            let newest = slot.lives_heard.get(&heard).copied().unwrap_or(0);
            stepped.stale_accepted = life < newest;
            if life > newest {
                slot.lives_heard.insert(heard, life);
            }
        }
        stepped
    }

    pub(super) fn fire(&mut self, node: NodeId, timer: u64, setting: u64) -> Stepped<A::Notice> {
        let Some(slot) = self.nodes.get_mut(node.index()) else { return Stepped::at(None) };
        let before = slot.standing();
        if !slot.timers.fire(timer, setting) {
            return Stepped::at(Some(node));
        }
        let after = slot.standing();
        if slot.counts() {
            self.tally.shift(before, after);
        }
        self.note(2, u64::from(node.0), timer);
        self.feed(node, Input::Timer(timer))
    }

    /// Changes a node and keeps the tally in step with it.
    pub(super) fn retally(&mut self, node: NodeId, change: impl FnOnce(&mut Slot<A>)) {
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| !slot.retired) else { return };
        let (before, digest, counts) = (slot.standing(), slot.digest, slot.counts());
        change(slot);
        slot.unfinished = slot.actor.unfinished();
        slot.digest = slot.actor.digest();
        if slot.digest != digest {
            slot.history.push((self.clock.now(), slot.digest));
            if counts {
                self.moves.changes += 1;
                self.tally.count_digest(digest, false);
                self.tally.count_digest(slot.digest, true);
            }
        }
        let after = slot.standing();
        if counts {
            self.tally.shift(before, after);
        }
    }

    /// Gives an input to a node that is up, and honours its effects, as far as an armed crash lets
    /// it come.
    pub(super) fn feed(&mut self, node: NodeId, input: Input<'_, A::Op>) -> Stepped<A::Notice> {
        let (is_frame, is_op) = (matches!(input, Input::Frame { .. }), matches!(input, Input::Op(_)));
        let (now, chaos_until) = (self.clock.now(), self.chaos_until);
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| slot.up) else {
            return Stepped::at(Some(node));
        };
        // A crash by chance that waited for a step until chaos was over does not happen any more.
        let armed = slot.armed.take().filter(|armed| !armed.by_chance || now < chaos_until);
        let crash = armed.map(|armed| armed.point);
        let (moment, commit) = (self.moment(node), self.commit(node, crash));
        let Some(slot) = self.nodes.get_mut(node.index()) else { return Stepped::at(Some(node)) };
        let entropy = &mut self.choices.source(Stream::Node(node.0));
        let mut context = Context::new(moment, entropy, commit).reusing(&mut self.spare);
        let effects = slot.actor.step(input, &mut context);
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
            let stepped = Stepped { crashed: true, accepted: is_frame, ..Stepped::at(Some(node)) };
            return Stepped { op_refused: is_op, ..stepped };
        }
        let accepted = is_frame && effects.refusal.is_none();
        let refused = effects.refusal.filter(|_| is_frame);
        let mut stepped = Stepped { crashed: crash.is_some(), accepted, refused, ..Stepped::at(Some(node)) };
        let Effects { mut messages, mut timers, notices, .. } = effects;
        let uncommitted = matches!(crash, Some(CrashPoint::BeforeCommit | CrashPoint::MidCommit));
        if !uncommitted || canary!(AcknowledgedBeforeCommit) {
            stepped.notices = notices;
        } else {
            stepped.op_refused = is_op;
        }
        let sent = match crash {
            None | Some(CrashPoint::AfterAllSends) => usize::MAX,
            Some(CrashPoint::AfterFirstSend) => 1,
            Some(CrashPoint::BeforeCommit) if canary!(SentBeforeCommit) => usize::MAX,
            Some(_) => 0,
        };
        for message in messages.drain(..).take(sent) {
            self.send(node, message);
        }
        match armed {
            Some(armed) => stepped.undone = self.crash_in_step(node, &armed),
            None => self.set_timers(node, &timers),
        }
        timers.clear();
        self.spare.keep(messages, timers);
        let digest = self.digest(node).short();
        self.note(9, u64::from(node.0), digest);
        stepped
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
            let before = self.router.fates.clone();
            let arrivals = self.router.route(self.clock.now(), frame, &mut self.choices);
            self.record_frame(frame, housekeeping, arrivals, &before);
            arrivals
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

    fn set_timers(&mut self, node: NodeId, changes: &[TimerChange]) {
        let first = self.settings + 1;
        self.retally(node, |slot| {
            let mut setting = first;
            for &change in changes {
                match change {
                    TimerChange::Set { id, housekeeping, .. } => {
                        slot.timers.set(id, setting, housekeeping);
                        setting += 1;
                    }
                    TimerChange::Cancel { id } => slot.timers.cancel(id),
                }
            }
        });
        for &change in changes {
            if let TimerChange::Set { id, at, .. } = change {
                self.settings += 1;
                let at = self.bent(node, at);
                self.schedule(at, SimEvent::TimerFired { node, timer: id, setting: self.settings });
            }
        }
    }
}
