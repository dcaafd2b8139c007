//! This replica's own history: claims about it, and the end of a replica whose id has more than one life.

use super::{Replica, StepContext};
use crate::effects::{Notice, ReplicaError, SyncActions};
use crate::persisted;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    DeltaLog, Dot, HistoryClaim, HistoryConflict, Rejection, Response, SYNC_PROTOCOL_VERSION, SyncHandshake,
};
use syncline_types::PeerId;

/// How far ahead of the own incarnation one peer's word may move it. A store may be thousands of starts old, and a
/// liar must not use up the incarnations, of which there are 2^32.
const MAX_INCARNATIONS_SKIPPED: u64 = 1 << 10;

impl<V: ReadView> Replica<V> {
    /// Whether a handshake tells of another history than the one known here. If so, nothing is taken from its sender
    /// and nothing given to it, and `response` says why.
    pub(super) fn vet_history(
        &mut self,
        from: PeerId,
        theirs: &SyncHandshake,
        step: &mut StepContext<'_, V>,
    ) -> Result<Option<Response>, StorageError> {
        if theirs.version != SYNC_PROTOCOL_VERSION || theirs.context != self.config.context {
            return Ok(None);
        }
        Ok(match step.work.claim(theirs)? {
            Some(HistoryClaim::Own(claimed)) => {
                self.ask_for_proof(from, claimed, step);
                Some(Response::Rejected(Rejection::UnprovenHistory))
            }
            Some(HistoryClaim::Peers(delta)) => Some(Response::Rejected(Rejection::AnotherHistory { delta })),
            None => None,
        })
    }

    /// Requests a delta of this replica that a peer claims to know and the store does not hold.
    pub(super) fn ask_for_proof(&mut self, peer: PeerId, claimed: Dot, step: &mut StepContext<'_, V>) {
        if claimed.author != self.config.replica || !self.peers.is_reachable(peer) {
            return;
        }
        let stored = step.work.log.covered().of(claimed.author);
        let wanted = self.claims.open(peer, claimed, stored);
        self.request_deltas(peer, wanted, step);
    }

    /// Handles the answer to a request for proof. The peer does not store the deltas `unavailable`: it has received
    /// their effect as states. Where deltas are signed, only the delta proves the claim. Without signatures any delta
    /// could be forged too, so the claim counts as much.
    pub(super) fn on_proof_answered(
        &mut self,
        from: PeerId,
        unavailable: &[Dot],
        step: &mut StepContext<'_, V>,
    ) {
        let unproven = self.claims.answer(from, unavailable);
        if let Some(claimed) = unproven.filter(|_| self.config.authority.is_open()) {
            step.work.believe(claimed);
        }
    }

    /// A peer has seen frames of a later incarnation of this replica than this one: the store is an old one, or was
    /// lost. Goes on with an incarnation above that.
    pub(super) fn outgrow_incarnation(&mut self, newest: u64, step: &mut StepContext<'_, V>) {
        if newest < self.incarnation {
            return;
        }
        let next = newest.min(self.incarnation.saturating_add(MAX_INCARNATIONS_SKIPPED)) + 1;
        debug_assert!(next > self.incarnation, "the incarnation only grows");
        self.incarnation = next;
        let wall_ms = self.clock_guard.to_store(step.moment);
        persisted::write(self.incarnation, &self.clock, wall_ms, &mut step.work.metadata_batch);
    }

    /// Ends a step that has found a conflict: stores the conflict, and nothing else of the step. Each further step
    /// and each restart on this store returns the error.
    pub(super) fn stop_for(
        &mut self,
        conflict: HistoryConflict,
        step: &StepContext<'_, V>,
    ) -> Result<SyncActions, ReplicaError> {
        self.log = DeltaLog::load(step.work.state.view(), self.config.delta_retention)?;
        self.stopped = Some(ReplicaError::History(conflict));
        let mut out = SyncActions::default();
        persisted::write_conflict(&conflict, &mut out.storage);
        out.notices.push(Notice::HistoryConflict { conflict });
        Ok(out)
    }
}
