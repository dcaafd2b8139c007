//! The initiator of a snapshot transfer: receives the whole state page by page, stages it in the
//! inactive slot, and publishes it once its root is the promised one.
//!
//! A transfer outlives its session: the staged records and the cursor are in the store. All pages show
//! one state of the peer, the *boundary*. When the peer has evicted its view of that state, the transfer
//! continues with a later boundary. The earlier pages may then be out of date, so a walk over the later
//! boundary follows the last page.
//!
//! Three invariants hold at the end of every step:
//! - The stored [`Transfer`] equals `self.transfer`, or the step does nothing; see `is_current`. Two
//!   sessions therefore never mix their pages.
//! - The cursor in the store and the staged records before it were written in one batch.
//! - Readers see the state from before the transfer until `publish` replaces it as a whole (**I7**).

use super::staged::{self, Transfer};
use super::{SnapshotPage, Staging};
use crate::messages::{ExchangeReply, ExchangeRequest, Request, SyncHandshake};
use crate::session::exchange::{Exchange, Opening};
use crate::session::{
    FailureReason, Outcome, PhaseStep, ProtocolBreach, RetryReason, SessionStats, compare_roots,
};
use crate::transaction::Transaction;
use syncline_storage::{ApplyError, Cursor, Interface, Record, StorageError};
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Digest, EntityId, Hlc, InternalError, Probe, canary};

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct SnapshotPull {
    transfer: Transfer,
    compressed: bool,
    boundaries: usize,
    /// How many records the pages of this session have contained.
    received: u64,
    /// Whether the transfer was cut off after its first page, and no page has arrived since.
    resumes: bool,
    /// The parent of the last record that a page of this session contained.
    last_parent: Option<EntityId>,
    stage: TransferStage,
}

#[derive(Clone, PartialEq, Debug)]
enum TransferStage {
    /// The remains of an earlier transfer are being removed; no page has been requested yet.
    Clearing,
    Pages,
    /// All pages have arrived, some of them of an earlier boundary. The differences from the present
    /// boundary are being found and staged.
    Walk(Box<Exchange>),
}

impl SnapshotPull {
    /// Begins a transfer, or resumes one that loss or a crash has interrupted.
    pub(crate) fn start<V: ReadView>(
        theirs: &SyncHandshake,
        compressed: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, PhaseStep), StorageError> {
        let stored = Transfer::read(work.state.view())?;
        // If the peer has raised its horizon since, the staged records may include entities that it has
        // collected. Joining records never removes an entity, so such a transfer starts over.
        let was_stored = stored.is_some();
        let resumed = stored.filter(|stored| stored.source.horizon == theirs.horizon);
        work.note_if(was_stored && resumed.is_none(), Probe::SnapshotStartedOver);
        let is_new = resumed.is_none();
        let transfer = resumed.unwrap_or_else(|| Transfer::new(theirs.clone()));
        let stage = TransferStage::Pages;
        let resumes = transfer.cursor != Some(Cursor::default());
        let mut pull =
            Self { transfer, compressed, boundaries: 1, received: 0, resumes, last_parent: None, stage };
        let step = if is_new {
            pull.start_over(theirs.clone(), work)?
        } else if pull.transfer.cursor.is_some() {
            PhaseStep::Ask(pull.page_request())
        } else {
            work.note(Probe::SnapshotWalkResumed);
            let staged = pull.open(work)?;
            pull.on_complete(staged, pull.staging(), theirs.root_hash, work, stats)?
        };
        Ok((pull, step))
    }

    /// Discards the staged records and begins with the state that `source` promises.
    fn start_over<V: ReadView>(
        &mut self,
        source: SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        self.transfer = Transfer::new(source);
        self.resumes = false;
        self.stage = TransferStage::Clearing;
        let more = self.abandon(work)?;
        Ok(PhaseStep::Ask(self.after_clearing(more, work)))
    }

