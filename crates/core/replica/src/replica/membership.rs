//! The announced progress of members, and the collection of tombstones that follows from it.

use super::{Replica, StepContext};
use crate::effects::Notice;
use crate::sync_queue::PendingReason;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{Dot, SyncHandshake, VersionVector};
use syncline_types::{Digest, Hlc, PeerId, ReplicaId};

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
        if self.config.membership.names(theirs.replica) {
            let before = step.work.state.horizon();
            let collected = step.work.adopt_horizon(theirs)?;
            Self::notice_collection(before, collected, step);
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
        let stable = own.clone();
        if horizon > before && step.work.state.has_tombstones(horizon)? {
            let collected = step.work.state.raise_horizon(horizon)?;
            step.work.log.note_stable(&stable);
            Self::notice_collection(before, collected, step);
        }
        Ok(())
    }

    fn notice_collection(before: Hlc, records: u64, step: &mut StepContext<'_, V>) {
        let horizon = step.work.state.horizon();
        debug_assert!(horizon >= before, "the horizon never goes back");
        if horizon > before {
            step.out.notices.push(Notice::TombstonesCollected { horizon, records });
        }
    }
}
