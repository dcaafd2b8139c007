//! One step of a node: the actor processes an input, and the engine applies its effects.

use crate::actor::{Actor, Commit, Context, Effects, Input, Outgoing, TimerChange};
use crate::event::{CrashPoint, Delivery, SimEvent};
use crate::network::{Arrivals, Envelope};
use crate::node_id::NodeId;
use crate::random::Stream;
use crate::world::node_slot::NodeSlot;
use crate::world::pending_work::{PendingBits, PendingWork, ProgressCount};
use crate::world::trace_digest::TraceEvent;
use crate::world::{FrameSize, StepReport, World};
use syncline_types::{Digest, Moment, SimTime, canary};

impl<A: Actor> World<A> {
    /// A frame arrives. `report` is empty and takes the result.
    pub(super) fn deliver(&mut self, delivery: &Delivery, report: &mut StepReport<A::Notice>) {
        let &Delivery { from, to, kind, housekeeping, ref bytes, corrupt, life } = delivery;
        report.node = Some(to);
        self.note(TraceEvent::FrameArrived, u64::from(from.0) << 32 | u64::from(to.0), u64::from(kind));
        self.trace.payload(bytes);
        // The frame has landed even if it is dropped below: the run does not wait for it any more.
        if !housekeeping {
            self.frame_landed();
        }
        if !self.router.arrive(self.clock.now(), from, to, self.is_up(to)) {
            return;
        }
        self.feed_into(to, Input::Frame { from, bytes }, report);
        report.frame = Some((from, kind));
        report.frame_bytes = Some(bytes.clone());
        report.corrupt = corrupt;
        if let Some(slot) = self.nodes.get_mut(to.index()).filter(|_| report.accepted) {
            slot.traffic.received += 1;
            slot.traffic.bytes_received += bytes.len() as u64;
            // A node that crashed while it processed the frame has lost the memory of the sender's
            // incarnation.
            if !report.crashed {
                let heard = (from, slot.actor.lane());
                let newest = slot.lives_heard.get(&heard).copied().unwrap_or(0);
                report.stale_accepted = life < newest;
                if life > newest {
                    slot.lives_heard.insert(heard, life);
                }
            }
        }
    }

    /// A timer expires; `report` has what the node did before, and is as in [`World::deliver`].
    pub(super) fn fire(
        &mut self,
        node: NodeId,
        timer: u64,
        setting: u64,
        report: &mut StepReport<A::Notice>,
    ) {
        let Some(slot) = self.nodes.get_mut(node.index()) else {
            unreachable!("timers belong to nodes that were added")
        };
        report.node = Some(node);
        let before = slot.pending_bits();
        // The timer was moved or cancelled, or its node has crashed since: this setting is obsolete.
        if !slot.timers.fire(timer, setting) {
            return;
        }
        // The counters follow at once: the step below compares with the bits after this removal.
        if slot.counts() {
            self.pending_work.shift(before, slot.pending_bits());
        }
        self.note(TraceEvent::TimerFired, u64::from(node.0), timer);
        self.feed_into(node, Input::Timer(timer), report);
    }