    /// About how many bytes the walk after the last page holds.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.stage {
            TransferStage::Walk(exchange) => exchange.held_bytes(),
            TransferStage::Clearing | TransferStage::Pages => 0,
        }
    }

    /// How many states of the peer this session has read from, repeated ones included.
    pub(crate) const fn boundaries(&self) -> u64 {
        self.boundaries as u64
    }

    /// How many records the pages of this session have contained.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    fn after_clearing<V: ReadView>(&mut self, more: bool, work: &mut Transaction<V>) -> Request {
        if more {
            work.note(Probe::RemainsInPieces);
            // An empty round keeps the peer's view in use, and its response gives this side another step in
            // which to remove the next piece.
            return self.exchange_request(ExchangeRequest::default());
        }
        self.stage = TransferStage::Pages;
        self.transfer.write_source(&mut work.metadata_batch);
        self.transfer.write_progress(&mut work.metadata_batch);
        self.page_request()
    }

    /// Deletes the transfer and a first piece of the staged records. Returns whether more are left.
    fn abandon<V: ReadView>(&self, work: &mut Transaction<V>) -> Result<bool, StorageError> {
        let rows = work.limits.sweep_rows();
        staged::end(work.state.view(), work.state.slot().other(), rows, &mut work.metadata_batch)
    }

    /// Ends the session because the peer has broken the protocol. Nothing it sent is used.
    fn refuse<V: ReadView>(
        &self,
        breach: ProtocolBreach,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        self.abandon(work)?;
        Ok(PhaseStep::fail(FailureReason::Protocol(breach)))
    }

    fn page_request(&self) -> Request {
        Request::SnapshotPage {
            boundary: self.boundary(),
            after: self.transfer.cursor.clone().unwrap_or_default(),
            compressed: self.compressed,
        }
    }

    const fn exchange_request(&self, asked: ExchangeRequest) -> Request {
        Request::SnapshotExchange { boundary: self.boundary(), asked }
    }

    const fn boundary(&self) -> Digest {
        self.transfer.source.root_hash
    }

    fn open<V: ReadView>(&self, work: &Transaction<V>) -> Result<Interface<V>, StorageError> {
        let staged = Interface::open_staged(work.state.view().clone(), work.state.merges().clone())?;
        Ok(staged.with_short_ids(work.state.short_ids()))
    }

    /// Whether the store still contains what this session has written. Another session, or a restart,
    /// may have changed the transfer since.
    fn is_current<V: ReadView>(&self, work: &Transaction<V>) -> Result<bool, StorageError> {
        let stored = Transfer::read(work.state.view())?;
        Ok(match self.stage {
            TransferStage::Clearing => stored.is_none(),
            TransferStage::Pages | TransferStage::Walk(_) => stored.as_ref() == Some(&self.transfer),
        })
    }

    fn staging(&self) -> Staging {
        Staging { boundary: self.boundary(), early: Vec::new(), latest: self.transfer.latest }
    }

    /// Writes what this step has staged, and the progress of the transfer, in one batch.
    fn save<V: ReadView>(
        &mut self,
        staged: Interface<V>,
        staging: Staging,
        cursor: Option<Cursor>,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        debug_assert!(staging.latest >= self.transfer.latest, "the latest staged stamp never decreases");
        debug_assert!(
            cursor.is_none() || cursor > self.transfer.cursor,
            "the cursor of a transfer only moves forward"
        );
        self.transfer.latest = staging.latest;
        self.transfer.cursor = cursor;
        self.transfer.write_progress(&mut work.metadata_batch);
        staging.early.into_iter().for_each(|id| staged::record_early(id, &mut work.metadata_batch));
        work.metadata_batch.extend(staged.finish()?);
        Ok(())
    }

    /// The peer has evicted its view of the boundary: continues with the state in `theirs`.
    pub(crate) fn on_gone<V: ReadView>(
        &mut self,
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        if !self.is_current(work)? {
            return Ok(PhaseStep::pending(RetryReason::NewerWrites));
        }
        self.boundaries += 1;
        if self.boundaries > work.limits.boundaries() {
            work.note(Probe::BoundariesUsedUp);
            return Ok(PhaseStep::fail(FailureReason::TooLong));
        }
        if matches!(self.stage, TransferStage::Clearing) {
            self.transfer.source = theirs.clone();
            return Ok(PhaseStep::Ask(self.exchange_request(ExchangeRequest::default())));
        }
        if theirs.horizon != self.transfer.source.horizon {
            work.note(Probe::SnapshotStartedOver);
            return self.start_over(theirs.clone(), work);
        }
        let has_begun = self.transfer.cursor != Some(Cursor::default());
        let is_behind = theirs.entity_count < self.transfer.source.entity_count / 2;
        if has_begun && is_behind && usize::from(self.transfer.peers_skipped) < work.limits.skipped_peers() {
            work.note(Probe::PeerSkipped);
            // Continuing with this peer would discard most of the staged records. The peer that promised them
            // may come back, so a few such peers are skipped first.
            self.transfer.peers_skipped += 1;
            self.transfer.write_source(&mut work.metadata_batch);
            return Ok(PhaseStep::pending(RetryReason::PeerBehind));
        }
        work.note_if(has_begun && is_behind, Probe::StagedGivenUp);
        work.note_if(has_begun && theirs.root_hash != self.boundary(), Probe::LaterBoundary);
        self.transfer.mixed |= has_begun && theirs.root_hash != self.boundary();
        self.transfer.source = theirs.clone();
        self.transfer.write_source(&mut work.metadata_batch);
        if self.transfer.cursor.is_some() {
            return Ok(PhaseStep::Ask(self.page_request()));
        }
        let staged = self.open(work)?;
        self.walk(staged, self.staging(), work, stats)
    }

    pub(crate) fn on_page<V: ReadView>(
        &mut self,
        page: &SnapshotPage,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        if !self.is_current(work)? {
            return Ok(PhaseStep::pending(RetryReason::NewerWrites));
        }
        let records = match self.check_page(page) {
            Ok(records) => records,
            Err(breach) => return self.refuse(breach, work),
        };
        stats.records_received += records.len() as u64;
        self.received += records.len() as u64;
        let mut staged = self.open(work)?;
        let mut staging = self.staging();
        match self.stage_records(records, &mut staged, &mut staging, work, stats) {
            Ok(()) => {}
            Err(StageError::Breach(breach)) => return self.refuse(breach, work),
            Err(StageError::Storage(error)) => return Err(error),
        }
        work.note_if(std::mem::take(&mut self.resumes), Probe::SnapshotResumed);
        if std::mem::take(&mut self.transfer.peers_skipped) > 0 {
            self.transfer.write_source(&mut work.metadata_batch);
        }
        if page.next.is_some() {
            self.save(staged, staging, page.next.clone(), work)?;
            return Ok(PhaseStep::Ask(self.page_request()));
        }
        let computed = staged.root_hash()?;
        let boundary = self.boundary();
        if computed != boundary && !self.transfer.mixed && !canary!(SnapshotUnverified) {
            self.abandon(work)?;
            let failure = FailureReason::SnapshotMismatch { promised: boundary, computed };
            return Ok(PhaseStep::fail(failure));
        }
        self.on_complete(staged, staging, page.root, work, stats)
    }

    /// Checks that the page is the one that was requested, and unpacks it.
    fn check_page(&self, page: &SnapshotPage) -> Result<Vec<(EntityId, Bytes)>, ProtocolBreach> {
        if !matches!(self.stage, TransferStage::Pages) || page.boundary != self.boundary() {
            return Err(ProtocolBreach::PageOfAnotherState);
        }
        // The cursor must move forward: otherwise a peer could send pages for ever.
        if page.next.is_some() && page.next <= self.transfer.cursor {
            return Err(ProtocolBreach::PageLeadsNowhere);
        }
        let records = page.unpack().map_err(|_| ProtocolBreach::PageNotUnpacked)?;
        if records.is_empty() && page.next.is_some() {
            return Err(ProtocolBreach::EmptyPage);
        }
        Ok(records)
    }

    fn stage_records<V: ReadView>(
        &mut self,
        records: Vec<(EntityId, Bytes)>,
        staged: &mut Interface<V>,
        staging: &mut Staging,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StageError> {
        let mut is_first = true;
        for (id, bytes) in records {
            stats.bytes += bytes.len() as u64;
            let Ok(record) = Record::from_bytes(&bytes) else {
                return Err(StageError::Breach(ProtocolBreach::RecordNotDecoded));
            };
            let is_sibling = self.last_parent.replace(record.parent) == Some(record.parent);
            let splits = std::mem::take(&mut is_first) && is_sibling && record.depth > 1;
            work.note_if(splits, Probe::PageSplitsChildren);
            let context = staging.note(id, &record, &work.context);
            match staged.merge_encoded(id, record, bytes, &context) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(StageError::Storage(error)),
                // The peer has moved the parent since, to a place that earlier pages have passed. The walk
                // finds both. Within one boundary parents always come first.
                Err(ApplyError::MissingParent { .. }) if self.transfer.mixed => {}
                Err(_) => return Err(StageError::Breach(ProtocolBreach::RecordBreaksRule)),
            }
        }
        Ok(())
    }

    /// All pages have arrived. `root` is the root of the peer's present state.
    fn on_complete<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        staging: Staging,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        if staged.root_hash()? == self.boundary() || canary!(SnapshotUnverified) {
            return self.publish(staged, staging, root, work);
        }
        work.note(Probe::SnapshotMixed);
        self.walk(staged, staging, work, stats)
    }

    /// Finds the differences between the staged state and the boundary by a walk.
    fn walk<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        staging: Staging,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        let root = self.boundary();
        let (exchange, request) =
            work.with_state(&mut staged, |work| Exchange::start(Opening::Walk, root, work, stats))?;
        self.stage = TransferStage::Walk(Box::new(exchange));
        self.save(staged, staging, None, work)?;
        Ok(self.walk_round(request))
    }

    /// A round of the walk, addressed to the boundary instead of the peer's present state.
    fn walk_round(&self, request: Request) -> PhaseStep {
        PhaseStep::Ask(match request {
            Request::Exchange(asked) => self.exchange_request(asked),
            request => request,
        })
    }

    pub(crate) fn on_reply<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        if !self.is_current(work)? {
            return Ok(PhaseStep::pending(RetryReason::NewerWrites));
        }
        let mut staged = self.open(work)?;
        let staging = self.staging();
        let exchange = match &mut self.stage {
            TransferStage::Walk(exchange) => exchange,
            TransferStage::Pages => return self.refuse(ProtocolBreach::UnexpectedResponse, work),
            TransferStage::Clearing => {
                let more = self.abandon(work)?;
                return Ok(PhaseStep::Ask(self.after_clearing(more, work)));
            }
        };
        exchange.staging = Some(staging);
        let step = work.with_state(&mut staged, |work| exchange.on_reply(reply, work, stats));
        let Some(staging) = exchange.staging.take() else {
            debug_assert!(false, "an exchange leaves the notes of its step in place");
            return Err(InternalError::broken("an exchange leaves the notes of its step in place").into());
        };
        match step? {
            PhaseStep::Ask(request) => {
                self.save(staged, staging, None, work)?;
                Ok(self.walk_round(request))
            }
            PhaseStep::End(Outcome::Converged { .. }) => self.publish(staged, staging, reply.root, work),
            PhaseStep::End(
                Outcome::SyncPending(_) | Outcome::Failed(FailureReason::StillDiverged { .. }),
            ) => {
                // The staged state contains records that the boundary lacks. They come from another peer that
                // was ahead of this one, or from an adversary that made them up. Joining cannot remove them.
                self.boundaries += 1;
                if self.boundaries > work.limits.boundaries() {
                    work.note(Probe::BoundariesUsedUp);
                    self.abandon(work)?;
                    return Ok(PhaseStep::fail(FailureReason::TooLong));
                }
                self.start_over(self.transfer.source.clone(), work)
            }
            step @ (PhaseStep::End(_) | PhaseStep::Walk) => {
                self.abandon(work)?;
                Ok(step)
            }
        }
    }

    /// Publishes the staged state, which has the promised root (**I7**), after it has joined everything
    /// that was written here meanwhile (**I5**). `root` is the peer's present root: if the peer has
    /// accepted writes since the boundary, another session is pending.
    fn publish<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        staging: Staging,
        root: Digest,
        work: &mut Transaction<V>,
    ) -> Result<PhaseStep, StorageError> {
        if work.state.horizon() > self.transfer.source.horizon {
            // This replica has collected tombstones meanwhile, and the staged state may still contain their
            // entities.
            work.note(Probe::PublishedTooLate);
            self.abandon(work)?;
            return Ok(PhaseStep::pending(RetryReason::NewerWrites));
        }
        let Some(EarlyRecords { latest, withheld }) = early_records(&mut staged, &staging, work)? else {
            work.note(Probe::EarlyTooMany);
            self.save(staged, staging, None, work)?;
            return Ok(PhaseStep::pending(RetryReason::ClockDrift));
        };
        // Children before parents: a parent that has children keeps its place as an empty record.
        for (_, id) in withheld.iter().rev() {
            staged.reset_record(*id)?;
        }
        let source = &self.transfer.source;
        let active = work.state.clone();
        // The local records may be joined to the peer's if the peer cannot have collected any of them: no
        // member had seen a delta of theirs at its horizon, or both horizons are equal, or there are none.
        let is_new = work.log.covered().entries().all(|dot| source.stable.of(dot.author) == 0);
        let was_empty = work.state.root_hash()?.is_zero();
        let is_comparable = is_new || active.horizon() == source.horizon || was_empty;
        // What was written here before the horizon of the others may be what they have deleted and forgotten since.
        work.note_writes_before(source)?;
        work.note_if(!was_empty, Probe::PublishedOverWrites);
        work.note_if(!withheld.is_empty(), Probe::EarlyPublished);
        let rows = work.limits.sweep_rows();
        staged::end(active.view(), active.slot(), rows, &mut work.metadata_batch)?;
        work.state = staged.publish(active, latest)?;
        // The sketch belongs to the replaced state.
        work.sketch = None;
        if withheld.is_empty() && is_comparable {
            work.adopt(source);
        } else if was_empty {
            // Withheld records are not here at all, so the state does not cover the source. But nothing
            // here is from before the source's horizon.
            work.adopt_stable(source);
        }
        Ok(PhaseStep::End(match compare_roots(work, root)? {
            Outcome::SyncPending(_) if !withheld.is_empty() => Outcome::SyncPending(RetryReason::ClockDrift),
            outcome => outcome,
        }))
    }
}

