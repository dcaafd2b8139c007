//! The progress of the members, and the tombstone horizon that follows from it.
//!
//! A tombstone may be collected once every member has seen the delete and this replica has seen
//! everything that any member wrote before it: the delete is then causally stable. Members announce
//! their progress in every handshake and heartbeat: the deltas that they cover, and the time of their
//! clock, which every stamp of a later write exceeds.

use std::collections::BTreeMap;
use syncline_sync::{Membership, VersionVector};
use syncline_types::{ReplicaId, canary};

/// The progress that a member last announced.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MemberProgress {
    /// The deltas that the member covers.
    covered: VersionVector,
    /// The time of the member's clock: the stamps of all its later writes are greater.
    clock: u64,
}

/// The announced progress of the other members. It is lost in a crash, and their next handshakes announce it
/// again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HorizonTracker {
    progress: BTreeMap<ReplicaId, MemberProgress>,
}

impl HorizonTracker {
    pub(crate) const fn progress(&self) -> &BTreeMap<ReplicaId, MemberProgress> {
        &self.progress
    }

    /// Removes the progress of replicas that are not members any more.
    pub(crate) fn keep_members(&mut self, membership: &Membership) {
        self.progress.retain(|member, _| membership.names(*member));
    }

    /// Records the announced progress of `member`. Earlier announcements stay true, so the order in which
    /// announcements arrive does not matter.
    pub(crate) fn observe_progress(&mut self, member: ReplicaId, covered: &VersionVector, clock: u64) {
        let known = self.progress.entry(member).or_default();
        known.covered.join(covered);
        known.clock = known.clock.max(clock);
        debug_assert!(known.covered.includes(covered), "the progress of a member never goes back");
    }

    /// Whether `member` is known to cover all of `own`.
    pub(crate) fn has_reached(&self, member: ReplicaId, own: &VersionVector) -> bool {
        self.progress.get(&member).is_some_and(|progress| progress.covered.includes(own))
    }

    /// The clock time up to which everything is causally stable, for a replica that covers `own` and whose
    /// clock shows `own_clock`. `None` while the progress of a member is behind, ahead or unknown. O(members
    /// · authors).
    pub(crate) fn stable_clock(
        &self,
        others: impl Iterator<Item = ReplicaId>,
        own: &VersionVector,
        own_clock: u64,
    ) -> Option<u64> {
        let mut clock = own_clock;
        for member in others {
            let Some(progress) = self.progress.get(&member) else {
                if canary!(SilentMembersCount) {
                    continue;
                }
                return None;
            };
            // The member must cover everything that this replica covers, and this replica must cover
            // everything that the member wrote. Only then can neither side bring back an entity whose
            // tombstone was collected.
            if !progress.covered.includes(own) || own.of(member) < progress.covered.of(member) {
                return None;
            }
            clock = clock.min(progress.clock);
        }
        debug_assert!(clock <= own_clock, "the horizon is never ahead of the own clock");
        Some(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_sync::Dot;

    fn id(n: u64) -> ReplicaId {
        ReplicaId::from_u64(n)
    }

    fn covering(dots: &[(u64, u64)]) -> VersionVector {
        let mut covered = VersionVector::default();
        for (author, seq) in dots {
            covered.cover(Dot { author: id(*author), seq: *seq });
        }
        covered
    }

    fn stable(tracker: &HorizonTracker, own: &VersionVector) -> Option<u64> {
        tracker.stable_clock([id(2), id(3)].into_iter(), own, 50)
    }

    #[test]
    fn horizon_waits_for_every_member() {
        let own = covering(&[(1, 4), (2, 1)]);
        let mut tracker = HorizonTracker::default();
        tracker.observe_progress(id(2), &own, 40);
        assert_eq!(stable(&tracker, &own), None, "one is unknown");
        tracker.observe_progress(id(3), &covering(&[(1, 3)]), 30);
        assert_eq!(stable(&tracker, &own), None, "one is behind");
        tracker.observe_progress(id(3), &own, 20);
        assert_eq!(stable(&tracker, &own), Some(30), "the slowest clock decides");
    }

    #[test]
    fn horizon_waits_for_missing_writes() {
        let own = covering(&[(1, 4), (2, 1)]);
        let mut tracker = HorizonTracker::default();
        tracker.observe_progress(id(2), &covering(&[(1, 4), (2, 2)]), 40);
        tracker.observe_progress(id(3), &own, 40);
        assert_eq!(stable(&tracker, &own), None);
    }

    #[test]
    fn forgets_members_that_left() {
        let own = covering(&[(1, 1)]);
        let mut tracker = HorizonTracker::default();
        tracker.observe_progress(id(2), &own, 40);
        assert!(tracker.has_reached(id(2), &own));
        tracker.keep_members(&Membership::named([id(1), id(3)]));
        assert!(!tracker.has_reached(id(2), &own) && tracker.progress().is_empty());
    }
}
