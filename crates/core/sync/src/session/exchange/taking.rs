//! Taking what the peer shows: records, which may come before their parents, and cells.

use super::super::{OwedReason, SessionStats};
use super::{Exchange, MAX_CELL_PAGES, MAX_ORPHAN_BYTES, Push};
use crate::message::WireRecord;
use crate::question::Question;
use crate::sketch::{Cell, Sketch, cells_wanted, decode};
use crate::transaction::Transaction;
use std::collections::BTreeMap;
use syncline_storage::{ApplyError, Disposition, Prefix, Record, StorageError, own_hash};
use syncline_store::ReadView;
use syncline_types::{Decode, EntityId, Hlc, canary, limits};

impl Exchange {
    /// More cells of the peer's: reads the difference, or asks for more yet.
    pub(in crate::session) fn take_cells<V: ReadView>(
        &mut self,
        cells: &[Cell],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Result<(), &'static str>, StorageError> {
        if cells.is_empty() {
            return Ok(Err("no cells"));
        }
        stats.cells += cells.len() as u64;
        self.cells.extend_from_slice(cells);
        let (key, count) = (work.sketch_key(), self.cells.len());
        let ours = work.cells(0, count)?;
        match decode(key, &ours, &self.cells, &mut work.state)? {
            Some(difference) => self.take_difference(difference, stats),
            // As many as the difference seems to need, and then more and more; when that does not help
            // either, the walk does.
            None if self.pass == 0 && self.cell_pages < MAX_CELL_PAGES => {
                self.cell_pages += 1;
                let wanted = usize::try_from(cells_wanted(self.difference));
                let missing = wanted.unwrap_or(usize::MAX).saturating_sub(count);
                let more = missing.max(count * self.cell_pages as usize / 6);
                let count = more.clamp(Sketch::HEAD, limits::MAX_CELLS) as u32;
                self.questions.push_back(Question::Cells { from: self.cells.len() as u32, count });
            }
            None => {}
        }
        Ok(Ok(()))
    }

    /// Records of the peer's, which may have come before their parents.
    pub(in crate::session) fn take_records<V: ReadView>(
        &mut self,
        records: &[WireRecord],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Result<(), &'static str>, StorageError> {
        work.state.prefetch(records.iter().map(|record| record.id))?;
        for WireRecord { id, bytes } in records {
            if let Err(broken) = self.take_record(*id, bytes, work, stats)? {
                return Ok(Err(broken));
            }
            let symbol = work.sketch_key().symbol(*id, own_hash(*id, bytes));
            if let Some(theirs) = self.below.remove(&symbol)
                && let kids = work.state.entry(*id)?.map(|entry| entry.kids).unwrap_or_default()
                && theirs.map_or_else(|| !kids.is_zero(), |theirs| !theirs.matches(kids))
            {
                self.descend(*id, Prefix::EMPTY);
            }
        }
        Ok(Ok(()))
    }

    /// Gives up the records that wait for their parents: the walk finds them.
    pub(super) fn drop_orphans(&mut self) {
        (self.orphans, self.orphan_bytes) = (BTreeMap::new(), 0);
        self.deferred.get_or_insert(OwedReason::ClockDrift);
    }

    /// Joins a record of the peer's, and those that waited for it; what we know beyond them goes back.
    pub(in crate::session) fn take_record<V: ReadView>(
        &mut self,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Result<(), &'static str>, StorageError> {
        if let Err(broken) = self.join_record(id, bytes, work, stats)? {
            return Ok(Err(broken));
        }
        let mut parents = if self.orphans.is_empty() { Vec::new() } else { vec![id] };
        while let Some(parent) = parents.pop() {
            if !self.orphans.contains_key(&parent) || work.state.record(parent)?.is_none() {
                continue;
            }
            for WireRecord { id, bytes } in self.orphans.remove(&parent).unwrap_or_default() {
                self.orphan_bytes = self.orphan_bytes.saturating_sub(bytes.len() + 64);
                if let Err(broken) = self.join_record(id, &bytes, work, stats)? {
                    return Ok(Err(broken));
                }
                parents.push(id);
            }
        }
        Ok(Ok(()))
    }

    fn join_record<V: ReadView>(
        &mut self,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Result<(), &'static str>, StorageError> {
        let Ok(record) = Record::from_bytes(bytes) else { return Ok(Err("a record that does not decode")) };
        let mut record = record;
        if canary!(CreatedLost) {
            record.created_at = Hlc::MAX;
        }
        self.withheld.remove(&id);
        let context = match &mut self.aside {
            Some(aside) => aside.take(id, &record, &work.context),
            None => work.context,
        };
        match work.state.merge_record(id, &record, &context) {
            Ok(_) => {
                stats.records_received += 1;
                stats.bytes += bytes.len() as u64;
            }
            Err(ApplyError::Storage(error)) => return Err(error),
            Err(ApplyError::NoMerge { .. }) => {
                self.deferred = Some(OwedReason::NoMerge);
                return Ok(Ok(()));
            }
            Err(ApplyError::MissingParent { parent, .. }) => {
                self.orphan_bytes += bytes.len() + 64;
                if self.orphan_bytes > MAX_ORPHAN_BYTES {
                    self.drop_orphans();
                } else {
                    self.orphans.entry(parent).or_default().push(WireRecord { id, bytes: bytes.into() });
                }
                return Ok(Ok(()));
            }
            Err(error) if error.disposition() == Disposition::RetryLater => {
                self.deferred.get_or_insert(OwedReason::ClockDrift);
                return Ok(Ok(()));
            }
            Err(_) => return Ok(Err("a record that breaks a rule")),
        }
        if work.state.record(id)?.is_some_and(|own| *own != record) {
            self.pushes.push_back(Push::One(id));
        }
        Ok(Ok(()))
    }
}
