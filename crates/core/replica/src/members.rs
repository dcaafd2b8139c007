//! Who takes part, how far each has come, and what may therefore be forgotten.
//!
//! A tombstone may go once every member has seen the delete and this replica has seen everything that
//! any member wrote before. Members say how far they have come in every handshake and heartbeat: which
//! deltas they cover, and the time of their clock, after which all that they still write is stamped.

use crate::event::Notice;
use crate::replica::{Replica, Step};
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::{Dot, SyncHandshake, VersionVector};
use syncline_types::{Digest, Hlc, PeerId, ReplicaId, canary};

/// What a member was last known to have reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reached {
    covered: VersionVector,
    clock: u64,
}

impl<V: ReadView> Replica<V> {
    /// A peer says of itself how far it has come. Forgets what it has forgotten. Of one that may not be
    /// believed nothing is taken.
    pub(crate) fn on_told(
        &mut self,
        theirs: &SyncHandshake,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        if step.work.vet(theirs).is_err() {
            return Ok(());
        }
        if theirs.root_hash == step.work.state.root_hash()? && theirs.horizon == step.work.state.horizon() {
            // What the peer covers is in here too, by whatever way it came. Only between equal horizons:
            // a root from before something was written comes again once that is forgotten.
            step.work.adopt(theirs);
        }
        self.learn(theirs.replica, &theirs.covered, theirs.clock);
        self.adopt_horizon(theirs, step)?;
        self.raise_horizon(step)
    }

    /// Forgets what a peer has forgotten, once this replica has seen enough for it.
    pub(crate) fn adopt_horizon(
        &mut self,
        theirs: &SyncHandshake,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        if self.config.membership.names(theirs.replica) {
            let before = step.work.state.horizon();
            let forgotten = step.work.adopt_horizon(theirs)?;
            self.note(before, forgotten, step);
        }
        Ok(())
    }

    /// A peer has told how many deltas it wrote, and its time. Its last handshake says what it covers; if
    /// that is less than we do although its root is ours, it is asked again.
    pub(crate) fn on_told_time(
        &mut self,
        from: PeerId,
        root: Digest,
        last: Dot,
        clock: u64,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        if !self.config.membership.names(last.author) {
            return Ok(());
        }
        let own = step.work.log.covered();
        if self.reached.get(&last.author).is_some_and(|reached| reached.covered.includes(own)) {
            let mut covered = VersionVector::default();
            covered.cover(last);
            self.learn(last.author, &covered, clock);
            return self.raise_horizon(step);
        }
        if root == self.root && step.work.state.has_tombstones(Hlc::MAX)? {
            self.owe_forced(from, "nobody knows how far it has come", step);
        }
        Ok(())
    }

    fn learn(&mut self, member: ReplicaId, covered: &VersionVector, clock: u64) {
        if self.config.membership.names(member) {
            let known = self.reached.entry(member).or_default();
            known.covered.join(covered);
            known.clock = known.clock.max(clock);
        }
    }

    /// Raises the horizon to where all members have come, if there is anything to forget.
    fn raise_horizon(&mut self, step: &mut Step<'_, V>) -> Result<(), StorageError> {
        let Some(members) = self.config.membership.members() else { return Ok(()) };
        let own = step.work.log.covered();
        let mut clock = self.clock.last();
        for member in members.keys().filter(|member| **member != self.config.replica) {
            let Some(reached) = self.reached.get(member) else {
                if canary!(SilentMembersCount) {
                    continue;
                }
                return Ok(());
            };
            // It has all that is here, and all that it wrote is here.
            if !reached.covered.includes(own) || own.of(*member) < reached.covered.of(*member) {
                return Ok(());
            }
            clock = clock.min(reached.clock);
        }
        let (stable, before) = (own.clone(), step.work.state.horizon());
        let horizon = Hlc::new(clock >> 16, clock as u16, ReplicaId([0xff; 16]));
        if horizon > before && step.work.state.has_tombstones(horizon)? {
            let forgotten = step.work.state.raise_horizon(horizon)?;
            step.work.log.note_stable(&stable);
            self.note(before, forgotten, step);
        }
        Ok(())
    }

    fn note(&self, before: Hlc, forgotten: u64, step: &mut Step<'_, V>) {
        let horizon = step.work.state.horizon();
        if horizon > before {
            step.out.notices.push(Notice::Forgot { horizon, records: forgotten });
        }
    }
}
