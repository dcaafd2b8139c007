//! Snapshot: the whole state, page by page, joined into a state that nobody sees, and shown once its root
//! is the one that was promised.
//!
//! A transfer outlives its session: what has come and where it goes on are in the store. Pages show one
//! state of the peer's, the *boundary*. When the peer does not keep that any more, the transfer goes on
//! with a later one; what came before may then be out of date, so that a walk over that boundary follows
//! the last page.

use super::exchange::{Aside, Exchange, Opening};
use super::{FailureReason, Outcome, OwedReason, SessionStats, Turn, compare_roots};
use crate::handshake::SyncHandshake;
use crate::message::{ExchangeReply, ExchangeRequest, Request};
use crate::page::SnapshotPage;
use crate::staged::{self, Transfer};
use crate::transaction::Transaction;
use syncline_storage::{ApplyError, Cursor, Interface, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, Digest, canary};

/// Boundaries that one session sees before the rest is left to a next one.
const MAX_BOUNDARIES: u32 = 8;
/// Records ahead of our clock that a state may be shown without.
const MAX_EARLY: usize = 4_096;
/// Peers with much less than what was promised that are passed over, one after the other, before what has
/// come is given up for one.
const MAX_PASSED_OVER: u8 = 3;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct SnapshotPull {
    transfer: Transfer,
    compressed: bool,
    boundaries: u32,
    /// Records that pages have brought in this session.
    received: u64,
    stage: Stage,
}

#[derive(Clone, PartialEq, Debug)]
enum Stage {
    /// What an earlier transfer left behind is being removed; nothing has been asked for yet.
    Clearing,
    Pages,
    /// All pages have come, some of them of an earlier boundary: what differs is looked for.
    Walk(Box<Exchange>),
}

impl SnapshotPull {
    /// Begins a transfer, or goes on with one that was interrupted, by loss or by a crash.
    pub(super) fn start<V: ReadView>(
        theirs: &SyncHandshake,
        compressed: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Turn), StorageError> {
        let kept = Transfer::read(work.state.view())?;
        // What the peer has forgotten since would never go from what has come already.
        let kept = kept.filter(|kept| kept.source.horizon == theirs.horizon);
        let transfer = kept.clone().unwrap_or_else(|| Transfer::new(theirs.clone()));
        let mut pull = Self { transfer, compressed, boundaries: 1, received: 0, stage: Stage::Pages };
        let turn = if kept.is_none() {
            pull.start_over(theirs.clone(), work)?
        } else if pull.transfer.cursor.is_some() {
            Turn::Ask(pull.page())
        } else {
            let (staged, aside) = (pull.open(work)?, pull.aside());
            pull.on_complete(staged, aside, theirs.root_hash, work, stats)?
        };
        Ok((pull, turn))
    }

    /// Forgets what has come and begins with the state that `source` promises.
    fn start_over<V: ReadView>(
        &mut self,
        source: SyncHandshake,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        self.transfer = Transfer::new(source);
        self.stage = Stage::Clearing;
        let more = self.give_up(work)?;
        Ok(Turn::Ask(self.after_clearing(more, work)))
    }

    /// How many states of the peer's it has read from, or the same again.
    pub(super) const fn boundaries(&self) -> u64 {
        self.boundaries as u64
    }

