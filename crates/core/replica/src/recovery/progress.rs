//! The progress of the recovery of a legacy. The rows of the legacy have all of it that must survive a crash.

use super::legacy;
use super::{ForkSearch, FormerId, LegacyWrite};
use std::collections::{BTreeMap, BTreeSet};
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::Dot;
use syncline_types::{Hlc, PeerId, ReplicaId, SimTime};

/// The legacy that is being written again, if there is one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RecoveryProgress {
    pub(crate) current: Option<Recovering>,
    /// The peers with which a session has converged since the start: what they cover is known.
    pub(crate) met: BTreeSet<PeerId>,
    /// From this time on it is not waited for the other peers any more.
    pub(crate) waits_until: Option<SimTime>,
}

/// The recovery of the legacy of one former id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Recovering {
    pub(crate) former: ReplicaId,
    pub(crate) known: FormerId,
    /// The earliest time that a change of the legacy's writes may have.
    pub(crate) earliest_write: u64,
    pub(crate) search: Option<ForkSearch>,
    /// The peer that was asked for the delta that decides next, and its number.
    pub(crate) asked: Option<(PeerId, u64)>,
    /// How often the peer was asked without an answer.
    pub(crate) unanswered: u32,
    /// When this replica restores the legacy as the former id wrote it, if nobody has a state by then.
    pub(crate) restores_at: Option<SimTime>,
    /// The new times of changes that could not keep theirs, by their old stamps.
    pub(crate) moved: BTreeMap<Hlc, u64>,
    /// Those of them that are not in the store yet.
    pub(crate) just_moved: Vec<(Hlc, u64)>,
    /// The latest time that a change has taken so far: later changes take later times.
    pub(crate) reissued_until: u64,
    /// The stamp of the change that took the latest time.
    last_taken: Option<Hlc>,
}

impl RecoveryProgress {
    /// What the store says is left to do. The clock of the replica was at `clock` before the start.
    pub(crate) fn load<V: ReadView>(view: &V, clock: u64) -> Result<Self, StorageError> {
        let mut current = Recovering::next(view, ReplicaId([0; 16]))?;
        if let Some(current) = current.as_mut().filter(|current| current.known.branch.is_some()) {
            // Some changes may have taken their times before the start, none of them later than this.
            current.reissued_until = clock + 1;
        }
        Ok(Self { current, met: BTreeSet::new(), waits_until: None })
    }
}

impl Recovering {
    /// The first legacy of a former id from `from` on.
    pub(crate) fn next<V: ReadView>(view: &V, from: ReplicaId) -> Result<Option<Self>, StorageError> {
        let Some((former, known)) = FormerId::next(view, from)? else { return Ok(None) };
        let earliest_write = if known.first <= known.last {
            LegacyWrite::read(view, Dot { author: former, seq: known.first })?.earliest()
        } else {
            u64::MAX
        };
        let moved = legacy::times(view, former)?;
        Ok(Some(Self { moved, ..Self::new(former, known, earliest_write) }))
    }

    const fn new(former: ReplicaId, known: FormerId, earliest_write: u64) -> Self {
        Self {
            former,
            known,
            earliest_write,
            search: None,
            asked: None,
            unanswered: 0,
            restores_at: None,
            moved: BTreeMap::new(),
            just_moved: Vec::new(),
            reissued_until: 0,
            last_taken: None,
        }
    }

    /// The earliest time that is still to enter the state. As long as records of the old store are to be joined, nothing
    /// may be collected that it has not.
    pub(crate) fn earliest(&self) -> u64 {
        let has_joined = self.known.branch.is_some_and(|branch| branch.has_joined);
        if has_joined { self.earliest_write } else { self.earliest_write.min(self.known.horizon.time() + 1) }
    }

    /// Whether this replica is restoring all, because nobody else has anything.
    pub(crate) fn is_restoring(&self) -> bool {
        self.known.branch.is_some_and(|branch| branch.is_everything())
    }

    /// Whether all of the legacy is being written again: nobody has any of it, or would take it as it is.
    pub(crate) fn rewrites_all(&self) -> bool {
        self.known.branch.is_some_and(|branch| branch.fork < self.known.first)
    }

    /// Gives a change with the stamp `old` its new time: the time `wanted`, or the first one that is after the `horizon`
    /// and after all changes that were made before. Changes of one time stay so.
    pub(crate) fn take_time(&mut self, old: Hlc, wanted: u64, horizon: Hlc) {
        if self.moved.contains_key(&old) || self.last_taken == Some(old) {
            return;
        }
        self.last_taken = Some(old);
        // Two changes never get one time, whose stamps may come in any order: some may be of an earlier branch.
        let first_free = self.reissued_until + 1;
        let new = wanted.max(first_free).max(horizon.time() + 1);
        if new != old.time() {
            self.moved.insert(old, new);
            self.just_moved.push((old, new));
        }
        self.reissued_until = new;
    }

    /// The legacy of the id after this one. The row of this one may still be in the view.
    pub(crate) fn following<V: ReadView>(&self, view: &V) -> Result<Option<Self>, StorageError> {
        let next = u128::from_be_bytes(self.former.0).checked_add(1);
        next.map_or(Ok(None), |next| Self::next(view, ReplicaId(next.to_be_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_order_after_the_horizon() {
        let known = FormerId {
            first: 1,
            last: 0,
            other_from: u64::MAX,
            horizon: Hlc::ZERO,
            has_one_life: false,
            shared: 0,
            branch: None,
        };
        let mut current = Recovering::new(ReplicaId::from_u64(1), known, 0);
        let at = |time| Hlc::new(0, time, ReplicaId::from_u64(1));
        for old in [3, 3, 7, 11, 12, 30, 30] {
            current.take_time(at(old), u64::from(old), Hlc::last_at(10));
        }
        let moved = [(3, 11), (7, 12), (11, 13), (12, 14)].map(|(old, new)| (at(old), new));
        assert_eq!(current.moved, BTreeMap::from(moved));
        current.take_time(at(900), 40, Hlc::last_at(10));
        current.take_time(at(901), 40, Hlc::last_at(10));
        assert_eq!((current.moved[&at(900)], current.moved[&at(901)]), (40, 41), "ahead of time");
        current.take_time(at(902), 902, Hlc::last_at(10));
        assert_eq!(current.moved.get(&at(902)), None);
        // Stamps that do not ascend, as of what the former id had itself written again.
        let mut current = Recovering::new(ReplicaId::from_u64(1), known, 0);
        let mut taken = Vec::new();
        for old in
            [at(900), Hlc::new(0, 160, ReplicaId::from_u64(7)), Hlc::new(0, 170, ReplicaId::from_u64(7))]
        {
            current.take_time(old, old.time(), Hlc::last_at(1_000));
            taken.push(current.moved[&old]);
        }
        assert_eq!(taken, [1_001, 1_002, 1_003]);
    }
}
