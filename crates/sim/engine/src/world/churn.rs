//! Nodes that leave and return, nodes that join late, and nodes that retire.
//!
//! A node that is away is up: it keeps its memory and its timers, and its application writes. But it has no
//! link, and both the node and its neighbours learn that.

use crate::actor::{Actor, Input};
use crate::event::SimEvent;
use crate::node_id::NodeId;
use crate::world::event_log::LoggedEvent;
use crate::world::trace_digest::TraceEvent;
use crate::world::{StepReport, World};
use syncline_types::{SimDuration, SimTime};

/// How often nodes joined, left and returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Churn {
    /// How often a node left.
    pub departures: u64,
    /// How often a node returned.
    pub returns: u64,
    /// Nodes that joined after the run had begun.
    pub late_joins: u64,
    /// When the last node joined late.
    pub last_join: SimTime,
    /// The longest time for which a node was scheduled to be away.
    pub longest_away: SimDuration,
}

impl<A: Actor> World<A> {
    /// Adds an actor that comes up at `at`. It is a member from now on. Until `at` it has no link and nothing
    /// happens to it.
    pub fn add_late(&mut self, actor: A, at: SimTime) -> NodeId {
        let node = self.push(actor, true);
        self.log_event_at(at.into(), || LoggedEvent::Join { node });
        self.router.leave(node);
        self.schedule(at, SimEvent::NodeJoin { node });
        node
    }

    /// How often nodes joined, left and returned.
    pub const fn churn(&self) -> Churn {
        self.churn
    }

    pub(super) fn on_join(&mut self, node: NodeId) -> StepReport<A::Notice> {
        self.note(TraceEvent::Join, u64::from(node.0), 0);
        if !self.slot(node).is_some_and(|slot| slot.late && !slot.retired) {
            return StepReport::at(Some(node));
        }
        self.with_accounting(node, |slot| {
            slot.late = false;
            slot.up = true;
            slot.started = true;
        });
        self.router.enter(node);
        self.churn.late_joins += 1;
        self.churn.last_join = self.clock.now();
        self.announce_to_neighbours(node);
        self.schedule_random_faults(node);
        let mut report = self.announce_peers(node, &self.members());
        self.feed_into(node, Input::Start, &mut report);
        report
    }

    pub(super) fn on_leave(
        &mut self,
        node: NodeId,
        away_for: Option<SimDuration>,
        is_random: bool,
    ) -> StepReport<A::Notice> {
        self.note(TraceEvent::Leave, u64::from(node.0), 0);
        let Some(slot) = self.slot(node).filter(|slot| slot.takes_part()) else {
            // Nothing happens to a node that has not joined, or is gone.
            return StepReport::at(Some(node));
        };
        let was_away = slot.away;
        if was_away && is_random {
            return StepReport::at(Some(node));
        }
        if !was_away {
            let now = self.clock.now();
            self.with_accounting(node, |slot| {
                slot.away = true;
                slot.left_at = now;
            });
            self.router.leave(node);
            self.churn.departures += 1;
        }
        // A node stays away for as long as the latest departure says, whatever an earlier one said.
        self.schedule_return(node, away_for);
        if was_away {
            return StepReport::at(Some(node));
        }
        self.announce_to_neighbours(node);
        self.announce_peers(node, &self.members())
    }

    /// Takes a node down for the rest of the run. State that no other node has is lost.
    pub(super) fn on_retire(&mut self, node: NodeId) -> StepReport<A::Notice> {
        self.note(TraceEvent::Retire, u64::from(node.0), 0);
        if self.slot(node).is_none_or(|slot| slot.retired) {
            return StepReport::at(Some(node));
        }
        let was_up = self.is_up(node);
        self.take_down(node, None);
        self.router.leave(node);
        // After this the node is in no counter: `with_accounting` ignores retired nodes.
        let slot = &mut self.nodes[node.index()];
        if slot.counts() {
            self.pending_work.count(slot.pending_bits(), false);
            self.pending_work.count_digest(slot.digest, false);
        }
        slot.retired = true;
        // The list of members has changed, so that every node must learn of it, and not the neighbours alone.
        for other in self.members().iter().copied() {
            self.schedule(self.clock.now(), SimEvent::ReachChanged { node: other });
        }
        StepReport { crashed: was_up, ..StepReport::at(Some(node)) }
    }

    fn schedule_return(&mut self, node: NodeId, away_for: Option<SimDuration>) {
        let Some(slot) = self.slot_mut(node) else { unreachable!("only a node that was added leaves") };
        slot.departures += 1;
        let departure = Some(slot.departures);
        if let Some(away_for) = away_for {
            self.churn.longest_away = self.churn.longest_away.max(away_for);
            self.schedule(self.clock.now() + away_for, SimEvent::NodeReturn { node, departure });
        }
    }

    pub(super) fn on_return(&mut self, node: NodeId, departure: Option<u64>) -> StepReport<A::Notice> {
        self.note(TraceEvent::Return, u64::from(node.0), 0);
        // The return of an earlier departure is obsolete: a later one has decided how long the node is away.
        let is_due = self.slot(node).is_some_and(|slot| {
            slot.away && !slot.retired && departure.is_none_or(|departure| departure == slot.departures)
        });
        if !is_due {
            return StepReport::at(Some(node));
        }
        self.with_accounting(node, |slot| slot.away = false);
        self.router.enter(node);
        self.churn.returns += 1;
        self.announce_to_neighbours(node);
        self.announce_peers(node, &self.members())
    }

    /// Has the neighbours of a node learn at once which nodes they can reach.
    fn announce_to_neighbours(&mut self, node: NodeId) {
        let nodes = self.len();
        let topology = self.router.topology();
        for other in (0..nodes as u32).map(NodeId).filter(|other| *other != node) {
            if topology.links(node, other, nodes) {
                self.schedule(self.clock.now(), SimEvent::ReachChanged { node: other });
            }
        }
    }

    pub(super) fn on_reach_changed(&mut self, node: NodeId) -> StepReport<A::Notice> {
        self.note(TraceEvent::ReachChanged, u64::from(node.0), 0);
        self.announce_peers(node, &self.members())
    }
}