    /// How many records pages have brought in this session.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    fn after_clearing<V: ReadView>(&mut self, more: bool, work: &mut Transaction<V>) -> Request {
        if more {
            // Keeps the peer's view in use, and gives us the time for another piece.
            return self.exchange(ExchangeRequest::default());
        }
        self.stage = Stage::Pages;
        self.transfer.write_source(&mut work.above);
        self.transfer.write_progress(&mut work.above);
        self.page()
    }

    /// Forgets the transfer and what has come. Says whether there is more of that than one step removes.
    fn give_up<V: ReadView>(&self, work: &mut Transaction<V>) -> Result<bool, StorageError> {
        staged::end(work.state.view(), work.state.slot().other(), &mut work.above)
    }

    fn refuse<V: ReadView>(
        &self,
        what: &'static str,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        self.give_up(work)?;
        Ok(Turn::End(Outcome::Failed(FailureReason::Protocol(what))))
    }

    fn page(&self) -> Request {
        Request::SnapshotPage {
            boundary: self.boundary(),
            after: self.transfer.cursor.clone().unwrap_or_default(),
            compressed: self.compressed,
        }
    }

    const fn exchange(&self, asked: ExchangeRequest) -> Request {
        Request::SnapshotExchange { boundary: self.boundary(), asked }
    }

    const fn boundary(&self) -> Digest {
        self.transfer.source.root_hash
    }

    fn open<V: ReadView>(&self, work: &Transaction<V>) -> Result<Interface<V>, StorageError> {
        Interface::open_staged(work.state.view().clone(), work.state.merges().clone())
    }

    /// Whether the store still holds what this session takes it to hold.
    fn is_current<V: ReadView>(&self, work: &Transaction<V>) -> Result<bool, StorageError> {
        let kept = Transfer::read(work.state.view())?;
        Ok(match self.stage {
            Stage::Clearing => kept.is_none(),
            Stage::Pages | Stage::Walk(_) => kept.as_ref() == Some(&self.transfer),
        })
    }

    fn aside(&self) -> Aside {
        Aside { boundary: self.boundary(), early: Vec::new(), latest: self.transfer.latest }
    }

    /// Keeps what came in this step, and how far the transfer is with it.
    fn keep<V: ReadView>(
        &mut self,
        staged: Interface<V>,
        aside: Aside,
        cursor: Option<Cursor>,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        (self.transfer.latest, self.transfer.cursor) = (aside.latest, cursor);
        self.transfer.write_progress(&mut work.above);
        aside.early.into_iter().for_each(|id| staged::note_early(id, &mut work.above));
        work.above.extend(staged.finish()?);
        Ok(())
    }

    /// The peer does not keep the boundary any more: goes on with another.
    pub(super) fn on_gone<V: ReadView>(
        &mut self,
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if !self.is_current(work)? {
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        self.boundaries += 1;
        if self.boundaries > MAX_BOUNDARIES {
            return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
        }
        if matches!(self.stage, Stage::Clearing) {
            self.transfer.source = theirs.clone();
            return Ok(Turn::Ask(self.exchange(ExchangeRequest::default())));
        }
        if theirs.horizon != self.transfer.source.horizon {
            return self.start_over(theirs.clone(), work);
        }
        let has_begun = self.transfer.cursor != Some(Cursor::default());
        let is_behind = theirs.entity_count < self.transfer.source.entity_count / 2;
        if has_begun && is_behind && self.transfer.passed_over < MAX_PASSED_OVER {
            // All that it lacks would have to go. Whoever promised that may come back.
            self.transfer.passed_over += 1;
            self.transfer.write_source(&mut work.above);
            return Ok(Turn::End(Outcome::Owed(OwedReason::PeerBehind)));
        }
        self.transfer.mixed |= has_begun && theirs.root_hash != self.boundary();
        self.transfer.source = theirs.clone();
        self.transfer.write_source(&mut work.above);
        if self.transfer.cursor.is_some() {
            return Ok(Turn::Ask(self.page()));
        }
        let (staged, aside) = (self.open(work)?, self.aside());
        self.walk(staged, aside, work, stats)
    }

    pub(super) fn on_page<V: ReadView>(
        &mut self,
        page: &SnapshotPage,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if !self.is_current(work)? {
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        if !matches!(self.stage, Stage::Pages) || page.boundary != self.boundary() {
            return self.refuse("a page of another state", work);
        }
        if page.next.is_some() && page.next <= self.transfer.cursor {
            return self.refuse("a page that leads nowhere", work);
        }
        let Ok(records) = page.unpack() else { return self.refuse("a page that does not unpack", work) };
        if records.is_empty() && page.next.is_some() {
            return self.refuse("an empty page", work);
        }
        stats.records_received += records.len() as u64;
        self.received += records.len() as u64;
        let (mut staged, mut aside) = (self.open(work)?, self.aside());
        for (id, bytes) in records {
            stats.bytes += bytes.len() as u64;
            let Ok(record) = Record::from_bytes(&bytes) else {
                return self.refuse("a record that does not decode", work);
            };
            let any_time = aside.take(id, &record, &work.context);
            match staged.merge_encoded(id, record, bytes, &any_time) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(error),
                // The page is asked for again once the function is registered.
                Err(ApplyError::NoMerge { .. }) => return Ok(Turn::End(Outcome::Owed(OwedReason::NoMerge))),
                // The parent has moved since, to where the walk was already: the comparison finds both.
                Err(ApplyError::MissingParent { .. }) if self.transfer.mixed => {}
                Err(_) => return self.refuse("a record that breaks a rule", work),
            }
        }
        if std::mem::take(&mut self.transfer.passed_over) > 0 {
            self.transfer.write_source(&mut work.above);
        }
        if page.next.is_some() {
            self.keep(staged, aside, page.next.clone(), work)?;
            return Ok(Turn::Ask(self.page()));
        }
        let computed = staged.root_hash()?;
        let boundary = self.boundary();
        if computed != boundary && !self.transfer.mixed && !canary!(SnapshotUnverified) {
            self.give_up(work)?;
            let failure = FailureReason::SnapshotMismatch { promised: boundary, computed };
            return Ok(Turn::End(Outcome::Failed(failure)));
        }
        self.on_complete(staged, aside, page.root, work, stats)
    }

    /// All pages have come. `root` is the root of the peer now.
    fn on_complete<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        aside: Aside,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if staged.root_hash()? == self.boundary() || canary!(SnapshotUnverified) {
            return self.publish(staged, aside, root, work);
        }
        self.walk(staged, aside, work, stats)
    }

    /// Looks for what differs from the boundary.
    fn walk<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        aside: Aside,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let root = self.boundary();
        std::mem::swap(&mut work.state, &mut staged);
        let started = Exchange::start(Opening::Walk, root, work, stats);
        std::mem::swap(&mut work.state, &mut staged);
        let (exchange, request) = started?;
        self.stage = Stage::Walk(Box::new(exchange));
        self.keep(staged, aside, None, work)?;
        Ok(self.round(request))
    }

    /// A round of the walk, put to the boundary.
    fn round(&self, request: Request) -> Turn {
        Turn::Ask(match request {
            Request::Exchange(asked) => self.exchange(asked),
            request => request,
        })
    }

    pub(super) fn on_reply<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if !self.is_current(work)? {
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        let (mut staged, aside) = (self.open(work)?, self.aside());
        let exchange = match &mut self.stage {
            Stage::Walk(exchange) => exchange,
            Stage::Pages => return self.refuse("an answer to another question", work),
            Stage::Clearing => {
                let more = self.give_up(work)?;
                return Ok(Turn::Ask(self.after_clearing(more, work)));
            }
        };
        exchange.aside = Some(aside);
        std::mem::swap(&mut work.state, &mut staged);
        let turn = exchange.on_reply(reply, work, stats);
        std::mem::swap(&mut work.state, &mut staged);
        let Some(aside) = exchange.aside.take() else { return turn };
        match turn? {
            Turn::Ask(request) => {
                self.keep(staged, aside, None, work)?;
                Ok(self.round(request))
            }
            Turn::End(Outcome::Converged { .. }) => self.publish(staged, aside, reply.root, work),
            Turn::End(Outcome::Owed(OwedReason::NoMerge)) => {
                self.keep(staged, aside, None, work)?;
                Ok(Turn::End(Outcome::Owed(OwedReason::NoMerge)))
            }
            Turn::End(Outcome::Owed(_) | Outcome::Failed(FailureReason::StillDiverged { .. })) => {
                // There is something that the boundary does not have: from another peer that was ahead of
                // this one, or from one that made it up.
                self.boundaries += 1;
                if self.boundaries > MAX_BOUNDARIES {
                    self.give_up(work)?;
                    return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
                }
                self.start_over(self.transfer.source.clone(), work)
            }
            turn @ (Turn::End(_) | Turn::Walk) => {
                self.give_up(work)?;
                Ok(turn)
            }
        }
    }

    /// The staged state is what was promised (**I7**). Joins into it what was written here meanwhile
    /// (**I5**), and shows it. `root` is the peer's now: if it has moved on, another session is owed.
    fn publish<V: ReadView>(
        &mut self,
        mut staged: Interface<V>,
        aside: Aside,
        root: Digest,
        work: &mut Transaction<V>,
    ) -> Result<Turn, StorageError> {
        let source = &self.transfer.source;
        if work.state.horizon() > source.horizon {
            // What came another way meanwhile has forgotten things that this state may still hold.
            self.give_up(work)?;
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        // Some that were ahead of our clock when they came may not be any more.
        let mut latest = aside.latest;
        let mut withheld = Vec::new();
        let (mut early, mut after) = (aside.early.clone(), None);
        loop {
            for id in early {
                let Some(record) = staged.record(id)? else { continue };
                match record.check_drift(work.context.moment, work.context.max_drift_ms) {
                    Ok(()) => latest = latest.max(record.latest_stamp()),
                    Err(_) => withheld.push((record.depth, id)),
                }
            }
            if withheld.len() > MAX_EARLY {
                self.keep(staged, aside, None, work)?;
                return Ok(Turn::End(Outcome::Owed(OwedReason::ClockDrift)));
            }
            early = staged::early(work.state.view(), after, MAX_EARLY)?;
            after = early.last().copied();
            if early.is_empty() {
                break;
            }
        }
        withheld.sort_unstable();
        for (_, id) in withheld.iter().rev() {
            staged.reset_record(*id)?;
        }
        let shown = work.state.clone();
        // What nobody else has seen when they last forgot something, they cannot have forgotten.
        let is_new = work.log.covered().entries().all(|dot| source.stable.of(dot.author) == 0);
        let was_empty = work.state.root_hash()?.is_zero();
        let is_comparable = is_new || shown.horizon() == source.horizon || was_empty;
        staged::end(shown.view(), shown.slot(), &mut work.above)?;
        work.state = staged.publish(shown, latest)?;
        // It is another state now.
        work.sketch = None;
        if withheld.is_empty() && is_comparable {
            work.adopt(&self.transfer.source);
        } else if was_empty {
            // What is withheld is not here at all, so that nothing here is from before what was forgotten.
            work.adopt_stable(&self.transfer.source);
        }
        let outcome = compare_roots(work, root)?;
        Ok(Turn::End(match outcome {
            Outcome::Owed(_) if !withheld.is_empty() => Outcome::Owed(OwedReason::ClockDrift),
            outcome => outcome,
        }))
    }
}
