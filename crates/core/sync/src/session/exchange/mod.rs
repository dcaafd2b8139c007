//! The exchange of records: the common body of all protocols that compare two states.
//!
//! A protocol is the question that it opens with ([`Opening`]). In the same rounds, the initiator
//! requests the records in which the answers show a difference, and pushes the records that only it has.
//! Records are joined on arrival. If the joined record contains more than the peer's, it is pushed back.
//! One session therefore makes both sides equal.
//!
//! A *pass* ends when nothing more is known to differ. The roots are then compared. If they differ, a
//! walk down the index finds what the opening has missed; further walks use whole digests, because short
//! ones may collide.
//!
//! Invariants:
//! - A pass ends only when no question, record request, orphan or push is left; see `end_of_pass`.
//! - Parents are requested and pushed before their children where their depth is known. Records that
//!   arrive before their parents wait as orphans.
//! - What may have been collected is joined after the deletes that hide it: see `above`. A session may be cut off
//!   between the two, and nobody else may have these deletes any more.
//! - Every queue is bounded ([`limits::MAX_SESSION_QUEUE`], `Limits::orphan_bytes`), and so is the number of passes and of
//!   rounds without progress. A session with any peer ends.

mod above;
mod compare;
mod locating;
mod records;
mod requests;

use super::{
    FailureReason, Outcome, PhaseStep, ProtocolBreach, ReplyError, RetryReason, SessionStats, compare_roots,
};
use crate::messages::{
    BloomFilter, ExchangeReply, ExchangeRequest, HandshakeReply, NodeAddress, Question, Request, WireDigest,
    WireRecord,
};
use crate::sketch::{Cell, LocatedDifference, Symbol};
use crate::snapshot::Staging;
use crate::transaction::Transaction;
use above::Above;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use syncline_storage::{Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Digest, EntityId, Hlc, Probe, canary, limits};

/// How many passes over the whole tree a session makes before it leaves the rest to a later session.
const MAX_PASSES: u32 = 5;
/// How many rounds in a row may pass without a record in either direction. A chain as deep as a tree may
/// be needs one round for each level; more rounds than that mean that the peer is stalling.
const MAX_IDLE_ROUNDS: u64 = limits::MAX_ANCESTORS as u64 + 256;
/// The most differing branches that a prefetch requests as whole subtrees.
const FEW_SUBTREES: usize = 5;

/// What an exchange opens with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    /// HashComparison: the root of the index.
    Walk,
    /// LevelWise: all children of the root, then of everything that differs, level by level.
    Levels,
    /// SubtreePrefetch: the root of the index, then the whole of each of a few branches that differ.
    Subtrees,
    /// RatelessIblt: the cells that came with the handshake.
    Sketch,
    /// BloomFilter: a filter over all our records.
    BloomFilter {
        /// The size of the filter in bits.
        bits: u64,
    },
}

