//! Feeds the liveness monitor with the events of a run and reports what it finds.

use crate::liveness::{SessionEnding, Storm};
use crate::node::{ContextNotice, SimNode};
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
    /// Passes the result of an event to the liveness monitor. O(1), except that records are counted when the
    /// number of root changes reaches a power of two.
    pub(super) fn observe_progress(&mut self, stepped: &StepReport<ContextNotice>) {
        let now = self.world.now();
        let moves = self.world.progress();
        let replicas = self.honest_replicas();
        // A page of a snapshot is staged without a change of the digest, and is progress nevertheless.
        let page = stepped.accepted && stepped.frame.is_some_and(|(_, kind)| kind == SNAPSHOT);
        let has_progressed = moves != self.monitor.moves() || page;
        self.watch_traffic(has_progressed);
        if has_progressed {
            self.monitor.on_move(moves, now, self.world.last_arrival());
            let changes = self.monitor.changes();
            // Powers of two keep the cost of counting records amortized O(1) for each change.
            if changes >= 1_024 && changes.is_power_of_two() {
                let storm = self.monitor.changes_without_end(now, replicas, self.records());
                self.on_storm(storm);
            }
        }
        // An `Arc`: the loop below reports violations while it asks for roles.
        let roles = self.hostility.roles.clone();
        if let (Some(node), Some((from, kind))) = (stepped.node, stepped.frame)
            && !roles.is_hostile(node)
            && !roles.is_hostile(from)
        {
            self.observe_frame(node, from, kind, stepped.accepted);
        }
        for ContextNotice { context, notice } in &stepped.notices {
            let Some(node) = stepped.node.filter(|node| !roles.is_hostile(*node)) else { continue };
            match notice {
                Notice::SessionStarted { peer } | Notice::SessionEnded { peer, .. }
                    if roles.is_hostile((*peer).into()) => {}
                Notice::SessionStarted { .. } => {
                    let storm = self.monitor.on_start(now, replicas);
                    self.on_storm(storm);
                }
                // A crash within the step may have lost the root from disk after the session had reported it.
                Notice::SessionEnded { peer, started_at, outcome, .. } if !stepped.undone => {
                    let sides = (node, (*peer).into());
                    self.observe_session_end(*context, sides, *started_at, outcome, &stepped.notices);
                }
                _ => {}
            }
        }
        self.monitor.on_over(self.world.pending_work().is_quiet());
    }

    fn observe_frame(&mut self, node: NodeId, from: NodeId, kind: u8, accepted: bool) {
        let now = self.world.now();
        if kind == HEARTBEAT {
            let context = usize::from(self.world.actor(node).map_or(0, Actor::lane));
            // Only calm time counts: otherwise a fault or a frame in flight may explain that the node
            // does nothing.
            if accepted && self.is_calm(now) && self.root_in(context, node) != self.root_in(context, from) {
                self.monitor.on_difference();
            }
        } else if CHATTER.contains(&kind) {
            let storm = self.monitor.on_chatter(now, self.honest_replicas());
            self.on_storm(storm);
        }
    }

    fn observe_session_end(
        &mut self,
        lane: u8,
        (node, peer): (NodeId, NodeId),
        started_at: SimTime,
        outcome: &Outcome,
        notices: &[ContextNotice],
    ) {
        let context = usize::from(lane);
        if let Outcome::Converged { root } = outcome {
            let own = self.root_in(context, node);
            // The same step may have applied more after the session ended, which changed the root again.
            let moved_on = |noticed: &ContextNotice| {
                let moves = matches!(
                    noticed.notice,
                    Notice::DeltaApplied { .. } | Notice::TombstonesCollected { .. }
                );
                moves && noticed.context == lane
            };
            if *root != own && !notices.iter().any(moved_on) {
                let node = self.name_in(context, node);
                let peer = self.name(peer);
                self.violate(Check::UnprovenSuccess { node, peer });
            }
            // Equal roots are success.
            if own == self.root_in(context, peer) {
                return;
            }
        }
        // Endings that are no livelock, and endings that faults or writes still explain, say nothing.
        let Some(ending) = SessionEnding::of(outcome).filter(|_| self.is_calm(self.world.now())) else {
            return;
        };
        if let Some(times) = self.monitor.on_end(lane, (node, peer), started_at, ending) {
            let node = self.name_in(context, node);
            let peer = self.name(peer);
            self.violate(Check::StickyLoop { node, peer, ending, times });
        }
    }

    /// Reports a storm as a violation.
    fn on_storm(&mut self, storm: Option<Storm>) {
        if let Some(Storm { of, count, span }) = storm {
            self.violate(Check::Storm { of, count, span });
        }
    }

    /// Whether only the nodes themselves keep the run from converging: all are up and linked, no write is to
    /// come, and all frames that were in flight at the last progress have arrived.
    fn is_calm(&self, now: SimTime) -> bool {
        let tally = self.world.pending_work();
        tally.down == 0
            && tally.away == 0
            && tally.ops == 0
            && !self.has_pending_script()
            && self.monitor.is_settled(now)
            && !self.world.router().partitions().any_up(now)
    }

    /// Whether no node has work to do although all have received heartbeats with a different root.
    pub(super) fn is_stuck(&self) -> bool {
        self.monitor.is_idle(self.honest_replicas())
    }

    /// The number of honest replicas: one for each context on each honest node.
    fn honest_replicas(&self) -> u64 {
        let hostile = self.hostility.roles.hostile().count();
        assert!(hostile <= self.world.len(), "every hostile node is a node of the run");
        ((self.world.len() - hostile) * self.contexts()) as u64
    }

    /// The number of records in all states together. O(nodes).
    fn records(&self) -> u64 {
        let replicas = self.world.actors().flat_map(|(_, actor)| SimNode::replicas(actor));
        replicas.map(LocalSyncState::entity_count).sum()
    }
}
