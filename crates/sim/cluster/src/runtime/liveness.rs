//! What the watch over a run's progress is told, and what it has to say.

use crate::liveness::{Storm, ending};
use crate::node::{Noticed, SimNode};
use crate::runtime::SimRuntime;
use crate::verdict::Check;
use sync_sim_engine::actor::Actor;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::StepReport;
use syncline_replica::{FrameKind, Notice};
use syncline_sync::{LocalSyncState, Outcome};
use syncline_types::SimTime;

const HEARTBEAT: u8 = FrameKind::Heartbeat as u8;
const SNAPSHOT: u8 = FrameKind::Snapshot as u8;
const CHATTER: [u8; 3] = [FrameKind::Delta as u8, FrameKind::DeltaFetch as u8, FrameKind::Handshake as u8];

impl SimRuntime {
    /// Tells the watch what an event did. O(1) but for the rare question how many records there are.
    pub(super) fn attend(&mut self, stepped: &StepReport<Noticed>) {
        let now = self.world.now();
        let moves = self.world.progress();
        let replicas = self.honest_replicas();
        let page = stepped.accepted && stepped.frame.is_some_and(|(_, kind)| kind == SNAPSHOT);
        if moves != self.watch.moves() || page {
            self.watch.on_move(moves, now, self.world.last_arrival());
            let changes = self.watch.changes();
            if changes >= 1_024 && changes.is_power_of_two() {
                let storm = self.watch.changes_without_end(now, replicas, self.records());
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
        for Noticed { context, notice } in &stepped.notices {
            let Some(node) = stepped.node.filter(|node| !cast.is_hostile(*node)) else { continue };
            match notice {
                Notice::SessionStarted { peer } | Notice::SessionEnded { peer, .. }
                    if cast.is_hostile((*peer).into()) => {}
                Notice::SessionStarted { .. } => {
                    let storm = self.watch.on_start(now, replicas);
                    self.on_storm(storm);
                }
                // The root that a disk loses in a crash within the step was there when it was reported.
                Notice::SessionEnded { peer, started_at, outcome, .. } if !stepped.undone => {
                    let sides = (node, (*peer).into());
                    self.attend_end(*context, sides, *started_at, outcome, &stepped.notices);
                }
                _ => {}
            }
        }
        self.watch.on_over(self.world.pending_work().is_quiet());
    }

    fn attend_frame(&mut self, node: NodeId, from: NodeId, kind: u8, accepted: bool) {
        let now = self.world.now();
        if kind == HEARTBEAT {
            let context = usize::from(self.world.actor(node).map_or(0, Actor::lane));
            if accepted && self.is_calm(now) && self.root_in(context, node) != self.root_in(context, from) {
                self.watch.on_difference();
            }
        } else if CHATTER.contains(&kind) {
            let storm = self.watch.on_chatter(now, self.honest_replicas());
            self.on_storm(storm);
        }
    }

    fn attend_end(
        &mut self,
        lane: u8,
        (node, peer): (NodeId, NodeId),
        started_at: SimTime,
        outcome: &Outcome,
        notices: &[Noticed],
    ) {
        let context = usize::from(lane);
        if let Outcome::Converged { root } = outcome {
            let own = self.root_in(context, node);
            // What the same step took in after the session may have moved the root on.
            let moved_on = |noticed: &Noticed| {
                let moves = matches!(
                    noticed.notice,
                    Notice::DeltaApplied { .. } | Notice::TombstonesCollected { .. }
                );
                moves && noticed.context == lane
            };
            if *root != own && !notices.iter().any(moved_on) {
                let (node, peer) = (self.name_in(context, node), self.name(peer));
                self.violate(Check::UnprovenSuccess { node, peer });
            }
            if own == self.root_in(context, peer) {
                return;
            }
        }
        let Some(ending) = ending(outcome).filter(|_| self.is_calm(self.world.now())) else { return };
        if let Some(times) = self.watch.on_end(lane, (node, peer), started_at, ending) {
            let (node, peer) = (self.name_in(context, node), self.name(peer));
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
        let tally = self.world.pending_work();
        tally.down == 0
            && tally.away == 0
            && tally.ops == 0
            && !self.has_pending_script()
            && self.watch.is_settled(now)
            && !self.world.router().partitions().any_up(now)
    }

    /// Whether nobody has anything to do, all have heard that they differ, and none has acted on it.
    pub(super) fn is_idle_and_apart(&self) -> bool {
        self.watch.is_idle(self.honest_replicas())
    }

    /// One of each context on each honest node.
    fn honest_replicas(&self) -> u64 {
        ((self.world.len() - self.hostility.cast.hostile().count()) * self.contexts()) as u64
    }

    /// Records in all states together.
    fn records(&self) -> u64 {
        let replicas = self.world.actors().flat_map(|(_, actor)| SimNode::replicas(actor));
        replicas.map(LocalSyncState::entity_count).sum()
    }
}