/// Records that the peer lacks and has yet to get.
#[derive(Clone, PartialEq, Debug)]
enum PendingPush {
    One(EntityId),
    /// Children of an entity, with everything below them.
    Subtree(Subtree),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Exchange {
    opening: Opening,
    questions: VecDeque<Question>,
    wants: VecDeque<EntityId>,
    /// Short ids of entities whose records are to be requested.
    short_ids: VecDeque<u32>,
    /// For requested records that are known by symbol: the peer's root of their children.
    requested_kids: BTreeMap<Symbol, Option<WireDigest>>,
    /// Our records of entities whose peer record may be in flight. When that arrives, it decides whether
    /// ours is pushed; at the end of the pass the rest is pushed.
    withheld: BTreeSet<EntityId>,
    /// Whether the records in flight are a sample that shows where to prefetch.
    sampling: bool,
    pushes: VecDeque<PendingPush>,
    /// The outstanding request.
    asked: ExchangeRequest,
    pass: u32,
    /// Whether digests must be whole: a walk over short ones did not lead to equal roots.
    whole: bool,
    /// Whether one of the two states has changed by other means than this session during this pass.
    foreign_writes: bool,
    /// Why a record was not accepted yet: a stamp ahead of the clock, a missing parent, or a merge function
    /// that is not registered.
    pub(crate) deferred: Option<RetryReason>,
    /// Whether a record of this pass is ahead of one of the clocks: until that clock is there, no pass brings it over.
    is_early: bool,
    local_generation: u64,
    remote_generation: Option<u64>,
    subtree_pages: usize,
    /// The peer's cells that have been received, from the first one on.
    cells: Vec<Cell>,
    cell_pages: usize,
    above: Above,
    /// The horizon of both sides. What was received before one of them has raised its own must not be joined after that.
    horizon: Hlc,
    /// Records whose parents have not arrived yet, by parent; or that wait for another record above them.
    orphans: BTreeMap<EntityId, Vec<WireRecord>>,
    orphan_bytes: usize,
    /// The responder's estimate of the number of differing records.
    difference: u64,
    /// How many rounds in a row have moved no record.
    idle_rounds: u64,
    /// Set while the exchange completes a snapshot: our state is the staged one, and the peer's state is a
    /// past one.
    pub(crate) staging: Option<Staging>,
}

impl Exchange {
    /// About how many bytes the queues, cells and waiting records take up. O(queued Bloom filters).
    pub(crate) fn held_bytes(&self) -> usize {
        let filters = self.questions.iter().chain(&self.asked.questions).map(Question::held_bytes);
        let ids = self.wants.len() + self.withheld.len() + self.pushes.len() + self.requested_kids.len();
        let ids = ids + self.above.len();
        let pushed: usize = self.asked.pushes.iter().map(|push| push.bytes.len()).sum();
        filters.sum::<usize>()
            + ids * size_of::<EntityId>()
            + self.short_ids.len() * size_of::<u32>()
            + self.cells.len() * size_of::<Cell>()
            + self.orphan_bytes
            + pushed
    }

    /// Begins an exchange with a peer whose root is `remote_root`.
    pub(crate) fn start<V: ReadView>(
        opening: Opening,
        remote_root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Request), StorageError> {
        let mut exchange = Self::new(opening, work)?;
        exchange.wants.push_back(EntityId::ROOT);
        let ours = work.state.stats()?;
        let root = Question::Node(NodeAddress { entity: EntityId::ROOT, prefix: Prefix::EMPTY });
        exchange.questions.push_back(match opening {
            Opening::Walk | Opening::Subtrees | Opening::Sketch => root,
            Opening::Levels => Question::Children { entity: EntityId::ROOT, after: None },
            Opening::BloomFilter { bits } => {
                // A salt of both roots: another session, over other states, has other false positives.
                let salt = ours.root.short() ^ remote_root.short().rotate_left(32);
                let mut filter = BloomFilter::new(bits, salt);
                work.state.each_entry(|_, entry| filter.insert(entry))?;
                Question::Missing(filter)
            }
        });
        stats.walks += u64::from(opening == Opening::Walk);
        let request = exchange.next_request(work, stats)?;
        Ok((exchange, request))
    }

    fn new<V: ReadView>(opening: Opening, work: &mut Transaction<V>) -> Result<Self, StorageError> {
        Ok(Self {
            opening,
            questions: VecDeque::new(),
            wants: VecDeque::new(),
            short_ids: VecDeque::new(),
            requested_kids: BTreeMap::new(),
            withheld: BTreeSet::new(),
            sampling: false,
            pushes: VecDeque::new(),
            asked: ExchangeRequest::default(),
            pass: 0,
            whole: false,
            foreign_writes: false,
            deferred: None,
            is_early: false,
            local_generation: work.state.stats()?.generation,
            remote_generation: None,
            subtree_pages: 0,
            cells: Vec::new(),
            cell_pages: 0,
            above: Above::default(),
            horizon: work.state.horizon(),
            orphans: BTreeMap::new(),
            orphan_bytes: 0,
            difference: 0,
            idle_rounds: 0,
            staging: None,
        })
    }

