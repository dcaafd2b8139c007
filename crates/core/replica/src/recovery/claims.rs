//! Claims of peers to know deltas of this replica that its store does not hold.
//!
//! Anyone can claim that. A claim therefore costs the replica one request, and the peer its sessions until it has
//! answered. The delta itself proves the claim: only this replica can have signed it. Who does not store the delta may
//! have believed another's claim, and is synced with as if it claimed nothing.
//!
//! Nothing proves the claim to have collected what this replica has never seen. It counts once at least half of all
//! reachable peers make it: a minority of liars stops nobody.

use std::collections::{BTreeMap, BTreeSet};
use syncline_sync::Dot;
use syncline_types::PeerId;

/// The claims for which a proof was requested: at most one for each reachable peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpenClaims {
    asked: BTreeMap<PeerId, Dot>,
    /// The claims that peers could not prove.
    unproven: BTreeMap<PeerId, Dot>,
    /// The peers in comparison with which this replica is left behind.
    outpacing: BTreeSet<PeerId>,
}

impl OpenClaims {
    /// Records the claim of a peer. Returns the deltas to request, either of which proves the claim: the next one
    /// after the `stored` deltas of this replica, which more peers store, and the claimed one.
    pub(crate) fn open(&mut self, peer: PeerId, claimed: Dot, stored: u64) -> Vec<Dot> {
        self.asked.insert(peer, claimed);
        let next = Dot { seq: stored + 1, ..claimed };
        if next.seq < claimed.seq { vec![next, claimed] } else { vec![claimed] }
    }

    /// Handles the answer of a peer, which does not store the deltas `unavailable`. Returns the claim that the peer
    /// cannot prove, if it is open. A peer that has sent nothing of what was requested may be asked again.
    pub(crate) fn answer(&mut self, peer: PeerId, unavailable: &[Dot]) -> Option<Dot> {
        let asked = self.asked.remove(&peer)?;
        let unproven = unavailable.contains(&asked).then_some(asked)?;
        self.unproven.insert(peer, unproven);
        Some(unproven)
    }

    /// The claim that a peer could not prove. The peer is not blamed for it, which may have taken it from others; nor
    /// is it believed.
    pub(crate) fn unproven(&self, peer: PeerId) -> Option<Dot> {
        self.unproven.get(&peer).copied()
    }

    /// Records that the peer has collected what this replica has never seen. Returns whether at least half of so many
    /// `reachable` peers have.
    pub(crate) fn outpaced_by(&mut self, peer: PeerId, reachable: usize) -> bool {
        self.outpacing.insert(peer);
        self.outpacing.len() * 2 >= reachable
    }

    /// The state of the peer is equal to the one of this replica.
    pub(crate) fn on_equal(&mut self, peer: PeerId) {
        self.outpacing.remove(&peer);
    }

    /// Forgets the claims of peers that are not reachable.
    pub(crate) fn keep_reachable(&mut self, is_reachable: impl Fn(PeerId) -> bool) {
        self.asked.retain(|peer, _| is_reachable(*peer));
        self.unproven.retain(|peer, _| is_reachable(*peer));
        self.outpacing.retain(|peer| is_reachable(*peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::ReplicaId;

    const A: PeerId = PeerId(1);

    fn dot(seq: u64) -> Dot {
        Dot { author: ReplicaId::from_u64(1), seq }
    }

    #[test]
    fn asks_for_next_and_claimed_delta() {
        let mut claims = OpenClaims::default();
        assert_eq!(claims.open(A, dot(9), 4), [dot(5), dot(9)]);
        assert_eq!(claims.open(A, dot(5), 4), [dot(5)]);
        assert_eq!(claims.open(A, dot(3), 4), [dot(3)], "another delta under a number of ours");
    }

    #[test]
    fn half_of_the_peers_leave_a_replica_behind() {
        let mut claims = OpenClaims::default();
        assert!(claims.outpaced_by(A, 2) && !claims.outpaced_by(A, 3));
        assert!(claims.outpaced_by(PeerId(2), 3));
        claims.on_equal(PeerId(2));
        assert!(!claims.outpaced_by(A, 3));
    }

    #[test]
    fn unproven_claim_is_answered_once() {
        let mut claims = OpenClaims::default();
        claims.open(A, dot(9), 4);
        assert_eq!(claims.answer(PeerId(2), &[dot(9)]), None, "nobody asked this peer");
        assert_eq!(claims.answer(A, &[dot(9)]), Some(dot(9)));
        assert_eq!(claims.answer(A, &[dot(9)]), None);
        assert_eq!((claims.unproven(A), claims.unproven(PeerId(2))), (Some(dot(9)), None));
        claims.open(A, dot(9), 4);
        assert_eq!(claims.answer(A, &[dot(5)]), None, "it has the claimed one");
        claims.open(A, dot(9), 4);
        claims.keep_reachable(|_| false);
        assert_eq!(claims, OpenClaims::default());
    }
}
