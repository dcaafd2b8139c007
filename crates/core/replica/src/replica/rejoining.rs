//! The pages of a recovery before the legacy is written again: counts at the fork, records, and what was covered.

use super::recovering::{PAGE, WRITES_PER_STEP};
use super::{Replica, StepContext};
use crate::recovery::{self, Branch, LegacyPart, LegacyWrite, Recovering, Rejoin, Rejoined};
use syncline_storage::{ApplyContext, ApplyError, Record, StorageError};
use syncline_store::{Bytes, ReadView};
use syncline_sync::{Dot, VersionVector};
use syncline_types::{Decode, Encode, EntityId, InternalError, Reader, ReplicaId};

/// The invariant on which a restored legacy relies.
const APPLIES: &str = "an action that one log has accepted applies to any state";
/// The invariant on which a restored page relies.
const RESTORES: &str = "what is restored has a branch";
/// The most records of an old store that one step joins.
const RECORDS_PER_STEP: usize = 128;
/// The most authors of an old store that one step covers.
const AUTHORS_PER_STEP: usize = 1_024;

impl<V: ReadView> Replica<V> {
    /// Whether this replica restores all, because nobody else has anything. Until it is done, it sends nothing and takes
    /// nothing.
    pub(super) fn is_restoring(&self) -> bool {
        self.recovery.current.as_ref().is_some_and(Recovering::is_restoring)
    }

    /// Looks for a page of the branch's writes in the state. Some peer may have received them as state, and others may have
    /// other deltas of their numbers. Of such a write and the ones before it, only counts may be lacking.
    pub(super) fn check_page(
        &self,
        current: &mut Recovering,
        mut branch: Branch,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        for _ in 0..WRITES_PER_STEP {
            if branch.next_checked > current.known.last {
                break;
            }
            let dot = Dot { author: current.former, seq: branch.next_checked };
            let write = LegacyWrite::read(step.work.state.view(), dot)?;
            if recovery::is_in_state(&write, current.former, &mut step.work.state)? {
                branch.shown = dot.seq;
                branch.until = write.delta.stamp.time();
            }
            branch.next_checked += 1;
        }
        current.known.branch = Some(branch);
        current.known.write(current.former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(false)
    }

    /// Notes what the former id had counted at the fork, for a page of its writes.
    pub(super) fn note_page(
        &self,
        current: &mut Recovering,
        mut branch: Branch,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let former = current.former;
        let is_whole = current.known.first == 1;
        for _ in 0..WRITES_PER_STEP {
            if branch.next_counted > current.known.last {
                break;
            }
            let dot = Dot { author: former, seq: branch.next_counted };
            let write = LegacyWrite::read(step.work.state.view(), dot)?;
            let state = &mut step.work.state;
            let batch = &mut step.work.metadata_batch;
            recovery::note_bases(&write, former, &branch, is_whole, state, batch)?;
            branch.next_counted += 1;
        }
        current.known.branch = Some(branch);
        current.known.write(former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(false)
    }

    /// Joins a page of the old store's records, parents before children; after the last one, covers a page of what the
    /// old store covered.
    pub(super) fn join_page(
        &self,
        current: &mut Recovering,
        mut branch: Branch,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let former = current.former;
        let rows = LegacyPart::Records.rows(step.work.state.view(), former, RECORDS_PER_STEP)?;
        if rows.is_empty() {
            branch.has_joined = !self.cover_page(former, &branch, current.known.first, step)?;
        }
        let known = current.known;
        let context = step.work.context;
        let rejoin = Rejoin { former, known: &known, branch: &branch, context: &context };
        let mut has_skipped = branch.has_skipped;
        let mut bytes = 0;
        for (key, row) in rows {
            if bytes >= self.config.limits.page_bytes() {
                break;
            }
            bytes += row.len();
            let record = Record::from_bytes(&row);
            let record = record.map_err(|error| StorageError::Row { what: "a record of a legacy", error })?;
            let id = EntityId(LegacyPart::id_in(&key)?);
            let state = &mut step.work.state;
            let batch = &mut step.work.metadata_batch;
            has_skipped |= rejoin.join(id, record, state, batch)? == Rejoined::Ahead;
            batch.delete(key);
        }
        current.known.branch = Some(Branch { has_skipped, ..branch });
        current.known.write(former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(false)
    }

    /// Covers a page of what the old store covered: its records are in the state. Of the former id, that is all up to the
    /// fork; what is restored in its own name follows with its deltas. Returns false after the last page.
    fn cover_page(
        &self,
        former: ReplicaId,
        branch: &Branch,
        first: u64,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let rows = LegacyPart::Covered.rows(step.work.state.view(), former, AUTHORS_PER_STEP)?;
        let is_last = rows.is_empty();
        let mut covered = VersionVector::default();
        for (key, row) in rows {
            let author = ReplicaId(LegacyPart::id_in(&key)?);
            let seq = match sequence(&row)? {
                seq if author != former => seq,
                _ if branch.is_everything() => first - 1,
                seq => seq.min(branch.fork),
            };
            if author != self.config.replica && seq > 0 {
                covered.cover(Dot { author, seq });
            }
            step.work.metadata_batch.delete(key);
        }
        if !branch.has_skipped {
            step.work.log.adopt(&covered, &[], &mut step.work.metadata_batch);
        }
        Ok(!is_last)
    }

    /// Restores a page of the legacy as the former id left it. Returns whether all is restored.
    pub(super) fn restore_page(
        &mut self,
        current: &mut Recovering,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let Some(branch) = current.known.branch else {
            debug_assert!(false, "{RESTORES}");
            return Err(InternalError::broken(RESTORES).into());
        };
        if !branch.has_joined {
            return self.join_page(current, branch, step);
        }
        if current.known.first > current.known.last {
            let now = step.now();
            self.recovery.waits_until = Some(now);
            self.recovery.met.extend(self.peers.reachable());
            return self.delete_page(current, step);
        }
        let own = ApplyContext { max_drift_ms: u64::MAX, ..step.work.context };
        let mut bytes = 0;
        for _ in 0..WRITES_PER_STEP {
            if current.known.first > current.known.last || bytes >= self.config.limits.page_bytes() {
                break;
            }
            let dot = Dot { author: current.former, seq: current.known.first };
            let write = LegacyWrite::read(step.work.state.view(), dot)?;
            // The records have nearly all of it. The old store may have deleted what a write was about.
            for action in write.changes().flatten() {
                match step.work.state.apply_action(&action, &own) {
                    Ok(_) => {}
                    Err(ApplyError::Storage(error)) => return Err(error),
                    Err(error) => {
                        debug_assert!(false, "{APPLIES}: {error}");
                        return Err(InternalError::broken(APPLIES).into());
                    }
                }
            }
            bytes += write.delta.to_bytes().len();
            if !step.work.log.covered().covers(dot) {
                let work = &mut step.work;
                work.log.append(&write.delta, work.state.view(), &mut work.metadata_batch)?;
            }
            LegacyWrite::delete(dot, &mut step.work.metadata_batch);
            current.known.first += 1;
        }
        current.known.write(current.former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(false)
    }
}

fn sequence(row: &Bytes) -> Result<u64, StorageError> {
    let mut input = Reader::new(row);
    let seq = input.varint().and_then(|seq| input.finish().map(|()| seq));
    seq.map_err(|error| StorageError::Row { what: "a covered author of a legacy", error })
}
