//! This replica's own history: claims about it, and the end of a replica whose id has more than one life.

use super::{Replica, StepContext};
use crate::clock_guard::AnnouncedClock;
use crate::delta_fetch::AskPurpose;
use crate::effects::{Notice, ReplicaError, SyncActions};
use crate::persisted;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{
    DeltaLog, Dot, HistoryClaim, HistoryConflict, Rejection, Response, SYNC_PROTOCOL_VERSION, SyncHandshake,
};
use syncline_types::PeerId;

/// How far ahead of the own incarnation one peer's word may move it. A store may be thousands of starts old, and a
/// lying member must not use up the incarnations, of which there are 2^32.
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
        self.request_deltas(peer, wanted, AskPurpose::History, step);
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

    /// A peer has dropped an answer of this replica. A late copy from before a restart says nothing new. One answer
    /// is heeded between two heartbeats: each one writes a row and uses up incarnations, and it belongs to no session
    /// that would bound how many arrive.
    pub(super) fn on_stale_answer(&mut self, newest: u64, step: &mut StepContext<'_, V>) {
        if newest > self.incarnation && self.heeds_stale_answer {
            self.heeds_stale_answer = false;
            self.outgrow_incarnation(newest, step);
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

    /// Takes note of a peer in comparison with which this step has found the own state to be left behind, and stops if
    /// enough peers are.
    pub(super) fn note_outpacing(&mut self, from: Option<PeerId>, step: &mut StepContext<'_, V>) {
        // Most steps compare nothing with a peer.
        let (Some(peer), Some(theirs)) = (from, step.work.outpaced_by()) else { return };
        if self.peers.is_reachable(peer) && self.claims.outpaced_by(peer, self.peers.reachable().len()) {
            let own = step.work.state.horizon();
            debug_assert!(own < theirs, "who is left behind has collected less");
            step.work.set_conflict(HistoryConflict::LeftBehind { replica: self.config.replica, own, theirs });
        }
    }

    /// Takes note that the state of a member is equal to the own one: what this replica has written so far has been there.
    /// If it is absent there later, it was deleted.
    pub(super) fn note_shared(&mut self, step: &mut StepContext<'_, V>) {
        let seq = step.work.log.covered().of(self.config.replica);
        if seq > self.shared {
            self.shared = seq;
            persisted::write_shared(seq, &mut step.work.metadata_batch);
        }
    }

    /// Stops if the own history is so far ahead of time that no peer takes it for long.
    pub(super) fn judge_own_history(&self, step: &mut StepContext<'_, V>) {
        let replica = self.config.replica;
        // The own history is not ahead: there is nothing to judge.
        let Some(ahead) = self.own_history_ahead(step.moment) else { return };
        let limit_ms = self.config.max_drift_ms.saturating_add(self.config.max_wait_ms);
        if ahead.ahead_ms <= limit_ms || self.clock_fault().is_some() {
            return;
        }
        let latest_ms = self.clock.last() >> 16;
        let others: Vec<AnnouncedClock> = self.recent_clocks(step.now()).collect();
        let mut walls: Vec<u64> = others.iter().map(|clock| clock.wall_ms(step.now())).collect();
        walls.sort_unstable();
        // Of two medians the later one: more than half of the clocks are not later than that.
        let Some(others_ms) = walls.get(walls.len() / 2).copied() else { return };
        // Where all histories are as far ahead, all have taken them.
        let is_in_time = |clock: &AnnouncedClock| latest_ms.saturating_sub(clock.stamp_ms()) > limit_ms;
        if latest_ms.saturating_sub(others_ms) > limit_ms && others.iter().any(is_in_time) {
            step.work.set_conflict(HistoryConflict::Ahead { replica, latest_ms, others_ms });
        }
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
