//! Snapshot: the whole state, page by page, staged aside and verified before any of it is used.

use super::{FailureReason, Outcome, OwedReason, SessionStats, Turn, compare_roots};
use crate::handshake::SyncHandshake;
use crate::message::Request;
use crate::page::SnapshotPage;
use crate::transaction::{Transaction, staged};
use syncline_storage::{ApplyContext, ApplyError, Interface, Record, StorageError};
use syncline_store::{Bytes, MemoryStore, ReadView};
use syncline_types::{Decode, Digest, EntityId, Hlc, canary};

/// Fresh starts before the rest is left to a next session.
const MAX_STARTS: u32 = 8;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct SnapshotPull {
    boundary: Digest,
    cursor: Option<EntityId>,
    compressed: bool,
    starts: u32,
}

impl SnapshotPull {
    /// Begins a transfer, or goes on with one that was interrupted, by loss or by a crash.
    pub(super) fn start<V: ReadView>(
        theirs: &SyncHandshake,
        compressed: bool,
        work: &mut Transaction<V>,
    ) -> Result<(Self, Request), StorageError> {
        let mut pull = Self { boundary: theirs.root_hash, cursor: None, compressed, starts: 1 };
        match staged::source(work.state.view())? {
            Some(source) => {
                pull.boundary = source.root_hash;
                pull.cursor = staged::records(work.state.view())?.last().map(|(id, _)| *id);
            }
            None => staged::begin(theirs, &mut work.above),
        }
        let request = pull.request();
        Ok((pull, request))
    }

    const fn request(&self) -> Request {
        Request::SnapshotPage { boundary: self.boundary, after: self.cursor, compressed: self.compressed }
    }

    /// The peer does not keep that state any more: starts again with the one it has now.
    pub(super) fn on_gone<V: ReadView>(
        &mut self,
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        staged::clear(work.state.view(), &mut work.above)?;
        self.starts += 1;
        if self.starts > MAX_STARTS {
            return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
        }
        staged::begin(theirs, &mut work.above);
        (self.boundary, self.cursor) = (theirs.root_hash, None);
        Ok(Turn::Ask(self.request()))
    }

    pub(super) fn on_page<V: ReadView>(
        &mut self,
        page: &SnapshotPage,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if page.boundary != self.boundary || page.after != self.cursor {
            return self.refuse("a page of another place", work);
        }
        let Ok(records) = page.unpack() else { return self.refuse("a page that does not unpack", work) };
        stats.records_received += records.len() as u64;
        if !page.is_last {
            let Some((last, _)) = records.last() else { return self.refuse("an empty page", work) };
            self.cursor = Some(*last);
            for (id, bytes) in records {
                staged::keep(id, bytes, &mut work.above);
            }
            return Ok(Turn::Ask(self.request()));
        }
        let mut all = staged::records(work.state.view())?;
        all.extend(records);
        self.publish(&all, page.root, work)
    }

    fn refuse<V: ReadView>(
        &self,
        what: &'static str,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        staged::clear(work.state.view(), &mut work.above)?;
        Ok(Turn::End(broken(what)))
    }

    /// Builds the state aside, compares its root with the promised one, and only then joins it into
    /// ours: a copy if we are still fresh, a merge if something was written meanwhile (**I5**). `root`
    /// is the peer's now: if it has moved on from the promised one, another session is owed.
    fn publish<V: ReadView>(
        &self,
        all: &[(EntityId, Bytes)],
        root: Digest,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        staged::clear(work.state.view(), &mut work.above)?;
        if work.state.horizon() != Hlc::ZERO {
            // What came another way meanwhile has forgotten things that this state may still hold.
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        let mut decoded = Vec::with_capacity(all.len());
        for (id, bytes) in all {
            match Record::from_bytes(bytes) {
                Ok(record) => decoded.push((record.depth, *id, record)),
                Err(_) => return Ok(Turn::End(broken("a record that does not decode"))),
            }
        }
        decoded.sort_by_key(|(depth, id, _)| (*depth, *id));
        let any_time = ApplyContext { max_drift_ms: u64::MAX, ..work.context };
        let fresh = work.state.root_hash()?.is_zero();
        let in_time = decoded
            .iter()
            .all(|(_, _, record)| record.check_drift(work.context.moment, work.context.max_drift_ms).is_ok());
        if fresh && in_time {
            let mut state = work.state.clone();
            if let Err(outcome) = self.verify(&mut state, &decoded, &any_time)? {
                return Ok(Turn::End(outcome));
            }
            work.state = state;
        } else {
            let merges = work.state.merges().clone();
            let mut scratch = Interface::open_with(MemoryStore::default(), merges)?;
            if let Err(outcome) = self.verify(&mut scratch, &decoded, &any_time)? {
                return Ok(Turn::End(outcome));
            }
            for (_, id, record) in &decoded {
                #[cfg(feature = "canary")]
                if canary!(SnapshotOverwrites) {
                    work.state.overwrite(*id, record)?;
                    continue;
                }
                // Verified, so at worst too early for our clock: the owed session brings it.
                if let Err(ApplyError::Storage(error)) = work.state.merge_record(*id, record, &work.context) {
                    return Err(error);
                }
            }
        }
        let outcome = compare_roots(work, root)?;
        Ok(Turn::End(match outcome {
            Outcome::Owed(_) if !in_time => Outcome::Owed(OwedReason::ClockDrift),
            outcome => outcome,
        }))
    }

    /// Joins the records into `state`, parents first, and compares its root with the promised one.
    /// The inner error is how the session ends.
    fn verify<S: ReadView>(
        &self,
        state: &mut Interface<S>,
        records: &[(u32, EntityId, Record)],
        context: &ApplyContext,
    ) -> Result<Result<(), Outcome>, StorageError> {
        for (_, id, record) in records {
            match state.merge_record(*id, record, context) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(error),
                Err(_) => return Ok(Err(broken("a record that breaks a rule"))),
            }
        }
        let computed = state.root_hash()?;
        if computed != self.boundary && !canary!(SnapshotUnverified) {
            let failure = FailureReason::SnapshotMismatch { promised: self.boundary, computed };
            return Ok(Err(Outcome::Failed(failure)));
        }
        Ok(Ok(()))
    }
}

const fn broken(what: &'static str) -> Outcome {
    Outcome::Failed(FailureReason::Protocol(what))
}