    /// Begins with the difference that the sketches in the handshake have located.
    pub(super) fn located<V: ReadView>(
        located: &LocatedDifference,
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, PhaseStep), StorageError> {
        let mut exchange = Self::new(Opening::Sketch, work)?;
        exchange.difference = reply.difference.unwrap_or_default();
        if reply.theirs.horizon != work.state.horizon() {
            return Ok((exchange, PhaseStep::pending(RetryReason::NewerWrites)));
        }
        let step = match exchange.take_located(located, &reply.theirs, work, stats) {
            Ok(()) => {
                exchange.local_generation = work.state.stats()?.generation;
                exchange.next_step(reply.theirs.root_hash, work, stats)?
            }
            Err(error) => PhaseStep::of(Err(error))?,
        };
        Ok((exchange, step))
    }

    /// Handles the reply to the outstanding request. A breach of the protocol ends the session.
    pub(crate) fn on_reply<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        PhaseStep::of(self.take_reply(reply, work, stats))
    }

    fn take_reply<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, ReplyError> {
        let asked = std::mem::take(&mut self.asked);
        check_form(reply, &asked)?;
        let is_raised = [reply.horizon, work.state.horizon()].iter().any(|horizon| *horizon != self.horizon);
        if is_raised && self.staging.is_none() {
            // One side has collected tombstones meanwhile. The next handshake decides what follows from that.
            return Ok(PhaseStep::pending(RetryReason::NewerWrites));
        }
        self.note_generations(reply, work)?;
        self.take_requested(reply, &asked, work, stats)?;
        for (question, answer) in asked.questions.iter().zip(&reply.answers) {
            self.compare(question, answer, work, stats)?;
        }
        let pushed = !asked.pushes.is_empty();
        self.requeue_unanswered(asked, reply);
        let moved = pushed || work.state.stats()?.generation != self.local_generation;
        self.idle_rounds = if moved { 0 } else { self.idle_rounds + 1 };
        if self.idle_rounds > MAX_IDLE_ROUNDS || self.queued() > limits::MAX_SESSION_QUEUE {
            return Ok(PhaseStep::fail(FailureReason::TooLong));
        }
        let step = self.next_step(reply.root, work, stats)?;
        self.local_generation = work.state.stats()?.generation;
        Ok(step)
    }

