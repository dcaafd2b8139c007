//! Outgoing and incoming heartbeats, and changes of the reachable peers.

use super::{Replica, StepContext};
use crate::event::Timer;
use crate::sessions::SessionTable;
use crate::sync_queue::PendingReason;
use std::sync::Arc;
use syncline_store::ReadView;
use syncline_sync::{Gossip, Message};
use syncline_types::{Choice, Digest, HlcClock, PeerId, SimDuration};

/// How long a difference may take to disappear by itself, as it does if the write that caused it is still in
/// flight.
pub(super) const SETTLE: SimDuration = SimDuration::from_millis(20);

impl<V: ReadView> Replica<V> {
    pub(super) fn on_start(&mut self, step: &mut StepContext<'_, V>) {
        let at = self.anti_entropy.first(step.now(), step.entropy);
        step.set_timer(Timer::Heartbeat, at);
        // Two lives of one id would otherwise give equal stamps to different writes, and one of these would vanish.
        self.clock.set_phase(step.entropy.below(Choice::ClockPhase, HlcClock::PHASES) as u16);
        // Nor may a response to an earlier life's session be taken for one to a session of this life.
        self.sessions.set_offset(step.entropy.below(Choice::SessionOffset, SessionTable::OFFSETS) as u32);
        if self.is_recovering() {
            step.set_timer(Timer::Recovery, at);
        }
        if self.is_collecting() {
            step.set_timer(Timer::Collection, at);
        }
    }

    pub(super) fn on_peers(&mut self, peers: Arc<[PeerId]>, step: &mut StepContext<'_, V>) {
        if self.peers.set_reachable(peers) {
            // A new peer should learn the root soon, and not only after a long pause.
            self.on_change(step);
        }
        // A sync with an unreachable peer would occupy a session slot until its timeout.
        self.sync_queue.keep_reachable(|peer| self.peers.is_reachable(peer));
        self.claims.keep_reachable(|peer| self.peers.is_reachable(peer));
        self.delta_fetch.keep_reachable(|peer| self.peers.is_reachable(peer));
        self.update_sync_timer(step);
        if !self.delta_fetch.is_empty() {
            // There may be another peer that has the missing deltas.
            self.delta_fetch.restart_attempts();
            let now = step.now();
            step.set_timer(Timer::Fetch, now);
        }
    }

    /// Handles a change of the root or of the reachable peers: the next heartbeat is sent soon.
    pub(super) fn on_change(&mut self, step: &mut StepContext<'_, V>) {
        if let Some(at) = self.anti_entropy.on_change(step.now(), step.entropy) {
            step.set_timer(Timer::Heartbeat, at);
        }
    }

    pub(super) fn on_heartbeat_due(&mut self, step: &mut StepContext<'_, V>) {
        self.heeds_stale_answer = true;
        let peers = self.peers.pick(self.config.heartbeat_fanout, None, step.entropy);
        let root = self.root;
        let replica = self.config.replica;
        let clock = self.announced_clock();
        let seq = step.work.log.covered().of(replica);
        let wall_ms = step.wall_ms;
        let heartbeat = Gossip::Heartbeat { root, replica, seq, clock, wall_ms };
        self.broadcast(&peers, Message::Gossip(heartbeat), step);
        // Drawn after the peers, because the order of draws is part of the trace.
        let at = self.anti_entropy.after_heartbeat(step.now(), step.entropy);
        step.set_timer(Timer::Heartbeat, at);
    }

    /// Handles the announced root of a peer.
    pub(super) fn on_heartbeat(&mut self, from: PeerId, root: Digest, step: &mut StepContext<'_, V>) {
        self.peers.record(from).set_root(root);
        if root != self.root {
            // A session repairs the difference, if it can be repaired. The heartbeats keep their pace: a peer that
            // always announces another root would drive them for ever.
            self.enqueue_sync(from, PendingReason::RootDiffers, SETTLE, step);
        } else if self.sync_queue.resolve(from) {
            // The difference has disappeared by itself.
            self.update_sync_timer(step);
        }
        if root == self.root {
            self.meet(from, step);
        }
    }
}
