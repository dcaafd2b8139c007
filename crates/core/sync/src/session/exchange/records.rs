//! Joining the peer's records, which may arrive before their parents, and decoding its cells.

use super::Exchange;
use crate::messages::{Question, WireRecord};
use crate::session::{ProtocolBreach, ReplyError, RetryReason, SessionStats};
use crate::sketch::{Cell, Sketch, cells_to_request, decode};
use crate::transaction::Transaction;
use syncline_storage::{ApplyError, Disposition, Prefix, Record, own_hash};
use syncline_store::ReadView;
use syncline_types::{Decode, EntityId, Hlc, Probe, canary};

/// Bytes that an orphan takes beyond those of its record.
const ORPHAN_OVERHEAD: usize = 64;

impl Exchange {
    /// A page of at most `requested` cells of the peer.
    pub(super) fn take_requested_cells<V: ReadView>(
        &mut self,
        requested: u32,
        cells: &[Cell],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        if cells.len() > requested as usize {
            return Err(ProtocolBreach::MoreCellsThanRequested.into());
        }
        self.take_cells(cells, work, stats)
    }

    /// Appends cells of the peer to those received before, and decodes the difference from all of them. If
    /// they do not decode, requests more.
    pub(super) fn take_cells<V: ReadView>(
        &mut self,
        cells: &[Cell],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        if cells.is_empty() {
            return Err(ProtocolBreach::NoCells.into());
        }
        stats.cells += cells.len() as u64;
        self.cells.extend_from_slice(cells);
        let count = self.cells.len();
        let ours = work.cells(0, count)?;
        debug_assert_eq!(ours.len(), count, "both sides' cells pair up");
        match decode(work.sketch_key(), &ours, &self.cells, &mut work.state)? {
            Some(difference) => self.take_difference(work.sketch_key(), difference, stats),
            // The estimate decides how many cells are requested first. If these fail, the estimate was too
            // low, and a growing number is requested; the walk finds what cells do not show.
            None if self.pass == 0 && self.cell_pages < work.limits.cell_pages() => {
                work.note(Probe::CellsRepeated);
                self.cell_pages += 1;
                let wanted = usize::try_from(cells_to_request(self.difference)).unwrap_or(usize::MAX);
                let missing = wanted.saturating_sub(count);
                let more = missing.max(count * self.cell_pages / 6);
                let more = more.clamp(Sketch::HEAD, work.limits.cells_per_frame()) as u32;
                self.questions.push_back(Question::Cells { from: count as u32, count: more });
            }
            None => work.note(Probe::CellsUsedUp),
        }
        Ok(())
    }

    /// Joins records of the peer, which may precede their parents. Where the peer's children of a record
    /// are known to differ from ours, compares them.
    pub(super) fn take_records<V: ReadView>(
        &mut self,
        records: &[WireRecord],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        work.state.prefetch(records.iter().map(|record| record.id))?;
        for WireRecord { id, bytes } in records {
            self.take_record(*id, bytes, work, stats)?;
            if self.requested_kids.is_empty() {
                continue;
            }
            let symbol = work.sketch_key().symbol(*id, own_hash(*id, bytes));
            if let Some(theirs) = self.requested_kids.remove(&symbol) {
                let ours = work.state.entry(*id)?.map(|entry| entry.kids).unwrap_or_default();
                if theirs.map_or_else(|| !ours.is_zero(), |theirs| !theirs.matches(ours)) {
                    self.descend(*id, Prefix::EMPTY);
                }
            }
        }
        Ok(())
    }

    /// Drops the records that wait for their parents. The next walk finds them again.
    pub(super) fn drop_orphans<V: ReadView>(&mut self, work: &mut Transaction<V>) {
        work.note(Probe::OrphansDropped);
        self.orphans.clear();
        self.orphan_bytes = 0;
        self.deferred.get_or_insert(RetryReason::ClockDrift);
    }

    /// Joins a record of the peer, and then the orphans that were waiting for it, and so on.
    pub(super) fn take_record<V: ReadView>(
        &mut self,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        self.join_record(id, bytes, work, stats)?;
        self.join_orphans(id, work, stats)
    }

    /// Joins the orphans that were waiting for a record, and those that were waiting for them, and so on.
    pub(super) fn join_orphans<V: ReadView>(
        &mut self,
        id: EntityId,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        // A list instead of recursion: the depth of a chain of orphans comes from the peer.
        let mut parents = if self.orphans.is_empty() { Vec::new() } else { vec![id] };
        while let Some(parent) = parents.pop() {
            // The parent itself may have been refused or deferred; then its orphans keep waiting.
            if !self.orphans.contains_key(&parent) || work.state.record(parent)?.is_none() {
                continue;
            }
            for WireRecord { id, bytes } in self.orphans.remove(&parent).unwrap_or_default() {
                self.orphan_bytes = self.orphan_bytes.saturating_sub(bytes.len() + ORPHAN_OVERHEAD);
                work.note(Probe::OrphanJoined);
                self.join_record(id, &bytes, work, stats)?;
                parents.push(id);
            }
        }
        debug_assert!(
            !self.orphans.is_empty() || self.orphan_bytes == 0,
            "the bytes of orphans are counted while there are orphans"
        );
        Ok(())
    }

    /// Joins one record. If the joined record contains more than the peer's, it is pushed back. A record
    /// that cannot be joined yet waits for its parent, or is left to a later session.
    fn join_record<V: ReadView>(
        &mut self,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        let record = decode_record(bytes)?;
        self.withheld.remove(&id);
        if let Some(above) = self.waits_for_above(id, &record, work)? {
            self.add_orphan(above, id, bytes, work);
            return Ok(());
        }
        let context = match &mut self.staging {
            Some(staging) => staging.note(id, &record, &work.context),
            None => work.context,
        };
        match work.state.merge_record(id, &record, &context) {
            Ok(_) => {
                self.above.on_joined(id, record.parent);
                stats.records_received += 1;
                stats.bytes += bytes.len() as u64;
            }
            Err(ApplyError::Storage(error)) => return Err(error.into()),
            Err(ApplyError::MissingParent { parent, .. }) => {
                self.add_orphan(parent, id, bytes, work);
                return Ok(());
            }
            Err(error) if error.disposition() == Disposition::RetryLater => {
                self.defer_to_clocks();
                return Ok(());
            }
            Err(_) => return Err(ProtocolBreach::RecordBreaksRule.into()),
        }
        if work.state.record(id)?.is_some_and(|joined| *joined != record) {
            self.push(id);
        }
        Ok(())
    }

    /// Stores a record until its parent, or another one above it, arrives. If too many are waiting, all of them are left to a walk.
    fn add_orphan<V: ReadView>(
        &mut self,
        parent: EntityId,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
    ) {
        let most = work.limits.orphan_bytes();
        self.orphan_bytes += bytes.len() + ORPHAN_OVERHEAD;
        if self.orphan_bytes > most {
            self.drop_orphans(work);
        } else {
            self.orphans.entry(parent).or_default().push(WireRecord { id, bytes: bytes.into() });
        }
        debug_assert!(self.orphan_bytes <= most, "orphans take a bounded number of bytes");
    }
}

/// Decodes a record with its metadata (**I10**).
fn decode_record(bytes: &[u8]) -> Result<Record, ProtocolBreach> {
    let record = Record::from_bytes(bytes).map_err(|_| ProtocolBreach::RecordNotDecoded)?;
    Ok(if canary!(CreatedLost) { Record { created_at: Hlc::MAX, ..record } } else { record })
}
