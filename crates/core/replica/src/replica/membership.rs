//! The announced progress of members, and the collection of tombstones that follows from it.

use super::{Replica, StepContext};
use crate::effects::Notice;
use crate::event::Timer;
use crate::sync_queue::PendingReason;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{Dot, Outcome, RaisedHorizon, RetryReason, SyncHandshake, VersionVector};
use syncline_types::{Digest, Hlc, PeerId, ReplicaId, SimDuration};

/// The pause between two pages of a collection.
const COLLECTION_PAUSE: SimDuration = SimDuration::from_millis(1);

impl<V: ReadView> Replica<V> {
    /// Handles the progress that a peer announces in a handshake. Collects the tombstones that the peer has
    /// collected, and those that are stable now. An implausible handshake is ignored.
    pub(super) fn on_progress_announced(
        &mut self,
        from: PeerId,
        theirs: &SyncHandshake,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if step.work.vet(theirs).is_err() || step.work.claim(theirs)?.is_some() {
            return Ok(());
        }
        self.on_clock_heard(from, theirs.replica, (theirs.clock, theirs.wall_ms), step);
        step.work.log.note_taken(theirs.covered.of(self.config.replica));
        if theirs.root_hash == step.work.state.root_hash()? && theirs.horizon == step.work.state.horizon() {
            // The states are equal, so this state contains the effect of every delta that the peer covers.
            // This holds only between equal horizons, because the root from before a write recurs once that
            // write is collected.
            step.work.adopt(theirs);
            self.note_shared(step);
        }
        self.observe_progress(theirs.replica, &theirs.covered, theirs.clock);
        self.adopt_horizon(theirs, step)?;
        self.raise_horizon(step)
    }

    /// Adopts the horizon of a peer and collects the tombstones below it, once this replica has seen every
    /// delta that the horizon requires.
    pub(super) fn adopt_horizon(
        &mut self,
        theirs: &SyncHandshake,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if self.config.membership.names(theirs.replica) && !self.is_collecting() {
            let before = step.work.state.horizon();
            let raised = step.work.adopt_horizon(theirs)?;
            self.on_raised(before, raised, step)?;
        }
        Ok(())
    }

    /// Handles the number of deltas and the clock that a peer announces in a heartbeat. Its covered deltas
    /// are known from its last handshake. If these are fewer than this replica covers although the roots are
    /// equal, another handshake is needed.
    pub(super) fn on_clock_announced(
        &mut self,
        from: PeerId,
        root: Digest,
        last: Dot,
        clock: u64,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if !self.config.membership.names(last.author) {
            return Ok(());
        }
        if root == step.work.state.root_hash()? {
            self.note_shared(step);
        }
        if self.horizon.has_reached(last.author, step.work.log.covered()) {
            let mut covered = VersionVector::default();
            covered.cover(last);
            self.observe_progress(last.author, &covered, clock);
            return self.raise_horizon(step);
        }
        if root == self.root && step.work.state.has_tombstones(Hlc::MAX)? {
            self.enqueue_forced_sync(from, PendingReason::ProgressUnknown, step);
        }
        Ok(())
    }

    fn observe_progress(&mut self, member: ReplicaId, covered: &VersionVector, clock: u64) {
        if self.config.membership.names(member) {
            self.horizon.observe_progress(member, covered, clock);
        }
    }

    /// Raises the horizon to the progress of all members, if there is anything to collect.
    fn raise_horizon(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        if self.is_collecting() {
            return Ok(());
        }
        // Without a list of members it is unknown whether a delete has reached all of them.
        let Some(members) = self.config.membership.members() else { return Ok(()) };
        let own = step.work.log.covered();
        let others = members.keys().copied().filter(|member| *member != self.config.replica);
        // While the progress of one member is unknown or different, nothing is causally stable.
        let Some(clock) = self.horizon.stable_clock(others, own, self.announced_clock()) else {
            return Ok(());
        };
        let before = step.work.state.horizon();
        let horizon = Hlc::last_at(clock);
        if horizon > before && step.work.state.has_tombstones(horizon)? {
            let raised = step.work.raise_horizon(horizon)?;
            self.on_raised(before, raised, step)?;
        }
        Ok(())
    }

    /// Whether tombstones are being collected in several steps. Meanwhile no session may compare the state: the peer's
    /// has collected more, or less, and each would send the other what it has collected. Deltas, writes and heartbeats
    /// go on: they are later than the horizon.
    pub(super) const fn is_collecting(&self) -> bool {
        self.collection.is_some()
    }

    /// Handles a raise of the horizon, with which the first tombstones were collected.
    fn on_raised(
        &mut self,
        before: Hlc,
        raised: RaisedHorizon,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let horizon = step.work.state.horizon();
        debug_assert!(horizon >= before, "the horizon never goes back");
        if horizon == before {
            return Ok(());
        }
        step.out.notices.push(Notice::TombstonesCollected { horizon, records: raised.removed });
        self.collection = raised.rest;
        if self.is_collecting() {
            self.collect_later(step);
        }
        Ok(())
    }

    fn collect_later(&self, step: &mut StepContext<'_, V>) {
        let at = step.now() + COLLECTION_PAUSE;
        step.set_timer(Timer::Collection, at);
    }

    /// Ends the sessions in progress, if this step has begun a collection that takes more than one step.
    pub(super) fn suspend_sessions(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        if self.is_collecting() {
            let peers: Vec<PeerId> = self.sessions.peers().collect();
            for peer in peers {
                self.end_session(peer, Outcome::SyncPending(RetryReason::Yielded), step)?;
            }
        }
        Ok(())
    }

    /// Goes on with the collection. Sessions may start again after the last page.
    pub(super) fn on_collection_due(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        // A host may fire a timer of a collection that has ended at the same instant.
        let Some(mut begun) = self.collection.take() else { return Ok(()) };
        let records = step.work.go_on_collecting(&mut begun)?;
        let horizon = step.work.state.horizon();
        step.out.notices.push(Notice::TombstonesCollected { horizon, records });
        if !begun.is_done() {
            self.collection = Some(begun);
            self.collect_later(step);
            return Ok(());
        }
        self.start_due_sessions(step)
    }
}
