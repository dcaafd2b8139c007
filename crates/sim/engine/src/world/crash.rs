//! Nodes that crash and restart.

use crate::actor::{Actor, Input};
use crate::event::{CrashPoint, SimEvent};
use crate::node_id::NodeId;
use crate::world::event_log::LoggedEvent;
use crate::world::node_slot::{ArmedCrash, NodeSlot};
use crate::world::trace_digest::TraceEvent;
use crate::world::{StepReport, World};
use syncline_types::SimDuration;

impl<A: Actor> World<A> {
    /// Takes a node down now, or arms a crash for its next step.
    pub(super) fn on_crash(
        &mut self,
        node: NodeId,
        point: CrashPoint,
        down_for: Option<SimDuration>,
        is_random: bool,
    ) -> StepReport<A::Notice> {
        self.note(TraceEvent::Crash, u64::from(node.0), point as u64);
        // A random power failure within a commit is not logged: a case replays it by its fault settings.
        let is_logged = (is_random && point != CrashPoint::MidCommit) || self.is_scripted();
        // Nothing happens to a node that has not joined, or is gone.
        let Some(slot) = self.slot_mut(node).filter(|slot| slot.takes_part()) else {
            return StepReport::at(None);
        };
        let is_up = slot.up;
        if is_up && point != CrashPoint::Now {
            // At most one crash is armed; the first one wins. It is logged when it happens.
            slot.armed.get_or_insert(ArmedCrash { point, down_for, is_random, is_logged });
            return StepReport::at(Some(node));
        }
        if is_logged && (is_up || !is_random) {
            self.log_event(|| LoggedEvent::Crash { node, point, down_for });
        }
        if !is_up {
            if !is_random {
                // The node stays down for as long as the latest crash says, whatever an earlier one said.
                self.schedule_restart(node, down_for);
            }
            return StepReport::at(Some(node));
        }
        self.random_crashes += u64::from(is_random);
        self.take_down(node, down_for);
        StepReport { crashed: true, ..StepReport::at(Some(node)) }
    }

    /// Disarms a random crash that waits for a node's next step.
    pub(super) fn disarm_random_crash(&mut self, node: NodeId) {
        if let Some(slot) = self.slot_mut(node) {
            slot.armed.take_if(|armed| armed.is_random);
        }
    }

    pub(super) fn take_down(&mut self, node: NodeId, down_for: Option<SimDuration>) {
        // Connections break first: a frame in the inbox then ends with its connection, as those in flight do.
        self.router.break_connections(node);
        self.drop_inbox(node);
        let now = self.clock.now();
        self.with_accounting(node, |slot| {
            slot.actor.crash();
            if slot.up {
                slot.went_down_at = now;
            }
            slot.up = false;
            slot.armed = None;
            slot.timers.clear();
            slot.lives_heard.clear();
        });
        self.schedule_restart(node, down_for);
    }

    fn schedule_restart(&mut self, node: NodeId, down_for: Option<SimDuration>) {
        let Some(slot) = self.nodes.get_mut(node.index()) else {
            unreachable!("only a node that was added goes down")
        };
        // Counts even if no restart follows: it makes the restart of an earlier crash obsolete.
        slot.crashes += 1;
        let crash = Some(slot.crashes);
        if let Some(down_for) = down_for {
            self.schedule(self.clock.now() + down_for, SimEvent::NodeRestart { node, crash });
        }
    }

    pub(super) fn on_restart(&mut self, node: NodeId, crash: Option<u64>) -> StepReport<A::Notice> {
        self.note(TraceEvent::Restart, u64::from(node.0), 0);
        // The restart of an earlier crash is obsolete: a later crash has decided how long the node is down.
        let is_due = |slot: &NodeSlot<A>| {
            !slot.up && slot.takes_part() && crash.is_none_or(|crash| crash == slot.crashes)
        };
        if !self.nodes.get(node.index()).is_some_and(is_due) {
            return StepReport::at(Some(node));
        }
        self.with_accounting(node, |slot| {
            slot.actor.restart();
            slot.up = true;
        });
        let mut report = self.announce_peers(node, &self.members());
        report.restarted = true;
        self.feed_into(node, Input::Start, &mut report);
        report
    }

    /// Crashes a node in the step that it has just done. Returns whether the crash undoes what the step did.
    pub(super) fn crash_in_step(&mut self, node: NodeId, armed: &ArmedCrash) -> bool {
        let ArmedCrash { point, down_for, is_random, is_logged } = *armed;
        assert!(point != CrashPoint::Now, "a crash between two steps is never armed");
        self.random_crashes += u64::from(is_random && point != CrashPoint::MidCommit);
        if is_logged {
            self.log_event(|| LoggedEvent::Crash { node, point, down_for });
        }
        let is_committed = !matches!(point, CrashPoint::BeforeCommit | CrashPoint::MidCommit);
        if self.hosts.is_none() || !is_committed {
            self.take_down(node, down_for);
            return false;
        }
        // The frames of the step describe the state after it. If the disk lied about the sync, the crash
        // reverts that state: compare the digests before and after.
        self.with_accounting(node, |_| {});
        let reported = self.digest(node);
        self.take_down(node, down_for);
        self.digest(node) != reported
    }
}