    /// Changes a node, and updates the counters of pending work with it.
    pub(super) fn with_accounting(&mut self, node: NodeId, change: impl FnOnce(&mut NodeSlot<A>)) {
        let now = self.clock.now();
        // A retired node is in no counter any more. An unknown one has nothing to change.
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| !slot.retired) else { return };
        let before = slot.pending_bits();
        change(slot);
        refresh_accounting(slot, before, now, &mut self.progress, &mut self.pending_work);
    }

    /// Feeds an input to a node, if it is up, and applies the effects, as far as an armed crash allows.
    pub(super) fn feed(&mut self, node: NodeId, input: Input<'_, A::Op>) -> StepReport<A::Notice> {
        let mut report = StepReport::at(Some(node));
        self.feed_into(node, input, &mut report);
        report
    }

    /// As [`World::feed`]; `report` has what the node did before, and is as in [`World::deliver`].
    pub(super) fn feed_into(
        &mut self,
        node: NodeId,
        input: Input<'_, A::Op>,
        report: &mut StepReport<A::Notice>,
    ) {
        let is_frame = matches!(input, Input::Frame { .. });
        let is_op = matches!(input, Input::Op(_));
        let now = self.clock.now();
        let chaos_until = self.chaos_until;
        // A node that is down processes nothing. Frames to it were dropped by the router before.
        let Some(slot) = self.nodes.get_mut(node.index()).filter(|slot| slot.up) else { return };
        // A random crash that is armed lapses when chaos ends before the node's next step.
        let armed = slot.armed.take().filter(|armed| !armed.is_random || now < chaos_until);
        let (slot, moment, commit) = if self.hosts.is_none() && armed.is_none() {
            (slot, Moment::at(now), Commit::Durable)
        } else {
            let moment = self.moment(node);
            let commit = self.commit(node, armed.map(|armed| armed.point));
            (&mut self.nodes[node.index()], moment, commit)
        };
        let entropy = &mut self.choices.source(Stream::Node(node.0));
        let mut context = Context::new(moment, entropy, commit);
        let mut effects = self.effects_pool.take();
        slot.actor.step(input, &mut context, &mut effects);
        if is_frame {
            // A frame whose receiver crashes while processing it counts as delivered: the network has done
            // its part.
            match effects.refusal {
                Some(cause) => self.router.drop_arrived(cause),
                None => self.router.count_delivered(),
            }
        }
        if effects.failed {
            // All effects are discarded: a frame or a notice could promise a write that is not durable.
            self.write_failed(node);
            let down_for = self.down_for(node);
            self.take_down(node, Some(down_for));
            report.crashed = true;
            report.accepted = is_frame;
            report.op_refused = is_op;
            return;
        }
        if is_frame {
            report.accepted = effects.refusal.is_none();
            report.refused = effects.refusal;
        }
        if let Some(armed) = armed {
            report.crashed = true;
            report.op_refused = discard_after_crash(&mut effects, armed.point) && is_op;
        }
        // A report of two inputs, the members and the start, has the notices of both.
        if report.notices.is_empty() {
            report.notices = std::mem::take(&mut effects.notices);
        } else {
            report.notices.append(&mut effects.notices);
        }
        // Frames are sent before a crash in the step: the armed crash point has cut them to those that leave.
        for message in effects.messages.drain(..) {
            let Outgoing { to, kind, ref bytes, .. } = message;
            // Written in place: a new report for each frame costs more than all else here.
            if report.largest_sent.is_none_or(|largest| bytes.len() > largest.bytes) {
                report.largest_sent = Some(FrameSize { to, kind, bytes: bytes.len() });
            }
            self.send(node, message);
        }
        // A crash clears all timers of the node, so it leaves no timer change of the step to apply.
        let digest = match armed {
            Some(armed) => {
                report.undone |= self.crash_in_step(node, &armed);
                self.digest(node)
            }
            None => self.finish_step(node, &effects.timers),
        };
        self.effects_pool.put_back(effects);
        self.note(TraceEvent::StepEnd, u64::from(node.0), digest.short());
    }

    fn send(&mut self, from: NodeId, message: Outgoing) {
        let Outgoing { to, bytes, kind, mut housekeeping } = message;
        housekeeping |= self.is_excluded(to);
        let Some(slot) = self.nodes.get_mut(from.index()) else {
            unreachable!("only nodes that were added send frames")
        };
        housekeeping |= slot.excluded;
        let life = slot.crashes;
        slot.traffic.sent += 1;
        slot.traffic.bytes_sent += bytes.len() as u64;
        let frame = Envelope { from, to, kind, bytes: bytes.len() };
        let arrivals = if self.log.is_none() {
            self.router.route(self.clock.now(), frame, &mut self.choices)
        } else {
            self.route_recorded(frame, housekeeping)
        };
        let mut copies = 0;
        arrivals.deliver_copies(bytes, |copy, bytes| {
            self.last_arrival = self.last_arrival.max(copy.at);
            self.pending_work.frames += u64::from(!housekeeping);
            let corrupt = copy.flipped.is_some();
            let delivery = Delivery { from, to, kind, housekeeping, bytes, corrupt, life };
            let event = match arrivals.position {
                None => SimEvent::DeliverMessage(delivery),
                Some(position) => SimEvent::DeliverInTurn(Box::new((position, delivery))),
            };
            let number = self.queue.schedule(copy.at, event);
            if let Some(log) = &mut self.log {
                log.copy_in_flight(number, copies);
            }
            copies += 1;
        });
    }

    fn route_recorded(&mut self, frame: Envelope, housekeeping: bool) -> Arrivals {
        let before = self.router.fates().clone();
        let arrivals = self.router.route(self.clock.now(), frame, &mut self.choices);
        self.record_frame(frame, housekeeping, &arrivals, &before);
        arrivals
    }

    /// Ends a step: changes the node's timers and updates its accounting. Returns its digest.
    fn finish_step(&mut self, node: NodeId, changes: &[TimerChange]) -> Digest {
        let now = self.clock.now();
        let chaos_until = self.chaos_until;
        // The actor's step cannot remove its node.
        let slot = &mut self.nodes[node.index()];
        let before = slot.pending_bits();
        for &change in changes {
            let (id, at, housekeeping) = match change {
                TimerChange::Set { id, at, housekeeping } => (id, at, housekeeping),
                TimerChange::Cancel { id } => {
                    slot.timers.cancel(id);
                    continue;
                }
            };
            // Numbers are never reused: the event of a timer that a crash removed fires no later timer.
            self.settings += 1;
            let setting = self.settings;
            slot.timers.set(id, setting, housekeeping);
            let at = match &mut self.hosts {
                Some(hosts) => hosts.skewed_time(node, at, now, chaos_until),
                None => at,
            };
            let event = SimEvent::TimerFired { node, timer: id, setting };
            let number = self.queue.schedule(at.max(now), event);
            if let Some(log) = &mut self.log {
                log.scheduled(number);
            }
        }
        refresh_accounting(slot, before, now, &mut self.progress, &mut self.pending_work);
        slot.digest
    }
}

/// Reads a node's digest and unfinished work after a change, and updates the counters. `before` are its bits
/// before the change: the counters still hold those.
fn refresh_accounting<A: Actor>(
    slot: &mut NodeSlot<A>,
    before: PendingBits,
    now: SimTime,
    progress: &mut ProgressCount,
    pending_work: &mut PendingWork,
) {
    slot.unfinished = slot.actor.unfinished();
    let digest = slot.actor.digest();
    if digest != slot.digest {
        let known = std::mem::replace(&mut slot.digest, digest);
        debug_assert!(
            slot.history.last().is_none_or(|(at, _)| *at <= now),
            "the digests of a node are recorded in the order of time"
        );
        slot.history.push((now, digest));
        if slot.counts() {
            progress.changes += 1;
            pending_work.count_digest(known, false);
            pending_work.count_digest(digest, true);
        }
    }
    if slot.counts() {
        pending_work.shift(before, slot.pending_bits());
    }
}

/// Removes from the effects of a step those that a crash in the step prevents. Returns whether the step's
/// writes are lost.
fn discard_after_crash<N>(effects: &mut Effects<N>, crash: CrashPoint) -> bool {
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