/// Why the records of a page cannot be staged.
enum StageError {
    Breach(ProtocolBreach),
    Storage(StorageError),
}

/// The early records, checked against the local clock again.
struct EarlyRecords {
    /// The latest stamp that is acceptable by now.
    latest: Hlc,
    /// The records that are still early, with their depths, ascending.
    withheld: Vec<(u32, EntityId)>,
}

/// Checks the early records against the local clock again: some may be acceptable by now. `None` if too
/// many are still early to publish the state without them.
fn early_records<V: ReadView>(
    staged: &mut Interface<V>,
    staging: &Staging,
    work: &mut Transaction<V>,
) -> Result<Option<EarlyRecords>, StorageError> {
    let most = work.limits.early_records();
    let mut latest = staging.latest;
    let mut withheld = Vec::new();
    let mut early = staging.early.clone();
    let mut after = None;
    loop {
        for id in early {
            // A record may have been marked twice, or its staging abandoned: then there is none.
            let Some(record) = staged.record(id)? else { continue };
            match record.check_drift(work.context.moment, work.context.max_drift_ms) {
                Ok(()) => {
                    work.note(Probe::EarlyRipened);
                    latest = latest.max(record.latest_stamp());
                }
                Err(_) => withheld.push((record.depth, id)),
            }
        }
        if withheld.len() > most {
            return Ok(None);
        }
        early = staged::early_records(work.state.view(), after, most)?;
        after = early.last().copied();
        if early.is_empty() {
            break;
        }
    }
    withheld.sort_unstable();
    Ok(Some(EarlyRecords { latest, withheld }))
}
