//! Anti-entropy: who hears our root, and when.
//!
//! The pause between heartbeats follows Trickle (RFC 6206): short after a change, doubling while
//! everyone agrees, so that a quiet network costs next to nothing.

use crate::event::Timer;
use crate::peer::within;
use crate::replica::{Replica, Step};
use std::sync::Arc;
use syncline_store::ReadView;
use syncline_sync::{Gossip, Message};
use syncline_types::{Choice, Digest, Entropy, PeerId, SimDuration};

impl<V: ReadView> Replica<V> {
    pub(crate) fn on_start(&mut self, step: &mut Step<'_, V>) {
        let at = within(step.now(), SimDuration::ZERO, self.config.heartbeat_min, step.entropy);
        step.set(Timer::Heartbeat, at);
    }

    pub(crate) fn on_peers(&mut self, peers: Arc<[PeerId]>, step: &mut Step<'_, V>) {
        let mut came = false;
        for peer in peers.iter().filter(|peer| !self.reachable.contains(peer)) {
            self.peers.entry(*peer).or_default().on_reachable();
            came = true;
        }
        self.reachable = peers;
        if came {
            // Who comes should hear how things stand, and not only after a long quiet pause.
            self.on_news(step);
        }
        let gone: Vec<PeerId> =
            self.owed.keys().filter(|peer| !self.reachable.contains(peer)).copied().collect();
        for peer in gone {
            self.owed.remove(&peer);
        }
        self.set_owed_timer(step);
        if !self.buffer.is_empty() {
            // There may be someone to ask again.
            self.fetches = 0;
            let now = step.now();
            step.set(Timer::Fetch, now);
        }
    }

    /// The root has changed, or others have come: they should hear of it soon.
    pub(crate) fn on_news(&mut self, step: &mut Step<'_, V>) {
        if self.heartbeat_pause > self.config.heartbeat_min {
            self.heartbeat_pause = self.config.heartbeat_min;
            self.schedule_heartbeat(step);
        }
    }

    fn schedule_heartbeat(&self, step: &mut Step<'_, V>) {
        let pause = self.heartbeat_pause;
        let half = SimDuration::from_micros(pause.as_micros() / 2);
        let at = within(step.now(), half, pause, step.entropy);
        step.set(Timer::Heartbeat, at);
    }

    pub(crate) fn on_heartbeat_due(&mut self, step: &mut Step<'_, V>) {
        let peers = self.pick_peers(self.config.heartbeat_fanout, None, step.entropy);
        let (root, replica, clock) = (self.root, self.config.replica, self.clock.last());
        let seq = step.work.log.covered().of(replica);
        self.broadcast(&peers, Message::Gossip(Gossip::Heartbeat { root, replica, seq, clock }), step);
        self.heartbeat_pause = self.heartbeat_pause.times(2).min(self.config.heartbeat_max);
        self.schedule_heartbeat(step);
    }

    pub(crate) fn on_heartbeat(&mut self, from: PeerId, root: Digest, step: &mut Step<'_, V>) {
        let peer = self.peers.entry(from).or_default();
        peer.root = Some(root);
        if root != self.root {
            self.owe(from, "its root differs", SETTLE, step);
            if self.heartbeat_pause > self.config.heartbeat_min {
                self.heartbeat_pause = self.config.heartbeat_min;
                self.schedule_heartbeat(step);
            }
        } else if self.owed.get(&from).is_some_and(|debt| !debt.forced) {
            self.owed.remove(&from);
            self.set_owed_timer(step);
        }
    }

    /// Up to `count` reachable peers other than `except`, at random; all of them in their order if
    /// there are no more than that.
    pub(crate) fn pick_peers(
        &self,
        count: usize,
        except: Option<PeerId>,
        entropy: &mut dyn Entropy,
    ) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> =
            self.reachable.iter().copied().filter(|peer| Some(*peer) != except).collect();
        if peers.len() <= count {
            return peers;
        }
        for at in 0..count {
            let other = entropy.between(Choice::PeerOrder, at as u64, peers.len() as u64 - 1) as usize;
            peers.swap(at, other);
        }
        peers.truncate(count);
        peers
    }
}

/// How long a difference may take to vanish by itself, as it does when the write that made it is
/// still on its way.
pub(crate) const SETTLE: SimDuration = SimDuration::from_millis(20);
