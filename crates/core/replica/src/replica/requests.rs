//! Requests of peers: which are served, which are rejected, and the consequences of refused data for its
//! sender.

use super::{Replica, StepContext};
use crate::effects::Notice;
use crate::event::Timer;
use crate::refusal::Refusal;
use crate::sessions::{OwnSide, Precedence, SessionTable, precedence};
use crate::sync_queue::PendingReason;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    Message, Outcome, Rejection, Request, RequestId, Response, RetryReason, SYNC_PROTOCOL_VERSION, SessionId,
    SyncHandshake, respond,
};
use syncline_types::{Hlc, PeerId, Probe, SimDuration};

impl<V: ReadView> Replica<V> {
    pub(super) fn on_request(
        &mut self,
        from: PeerId,
        session: SessionId,
        id: RequestId,
        request: &Request,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if let Err(rejection) = self.vet_request(from, request, step) {
            let response = Response::Rejected(rejection);
            self.send(from, Message::Response { session, id, response }, step);
            return Ok(());
        }
        if let Request::Handshake(theirs) = request {
            let peer = self.peers.record(from);
            if let Err(newest) = peer.accept_session(session) {
                step.refuse(Refusal::Duplicate);
                // If the handshake is no late copy, its sender has lost count of its starts.
                let newest = SessionTable::incarnation_of(newest);
                let response = Response::Rejected(Rejection::StaleIncarnation { newest });
                self.send(from, Message::Response { session, id, response }, step);
                return Ok(());
            }
            if let Some(response) = self.vet_history(from, theirs, step)? {
                self.send(from, Message::Response { session, id, response }, step);
                return Ok(());
            }
            self.peers.record(from).set_root(theirs.root_hash);
            let own = Self::own_vectors(step);
            self.peers.with_vectors(from, |vectors| vectors.on_handshake(theirs, &own));
            match self.precedence(from, theirs, step) {
                Precedence::Ours => {
                    if !self.sessions.contains(from) {
                        self.enqueue_sync(from, PendingReason::OurTurn, SimDuration::ZERO, step);
                    }
                    let response = Response::Rejected(Rejection::Yield);
                    self.send(from, Message::Response { session, id, response }, step);
                    return Ok(());
                }
                // Both sides have started a session, and the peer's session takes precedence.
                Precedence::Theirs if self.sessions.contains(from) => {
                    self.end_session(from, Outcome::SyncPending(RetryReason::Yielded), step)?;
                }
                Precedence::Theirs | Precedence::Both => {}
            }
            self.on_progress_announced(from, theirs, step)?;
        }
        if self.is_collecting() && !self.is_from_before(request) {
            let response = Response::Rejected(Rejection::Yield);
            self.send(from, Message::Response { session, id, response }, step);
            return Ok(());
        }
        let ours = self.describe(from, step)?;
        let response = respond(&mut step.work, &mut self.views, &ours, request)?;
        self.send(from, Message::Response { session, id, response }, step);
        if !self.sessions.is_any_transferring() && !self.delta_fetch.is_empty() {
            // The request may have brought deltas that buffered deltas wait for. The buffered deltas are
            // applied in a separate step, because the response contains a root, which must be the root of a
            // stored state.
            let now = step.now();
            step.set_timer(Timer::Fetch, now);
        }
        Ok(())
    }

    /// Whether the answer to a request does not depend on the present state: who reads a view of an earlier one goes on.
    fn is_from_before(&self, request: &Request) -> bool {
        match request {
            Request::ForeignHandshake { .. } => true,
            Request::SnapshotPage { boundary, .. } | Request::SnapshotExchange { boundary, .. } => {
                self.views.contains(*boundary)
            }
            Request::Handshake(_) | Request::Exchange(_) | Request::Deltas { .. } => false,
        }
    }

    fn precedence(&self, from: PeerId, theirs: &SyncHandshake, step: &StepContext<'_, V>) -> Precedence {
        let is_empty = self.root.is_zero() && step.work.state.horizon() == Hlc::ZERO;
        let own = OwnSide {
            context: self.config.context,
            replica: self.config.replica,
            root: self.root,
            protocols: &self.config.protocols,
            is_fresh: is_empty || self.takes_snapshot,
            is_in_handshake: self.sessions.is_in_handshake(from),
        };
        precedence(&own, theirs)
    }

    /// Whether a request is served. A handshake identifies the initiator; see [`PeerTable::admit`] for the
    /// requests that follow it.
    ///
    /// [`PeerTable::admit`]: crate::peers::PeerTable::admit
    fn vet_request(
        &mut self,
        from: PeerId,
        request: &Request,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), Rejection> {
        // The response says so to any initiator.
        if matches!(request, Request::ForeignHandshake { .. }) {
            return Ok(());
        }
        let vetted = if let Request::Handshake(theirs) = request {
            if theirs.version != SYNC_PROTOCOL_VERSION || theirs.context != self.config.context {
                // The response says so to any initiator.
                return Ok(());
            }
            let vetted = step.work.vet(theirs);
            self.peers.identify(from, theirs.replica, vetted);
            vetted
        } else {
            self.peers.admit(from, &self.config.membership)
        };
        match vetted {
            // The peer breaks no rule: this replica has lost the peer's handshake.
            Ok(()) | Err(Rejection::NoHandshake) => {}
            Err(Rejection::NotAMember) => self.reject_peer(from, Refusal::NotAMember, step),
            Err(_) => self.reject_peer(from, Refusal::Malformed, step),
        }
        vetted
    }

    /// Ignores the message of a peer, and removes the sync that is pending with it.
    pub(super) fn reject_peer(&mut self, from: PeerId, refusal: Refusal, step: &mut StepContext<'_, V>) {
        step.refuse(refusal);
        // The backoff updates the timer.
        self.sync_queue.remove(from);
        self.back_off(from, step);
    }

    /// Counts the deltas of a frame that the gate refused, whichever message contained them, and backs off
    /// from their sender.
    pub(super) fn blame_for_unauthorized(&mut self, from: PeerId, step: &mut StepContext<'_, V>) {
        let refused = std::mem::take(&mut step.work.unauthorized);
        // Most frames contain no such delta.
        let Some(&first) = refused.first() else { return };
        debug_assert!(
            refused.iter().all(|refusal| refusal.is_unauthorized()),
            "a peer is blamed for what it can check itself"
        );
        step.out.notices.extend(refused.into_iter().map(|refusal| Notice::DeltaRefused { from, refusal }));
        // The refusal of the frame itself, if there is one, is more specific.
        if step.out.refusal.is_none() {
            step.refuse(first.into());
        }
        self.back_off(from, step);
    }

    /// Backs off from a peer, unless the replica does so already.
    fn back_off(&mut self, from: PeerId, step: &mut StepContext<'_, V>) {
        let not_before = self.peers.back_off(from, step.now(), step.entropy);
        step.work.note_if(self.peers.is_at_longest_backoff(from), Probe::LongestBackoff);
        self.sync_queue.postpone(from, not_before);
        self.update_sync_timer(step);
    }
}
