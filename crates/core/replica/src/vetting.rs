//! Peers that may not be believed: who is turned away, and what follows for whoever brought what was
//! refused.

use crate::event::{Notice, Refusal};
use crate::replica::{Replica, Step};
use syncline_store::ReadView;
use syncline_sync::{
    DeltaRefusal, Gate, Membership, Rejection, Request, SYNC_PROTOCOL_VERSION, SyncProtocolKind,
};
use syncline_types::PeerId;

impl<V: ReadView> Replica<V> {
    /// Says who may write here and be synced with, from now on; this replica included. What was
    /// accepted from others before stays. Only where members are named are tombstones ever forgotten:
    /// one that a member has not seen is kept for as long as it stays away.
    pub fn set_membership(&mut self, membership: Membership) {
        self.config.membership = membership;
        let members = &self.config.membership;
        self.reached.retain(|member, _| members.names(*member));
        let gate = self.gate();
        self.buffer.remove_unauthorized(&gate);
    }

    /// What deltas must pass now.
    pub(crate) fn gate(&self) -> Gate {
        let (authority, membership) = (self.config.authority.clone(), self.config.membership.clone());
        Gate { context: self.config.context, authority, membership }
    }

    /// Why a request is not served, if it is not. Who asks is known by the handshake, and by that
    /// alone: the host vouches for frames of one peer being of one and the same.
    pub(crate) fn reject(
        &mut self,
        from: PeerId,
        request: &Request,
        step: &mut Step<'_, V>,
    ) -> Option<Rejection> {
        let peer = self.peers.entry(from).or_default();
        let rejection = if let Request::Handshake(theirs) = request {
            if theirs.version != SYNC_PROTOCOL_VERSION || theirs.context != self.config.context {
                // Refused for that, whoever it is.
                return None;
            }
            let vetted = step.work.vet(theirs);
            peer.replica = (vetted != Err(Rejection::Implausible)).then_some(theirs.replica);
            vetted.err()?
        } else {
            match peer.replica {
                _ if self.config.membership == Membership::Open => return None,
                // This replica has restarted since the handshake: the peer begins again.
                None => return Some(Rejection::NoHandshake),
                Some(replica) if self.config.membership.admits(replica) => return None,
                Some(_) => Rejection::NotAMember,
            }
        };
        let stranger = rejection == Rejection::NotAMember;
        self.turn_away(from, if stranger { Refusal::NotAMember } else { Refusal::Malformed }, step);
        Some(rejection)
    }

    /// Nothing that this peer says is taken, and nothing is owed to it.
    pub(crate) fn turn_away(&mut self, from: PeerId, refusal: Refusal, step: &mut Step<'_, V>) {
        step.refuse(refusal);
        self.owed.remove(&from);
        self.back_off(from, step);
    }

    /// Counts the deltas that a frame brought and the gate refused, whatever way they came, and leaves
    /// the peer that sent them alone for a while.
    pub(crate) fn on_unauthorized(&mut self, from: PeerId, step: &mut Step<'_, V>) {
        let refused = std::mem::take(&mut step.work.unauthorized);
        let Some(&first) = refused.first() else { return };
        step.out.notices.extend(refused.into_iter().map(|refusal| Notice::DeltaRefused { from, refusal }));
        if step.out.refusal.is_none() {
            step.refuse(refusal_of(first));
        }
        self.back_off(from, step);
    }

    /// Starts no session with a peer for a while, unless it is left alone already.
    fn back_off(&mut self, from: PeerId, step: &mut Step<'_, V>) {
        let now = step.now();
        let peer = self.peers.entry(from).or_default();
        if peer.not_before() <= now {
            let pause = peer.on_failure(self.config.backoff_min, self.config.backoff_max, step.entropy);
            peer.rest_until(now + pause);
        }
        let not_before = peer.not_before();
        if let Some(debt) = self.owed.get_mut(&from) {
            debt.due = debt.due.max(not_before);
        }
        self.set_owed_timer(step);
    }

    /// What is offered to this peer. One that gave deltas which were refused is only compared with: it
    /// may be honest and know of other members, and then its state is what we lack.
    pub(crate) fn protocols_for(&self, peer: PeerId) -> Vec<SyncProtocolKind> {
        let mut offered = self.config.protocols.clone();
        if self.peers.get(&peer).is_some_and(|peer| peer.only_states) {
            offered.retain(|protocol| *protocol != SyncProtocolKind::DeltaSync);
        }
        offered
    }
}

/// What the refusal of a delta means for the frame that brought it.
pub(crate) const fn refusal_of(refusal: DeltaRefusal) -> Refusal {
    match refusal {
        DeltaRefusal::Covered | DeltaRefusal::NotReady => Refusal::Duplicate,
        DeltaRefusal::Drift => Refusal::Drift,
        DeltaRefusal::NoMerge => Refusal::NoMerge,
        DeltaRefusal::Malformed => Refusal::Malformed,
        DeltaRefusal::LeftBehind => Refusal::LeftBehind,
        DeltaRefusal::NotAMember => Refusal::NotAMember,
        DeltaRefusal::BadSignature => Refusal::BadSignature,
    }
}
