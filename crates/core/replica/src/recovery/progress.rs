//! The progress of the recovery of a legacy. The rows of the legacy have all of it that must survive a crash.

use super::{ForkSearch, FormerId, LegacyWrite};
use std::collections::{BTreeMap, BTreeSet};
use syncline_storage::StorageError;
use syncline_store::ReadView;
use syncline_sync::Dot;
use syncline_types::{PeerId, ReplicaId, SimTime};

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
    /// The new times of changes that could not keep theirs.
    pub(crate) moved: BTreeMap<u64, u64>,
}

impl RecoveryProgress {
    /// What the store says is left to do.
    pub(crate) fn load<V: ReadView>(view: &V) -> Result<Self, StorageError> {
        let current = Recovering::next(view, ReplicaId([0; 16]))?;
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
        Ok(Some(Self {
            former,
            known,
            earliest_write,
            search: None,
            asked: None,
            unanswered: 0,
            restores_at: None,
            moved: BTreeMap::new(),
        }))
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

    /// The legacy of the id after this one. The row of this one may still be in the view.
    pub(crate) fn following<V: ReadView>(&self, view: &V) -> Result<Option<Self>, StorageError> {
        let next = u128::from_be_bytes(self.former.0).checked_add(1);
        next.map_or(Ok(None), |next| Self::next(view, ReplicaId(next.to_be_bytes())))
    }
}
