//! Nodes that leave and come back, nodes that join late, and nodes that never return.
//!
//! A node that is away is up: its memory and its timers stay, its application writes. But it has no
//! link, and both it and those that it had links to are told.

use crate::actor::{Actor, Input};
use crate::event::SimEvent;
use crate::node_id::NodeId;
use crate::world::event_log::Happened;
use crate::world::{Stepped, World};
use syncline_types::{SimDuration, SimTime};

/// How often nodes came and went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Churn {
    /// Nodes that left.
    pub departures: u64,
    /// Nodes that came back from where they were.
    pub returns: u64,
    /// Nodes that joined after the run had begun.
    pub late_joins: u64,
    /// When the last of them did.
    pub last_join: SimTime,
    /// The longest time for which one was told to stay away.
    pub longest_away: SimDuration,
}

impl<A: Actor> World<A> {
    /// Adds an actor that comes up at `at`. All know from now on that it takes part; until then it has
    /// no link and nothing happens to it.
    pub fn add_late(&mut self, actor: A, at: SimTime) -> NodeId {
        let node = self.push(actor, true);
        self.keep_at(at.into(), || Happened::Join { node });
        self.router.leave(node);
        self.schedule(at, SimEvent::NodeJoin { node });
        node
    }

    /// How often nodes came and went.
    pub const fn churn(&self) -> Churn {
        self.churn
    }

    pub(super) fn on_join(&mut self, node: NodeId) -> Stepped<A::Notice> {
        self.note(12, u64::from(node.0), 0);
        if !self.slot(node).is_some_and(|slot| slot.late && !slot.retired) {
            return Stepped::at(Some(node));
        }
        self.retally(node, |slot| (slot.late, slot.up, slot.started) = (false, true, true));
        self.router.enter(node);
        self.churn.late_joins += 1;
        self.churn.last_join = self.clock.now();
        self.tell_neighbours(node);
        self.expose(node);
        let mut stepped = self.tell(node, &self.members());
        let started = self.feed(node, Input::Start);
        stepped.notices.extend(started.notices);
        stepped
    }

    pub(super) fn on_leave(
        &mut self,
        node: NodeId,
        away_for: Option<SimDuration>,
        by_chance: bool,
    ) -> Stepped<A::Notice> {
        self.note(10, u64::from(node.0), 0);
        let Some(slot) = self.slot(node).filter(|slot| !slot.late && !slot.retired) else {
            return Stepped::at(Some(node));
        };
        let was_away = slot.away;
        if was_away && by_chance {
            return Stepped::at(Some(node));
        }
        if !was_away {
            self.retally(node, |slot| slot.away = true);
            self.router.leave(node);
            self.churn.departures += 1;
        }
        // One that is away stays away for as long as it is told now, whatever it was told before.
        self.schedule_return(node, away_for);
        if was_away {
            return Stepped::at(Some(node));
        }
        self.tell_neighbours(node);
        self.tell(node, &self.members())
    }

    /// Takes a node down for good. What it alone has is lost with it.
    pub(super) fn on_retire(&mut self, node: NodeId) -> Stepped<A::Notice> {
        self.note(14, u64::from(node.0), 0);
        if self.slot(node).is_none_or(|slot| slot.retired) {
            return Stepped::at(Some(node));
        }
        let was_up = self.is_up(node);
        self.take_down(node, None);
        self.router.leave(node);
        if let Some(slot) = self.nodes.get_mut(node.index()) {
            let counted = slot.counts();
            slot.retired = true;
            if counted {
                self.tally.count(slot.standing(), false);
                self.tally.count_digest(slot.digest, false);
            }
        }
        for other in self.members().iter().copied() {
            self.schedule(self.clock.now(), SimEvent::ReachChanged { node: other });
        }
        Stepped { crashed: was_up, ..Stepped::at(Some(node)) }
    }

    fn schedule_return(&mut self, node: NodeId, away_for: Option<SimDuration>) {
        let Some(slot) = self.slot_mut(node) else { return };
        slot.departures += 1;
        let departure = Some(slot.departures);
        if let Some(away_for) = away_for {
            self.churn.longest_away = self.churn.longest_away.max(away_for);
            self.schedule(self.clock.now() + away_for, SimEvent::NodeReturn { node, departure });
        }
    }

    pub(super) fn on_return(&mut self, node: NodeId, departure: Option<u64>) -> Stepped<A::Notice> {
        self.note(11, u64::from(node.0), 0);
        let due = self.slot(node).is_some_and(|slot| {
            slot.away && !slot.retired && departure.is_none_or(|departure| departure == slot.departures)
        });
        if !due {
            return Stepped::at(Some(node));
        }
        self.retally(node, |slot| slot.away = false);
        self.router.enter(node);
        self.churn.returns += 1;
        self.tell_neighbours(node);
        self.tell(node, &self.members())
    }

    /// Sees to it that those beside a node hear at once whom they can reach now.
    fn tell_neighbours(&mut self, node: NodeId) {
        let nodes = self.len();
        let topology = self.router.topology();
        for other in (0..nodes as u32).map(NodeId).filter(|other| *other != node) {
            if topology.links(node, other, nodes) {
                self.schedule(self.clock.now(), SimEvent::ReachChanged { node: other });
            }
        }
    }

    pub(super) fn on_reach_changed(&mut self, node: NodeId) -> Stepped<A::Notice> {
        self.note(13, u64::from(node.0), 0);
        self.tell(node, &self.members())
    }
}
