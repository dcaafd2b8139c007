//! What the watch over a run's progress is told, and what it has to say.

use super::SimRuntime;
use super::outcome::Check;
use crate::engine::Stepped;
use crate::types::NodeId;
use crate::watch::{Storm, ending};
use syncline_replica::{FrameKind, Notice};
use syncline_sync::Outcome;
use syncline_types::SimTime;

const HEARTBEAT: u8 = FrameKind::Heartbeat as u8;
const SNAPSHOT: u8 = FrameKind::Snapshot as u8;
const CHATTER: [u8; 3] = [FrameKind::Delta as u8, FrameKind::DeltaFetch as u8, FrameKind::Handshake as u8];

impl SimRuntime {
    /// Tells the watch what an event did. O(1) but for the rare question how many records there are.
    pub(super) fn attend(&mut self, stepped: &Stepped<Notice>) {
        let now = self.world.clock.now();
        let moves = self.world.moves();
        let nodes = self.honest_nodes();
        let page = stepped.accepted && stepped.frame.is_some_and(|(_, kind)| kind == SNAPSHOT);
        if moves != self.watch.moves() || page {
            self.watch.on_move(moves, now, self.world.last_arrival());
            let changes = self.watch.changes();
            if changes >= 1_024 && changes.is_power_of_two() {
                let storm = self.watch.changes_without_end(now, nodes, self.records());
                self.on_storm(storm);
            }
        }
        let cast = self.hostility.cast.clone();
        if let (Some(node), Some((from, kind))) = (stepped.node, stepped.frame)
            && !cast.is_hostile(node)
            && !cast.is_hostile(from)
        {
            self.attend_frame(node, from, kind, stepped.accepted);
        }
        for notice in &stepped.notices {
            let Some(node) = stepped.node.filter(|node| !cast.is_hostile(*node)) else { continue };
            match notice {
                Notice::SessionStarted { peer } | Notice::SessionEnded { peer, .. }
                    if cast.is_hostile((*peer).into()) => {}
                Notice::SessionStarted { .. } => {
                    let storm = self.watch.on_start(now, nodes);
                    self.on_storm(storm);
                }
                // The root that a disk loses in a crash within the step was there when it was reported.
                Notice::SessionEnded { peer, started_at, outcome, .. } if !stepped.undone => {
                    self.attend_end(node, (*peer).into(), *started_at, outcome, &stepped.notices);
                }
                _ => {}
            }
        }
        self.watch.on_over(self.world.tally().is_quiet());
    }

    fn attend_frame(&mut self, node: NodeId, from: NodeId, kind: u8, accepted: bool) {
        let now = self.world.clock.now();
        if kind == HEARTBEAT {
            if accepted && self.is_calm(now) && self.world.digest(node) != self.world.digest(from) {
                self.watch.on_difference();
            }
        } else if CHATTER.contains(&kind) {
            let storm = self.watch.on_chatter(now, self.honest_nodes());
            self.on_storm(storm);
        }
    }

    fn attend_end(
        &mut self,
        node: NodeId,
        peer: NodeId,
        started_at: SimTime,
        outcome: &Outcome,
        notices: &[Notice],
    ) {
        if let Outcome::Converged { root } = outcome {
            // What the same step took in after the session may have moved the root on.
            let moved_on =
                |notice: &Notice| matches!(notice, Notice::DeltaApplied { .. } | Notice::Forgot { .. });
            if *root != self.world.digest(node) && !notices.iter().any(moved_on) {
                self.violate(Check::UnprovenSuccess { node: self.name(node), peer: self.name(peer) });
            }
            if self.world.digest(node) == self.world.digest(peer) {
                return;
            }
        }
        let Some(ending) = ending(outcome).filter(|_| self.is_calm(self.world.clock.now())) else { return };
        if let Some(times) = self.watch.on_end((node, peer), started_at, ending) {
            let (node, peer) = (self.name(node), self.name(peer));
            self.violate(Check::StickyLoop { node, peer, ending, times });
        }
    }

    fn on_storm(&mut self, storm: Option<Storm>) {
        if let Some(Storm { of, count, span }) = storm {
            self.violate(Check::Storm { of, count, span });
        }
    }

    /// Whether nothing but the nodes themselves keeps them from agreeing: all are up and linked, no write
    /// is to come, and what was on its way when the run last moved has arrived.
    fn is_calm(&self, now: SimTime) -> bool {
        let tally = self.world.tally();
        tally.down == 0
            && tally.away == 0
            && tally.ops == 0
            && !self.is_told_more()
            && self.watch.is_settled(now)
            && !self.world.router.partitions.any_up(now)
    }

    /// Whether nobody has anything to do, all have heard that they differ, and none has acted on it.
    pub(super) fn is_idle_and_apart(&self) -> bool {
        self.watch.is_idle(self.honest_nodes())
    }

    fn honest_nodes(&self) -> u64 {
        (self.world.len() - self.hostility.cast.hostile().count()) as u64
    }

    /// Records in all states together.
    fn records(&self) -> u64 {
        let of = |actor: &crate::node::SimNode| {
            let stats = actor.state().and_then(|mut state| state.stats());
            stats.map_or(0, |stats| stats.records)
        };
        self.world.actors().map(|(_, actor)| of(actor)).sum()
    }
}
