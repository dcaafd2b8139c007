//! The progress that members announce, and the tombstones that are collected for it.

use super::{Replica, StepContext};
use crate::effects::Notice;
use crate::sync_queue::PendingReason;
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{Dot, SyncHandshake, VersionVector};
use syncline_types::{Digest, Hlc, PeerId, ReplicaId};

impl<V: ReadView> Replica<V> {
    /// A peer announces its progress in a handshake. Collects the tombstones that the peer has collected, and
    /// those that are stable now. Nothing is taken from a handshake that may not be believed.
    pub(super) fn on_progress_announced(
        &mut self,
        theirs: &SyncHandshake,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        if step.work.vet(theirs).is_err() {
            return Ok(());
        }
        if theirs.root_hash == step.work.state.root_hash()? && theirs.horizon == step.work.state.horizon() {
            // Equal states: what the peer covers is in this one too, by whatever way it came. Only between
            // equal horizons, because the root from before a write comes again once that write is collected.
            step.work.adopt(theirs);
        }
        self.observe_progress(theirs.replica, &theirs.covered, theirs.clock);
        self.adopt_horizon(theirs, step)?;
        self.raise_horizon(step)
    }

    /// Collects what a peer has collected, once this replica has seen enough for it.
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

    /// A peer announces in a heartbeat how many deltas it wrote, and its clock. What it covers is known from
    /// its last handshake; if that is less than this replica covers although the roots are equal, another
    /// handshake is needed.
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

    /// Raises the horizon to where all members have come, if there is anything to collect.
    fn raise_horizon(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        // Without a list of members nobody knows whether a delete has reached everybody.
        let Some(members) = self.config.membership.members() else { return Ok(()) };
        let own = step.work.log.covered();
        let others = members.keys().copied().filter(|member| *member != self.config.replica);
        let Some(clock) = self.horizon.stable_clock(others, own, self.clock.last()) else { return Ok(()) };
        let before = step.work.state.horizon();
        let horizon = Hlc::new(clock >> 16, clock as u16, ReplicaId([0xff; 16]));
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
