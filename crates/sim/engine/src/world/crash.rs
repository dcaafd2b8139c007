//! Nodes that go down and come back.

use crate::actor::{Actor, Input};
use crate::event::{CrashPoint, SimEvent};
use crate::node_id::NodeId;
use crate::world::event_log::Happened;
use crate::world::node_slot::{Armed, Slot};
use crate::world::{Stepped, World};
use syncline_types::SimDuration;

impl<A: Actor> World<A> {
    pub(super) fn on_crash(
        &mut self,
        node: NodeId,
        point: CrashPoint,
        down_for: Option<SimDuration>,
        by_chance: bool,
    ) -> Stepped<A::Notice> {
        self.note(3, u64::from(node.0), point as u64);
        // One that waits for the node's next step is kept when it comes to that. Where power fails by chance in
        // the middle of a commit, the case says so by its faults.
        let is_kept = (by_chance && point != CrashPoint::MidCommit) || self.is_told();
        let takes_part = |slot: &&mut Slot<A>| !slot.late && !slot.retired;
        let Some(slot) = self.slot_mut(node).filter(takes_part) else { return Stepped::at(None) };
        let is_up = slot.up;
        if is_up && point != CrashPoint::Now {
            slot.armed.get_or_insert(Armed { point, down_for, by_chance, is_kept });
            return Stepped::at(Some(node));
        }
        if is_kept && (is_up || !by_chance) {
            self.keep(|| Happened::Crash { node, point, down_for });
        }
        if !is_up {
            if !by_chance {
                // It stays down for as long as it is told now, whatever it was told before.
                self.schedule_restart(node, down_for);
            }
            return Stepped::at(Some(node));
        }
        self.chance_crashes += u64::from(by_chance);
        self.take_down(node, down_for);
        Stepped { crashed: true, ..Stepped::at(Some(node)) }
    }

    /// A crash by chance that waits for a node's next step will not strike.
    pub(super) fn disarm_chance(&mut self, node: NodeId) {
        if let Some(slot) = self.slot_mut(node) {
            slot.armed.take_if(|armed| armed.by_chance);
        }
    }

    pub(super) fn take_down(&mut self, node: NodeId, down_for: Option<SimDuration>) {
        self.router.break_connections(node);
        self.spill(node);
        self.retally(node, |slot| {
            slot.actor.crash();
            slot.up = false;
            slot.armed = None;
            slot.timers.clear();
            slot.lives_heard.clear();
        });
        self.schedule_restart(node, down_for);
    }

    fn schedule_restart(&mut self, node: NodeId, down_for: Option<SimDuration>) {
        let Some(slot) = self.nodes.get_mut(node.index()) else { return };
        slot.crashes += 1;
        let crash = Some(slot.crashes);
        if let Some(down_for) = down_for {
            self.schedule(self.clock.now() + down_for, SimEvent::NodeRestart { node, crash });
        }
    }

    pub(super) fn on_restart(&mut self, node: NodeId, crash: Option<u64>) -> Stepped<A::Notice> {
        self.note(4, u64::from(node.0), 0);
        let due = |slot: &Slot<A>| {
            !slot.up && !slot.late && !slot.retired && crash.is_none_or(|crash| crash == slot.crashes)
        };
        if !self.nodes.get(node.index()).is_some_and(due) {
            return Stepped::at(Some(node));
        }
        self.retally(node, |slot| {
            slot.actor.restart();
            slot.up = true;
        });
        let mut notices = self.tell(node, &self.members()).notices;
        let started = self.feed(node, Input::Start);
        notices.extend(started.notices);
        Stepped { notices, restarted: true, ..Stepped::at(Some(node)) }
    }

    /// A node goes down in the step that it has just done. Says whether that undoes what the step did.
    pub(super) fn crash_in_step(&mut self, node: NodeId, armed: &Armed) -> bool {
        let Armed { point, down_for, by_chance, is_kept } = *armed;
        self.chance_crashes += u64::from(by_chance && point != CrashPoint::MidCommit);
        if is_kept {
            self.keep(|| Happened::Crash { node, point, down_for });
        }
        let committed = !matches!(point, CrashPoint::BeforeCommit | CrashPoint::MidCommit);
        if self.hosts.is_none() || !committed {
            self.take_down(node, down_for);
            return false;
        }
        // What it has sent speaks of a state that the crash undoes if the disk has lied.
        self.retally(node, |_| {});
        let said = self.digest(node);
        self.take_down(node, down_for);
        self.digest(node) != said
    }
}