    /// Notes whether anyone else has changed one of the two states since the last round.
    fn note_generations<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let local = work.state.stats()?.generation;
        debug_assert!(
            self.staging.is_some() || local >= self.local_generation,
            "the generation of a state never decreases"
        );
        if local != self.local_generation {
            self.foreign_writes = true;
            self.above.on_local_change();
        }
        // A retransmitted request may find that the responder has joined its first copy already, and mistake
        // that for a foreign write. Then another session is reported as pending although none is needed. The
        // other mistake, to miss a foreign write, would report a failure of an honest peer.
        if self.remote_generation.is_some_and(|known| known != reply.generation_before) {
            self.foreign_writes = true;
            self.above.on_remote_change();
        }
        self.remote_generation = Some(reply.generation_after);
        if reply.deferred > 0 {
            self.defer_to_clocks();
        }
        Ok(())
    }

    /// Notes that a record is ahead of one of the clocks.
    fn defer_to_clocks(&mut self) {
        self.deferred.get_or_insert(RetryReason::ClockDrift);
        self.is_early = true;
    }

    /// Joins the requested records. A record that only we have is pushed.
    fn take_requested<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        asked: &ExchangeRequest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        for (&id, record) in asked.wants.iter().zip(&reply.records) {
            match record {
                Some(bytes) => self.take_record(id, bytes, work, stats)?,
                None => {
                    self.above.on_absent(id);
                    if work.state.record(id)?.is_some() {
                        self.push(id);
                    }
                    self.join_orphans(id, work, stats)?;
                }
            }
        }
        Ok(())
    }

    /// Puts what the reply has not answered at the front of the queues again, in the same order: parents
    /// must not fall behind their children.
    fn requeue_unanswered(&mut self, asked: ExchangeRequest, reply: &ExchangeReply) {
        for &id in asked.wants.iter().skip(reply.records.len()).rev() {
            self.wants.push_front(id);
        }
        for question in asked.questions.into_iter().skip(reply.answers.len()).rev() {
            self.questions.push_front(question);
        }
    }

    fn queued(&self) -> usize {
        self.questions.len()
            + self.wants.len()
            + self.short_ids.len()
            + self.pushes.len()
            + self.requested_kids.len()
            + self.above.len()
    }

    /// The next request, or the end of the pass. `root` is the peer's root.
    fn next_step<V: ReadView>(
        &mut self,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        if self.questions.is_empty() && self.wants.is_empty() && self.short_ids.is_empty() {
            if !self.orphans.is_empty() {
                // No more records are in flight, so the missing parents will not arrive.
                self.drop_orphans(work);
            }
            self.push_withheld(work)?;
            if self.pushes.is_empty() {
                return self.end_of_pass(root, work, stats);
            }
        }
        self.next_request(work, stats).map(PhaseStep::Ask)
    }

    /// Everything that was found to differ has been exchanged: compares the roots.
    fn end_of_pass<V: ReadView>(
        &mut self,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, StorageError> {
        debug_assert!(
            self.questions.is_empty() && self.wants.is_empty() && self.short_ids.is_empty(),
            "a pass ends when nothing is left to ask"
        );
        debug_assert!(
            self.pushes.is_empty() && self.withheld.is_empty() && self.orphans.is_empty(),
            "a pass ends when nothing is left to push or to join"
        );
        let theirs = self.staging.as_ref().map_or(root, |staging| staging.boundary);
        let outcome = compare_roots(work, theirs)?;
        if matches!(outcome, Outcome::Converged { .. }) {
            return Ok(PhaseStep::End(outcome));
        }
        if self.opening == Opening::Walk && self.is_early && !self.foreign_writes {
            // A walk finds all that differs, and each further one would move the early records again.
            return Ok(PhaseStep::pending(RetryReason::ClockDrift));
        }
        self.pass += 1;
        if self.pass < MAX_PASSES {
            work.note_if(self.opening == Opening::Walk, Probe::SecondWalk);
            self.begin_walk(stats);
            return self.next_request(work, stats).map(PhaseStep::Ask);
        }
        Ok(PhaseStep::End(if self.foreign_writes || canary!(RemergedForEver) {
            outcome
        } else if let Some(reason) = self.deferred {
            Outcome::SyncPending(reason)
        } else {
            let ours = work.state.root_hash()?;
            Outcome::Failed(FailureReason::StillDiverged { ours, theirs })
        }))
    }

    /// Begins a walk from the root, for the differences that the opening has left or cannot see.
    fn begin_walk(&mut self, stats: &mut SessionStats) {
        // A walk that follows a walk has met colliding short digests, or changes during the walk.
        self.whole = self.opening == Opening::Walk;
        stats.walks += u64::from(self.opening != Opening::Walk);
        self.opening = Opening::Walk;
        self.ask_for_root();
        self.foreign_writes = false;
        self.deferred = None;
        self.is_early = false;
        self.requested_kids.clear();
        self.sampling = false;
    }
}

/// Checks that a reply can be one to this request.
fn check_form(reply: &ExchangeReply, asked: &ExchangeRequest) -> Result<(), ProtocolBreach> {
    if reply.answers.len() > asked.questions.len()
        || reply.records.len() > asked.wants.len()
        || reply.whole != asked.whole
    {
        return Err(ProtocolBreach::MoreAnswersThanQuestions);
    }
    let answered = reply.answers.len() + reply.records.len();
    if answered == 0 && asked.questions.len() + asked.wants.len() > 0 {
        return Err(ProtocolBreach::NoAnswer);
    }
    if reply.refused > 0 {
        return Err(ProtocolBreach::HonestRecordRefused);
    }
    Ok(())
}
