//! The exchange of records: the common body of all protocols that compare two states.
//!
//! A protocol is the question it begins with ([`Opening`]). What the answers show to differ is asked
//! for, and what only we have is brought along, in the same rounds. Records merge on arrival; a
//! merged record that says more than the peer's goes back. So one session makes both sides equal.
//! When nothing more is known to differ, roots are compared; if they are not equal, whatever the
//! opening missed is found by a walk down the index.

mod locating;
mod taking;

use super::{FailureReason, Outcome, OwedReason, SessionStats, Turn, compare_roots};
use crate::filter::Filter;
use crate::handshake::HandshakeReply;
use crate::message::{ExchangeReply, ExchangeRequest, Request, WireRecord};
use crate::node_view::{Fingerprint, Probe, brief};
use crate::question::Question;
use crate::sketch::{Cell, Located, Names, Symbol};
use crate::transaction::Transaction;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use syncline_storage::{ApplyContext, Entry, Node, Prefix, Record, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId, Hlc, canary, limits};

/// Rounds over the whole tree before the rest is left to a next session.
const MAX_PASSES: u32 = 5;
/// Questions, wishes and gifts waiting at once.
const MAX_QUEUE: usize = 1 << 20;
/// Bytes of records that may wait for their parents.
const MAX_ORPHAN_BYTES: usize = 16 << 20;
/// Times that more cells are asked for, half as many again each, before a walk finds what they do not tell.
const MAX_CELL_PAGES: u32 = 3;
/// Pages of subtrees after which the rest is compared rather than sent.
const MAX_SUBTREE_PAGES: u32 = 64;
/// Rounds without a record moved after which a peer is leading us about. A chain as deep as a tree may
/// be needs one for each level.
const MAX_IDLE_ROUNDS: u64 = limits::MAX_ANCESTORS as u64 + 256;
/// Differing branches up to which each is asked for whole by a prefetch of subtrees.
const FEW_SUBTREES: usize = 5;

/// What an exchange begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// HashComparison: the top of the index.
    Walk,
    /// LevelWise: all children of the root, then of all that differ, level by level.
    Levels,
    /// SubtreePrefetch: the top of the index, then the whole of each of a few branches that differ.
    Subtrees,
    /// RatelessIblt: the cells that came with the handshake.
    Sketch,
    /// BloomFilter: a filter over all our records, with so many bits.
    Filter {
        /// How many.
        bits: u64,
    },
}

/// What to bring to the peer.
#[derive(Clone, PartialEq, Debug)]
enum Push {
    /// One record.
    One(EntityId),
    /// Children of an entity, with all below them.
    Subtree(Subtree),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Exchange {
    opening: Opening,
    questions: VecDeque<Question>,
    wants: VecDeque<EntityId>,
    /// Names of entities whose records are wished for.
    names: VecDeque<u32>,
    /// What hangs below some of those.
    below: BTreeMap<Symbol, Option<Fingerprint>>,
    /// Records of ours of which another may be on its way from the peer: what ours says beyond that goes
    /// back then.
    withheld: BTreeSet<EntityId>,
    /// Records that are on their way will show where to prefetch.
    sampling: bool,
    pushes: VecDeque<Push>,
    asked: ExchangeRequest,
    pass: u32,
    /// Whether hashes must be whole: short ones did not lead to equal roots.
    whole: bool,
    /// Somebody else wrote to one of the two states during this pass.
    foreign_writes: bool,
    /// A record was not accepted yet, and why: one side's clock, a parent that is not here, a merge
    /// function that is not registered.
    pub(super) deferred: Option<OwedReason>,
    local_generation: u64,
    remote_generation: Option<u64>,
    subtree_pages: u32,
    /// The peer's cells so far.
    cells: Vec<Cell>,
    cell_pages: u32,
    /// Records whose parents have not come yet, by those.
    orphans: BTreeMap<EntityId, Vec<WireRecord>>,
    orphan_bytes: usize,
    /// About how many records differ, if the responder said.
    difference: u64,
    /// Rounds in a row that brought nothing to either side.
    idle_rounds: u64,
    /// Set if our state is not shown yet and the peer's is past: a snapshot that is being received.
    pub(super) aside: Option<Aside>,
}

/// An exchange with a past state of the peer's. Nothing can be given to that; what comes is judged by our
/// clock only once it is shown.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Aside {
    /// The root of the peer's state.
    pub(super) boundary: Digest,
    /// Records that came and are ahead of our clock.
    pub(super) early: Vec<EntityId>,
    /// The latest stamp of the others.
    pub(super) latest: Hlc,
}

impl Aside {
    /// Takes note of a record that came, and says by which clock to join it: by none.
    pub(super) fn take(&mut self, id: EntityId, record: &Record, context: &ApplyContext) -> ApplyContext {
        match record.check_drift(context.moment, context.max_drift_ms) {
            Ok(()) => self.latest = self.latest.max(record.latest_stamp()),
            Err(_) => self.early.push(id),
        }
        ApplyContext { max_drift_ms: u64::MAX, ..*context }
    }
}

impl Exchange {
    /// Begins, with a peer whose root is `remote_root`.
    pub(super) fn start<V: ReadView>(
        opening: Opening,
        remote_root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Request), StorageError> {
        let mut exchange = Self::new(opening, work)?;
        exchange.wants.push_back(EntityId::ROOT);
        let ours = work.state.stats()?;
        let top = Question::Node(Probe { entity: EntityId::ROOT, prefix: Prefix::EMPTY });
        exchange.questions.push_back(match opening {
            Opening::Walk | Opening::Subtrees | Opening::Sketch => top,
            Opening::Levels => Question::Children { entity: EntityId::ROOT, after: None },
            Opening::Filter { bits } => {
                let mut filter = Filter::new(bits, ours.root.short() ^ remote_root.short().rotate_left(32));
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
            names: VecDeque::new(),
            below: BTreeMap::new(),
            withheld: BTreeSet::new(),
            sampling: false,
            pushes: VecDeque::new(),
            asked: ExchangeRequest::default(),
            pass: 0,
            whole: false,
            foreign_writes: false,
            deferred: None,
            local_generation: work.state.stats()?.generation,
            remote_generation: None,
            subtree_pages: 0,
            cells: Vec::new(),
            cell_pages: 0,
            orphans: BTreeMap::new(),
            orphan_bytes: 0,
            difference: 0,
            idle_rounds: 0,
            aside: None,
        })
    }

    /// Begins with what the answer to the handshake told of the difference.
    pub(super) fn located<V: ReadView>(
        located: &Located,
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Turn), StorageError> {
        let mut exchange = Self::new(Opening::Sketch, work)?;
        let theirs = &reply.theirs;
        exchange.difference = reply.difference.unwrap_or_default();
        if theirs.horizon != work.state.horizon() {
            return Ok((exchange, Turn::End(Outcome::Owed(OwedReason::NewerWrites))));
        }
        let broken = match located {
            Located::Cells(cells) if cells.is_empty() => {
                exchange.ask_for_more(theirs.entity_count, work)?;
                Ok(())
            }
            Located::Cells(cells) => exchange.take_cells(cells, work, stats)?,
            Located::Found { records, wants } => {
                let taken = exchange.take_records(records, work, stats)?;
                exchange.push_named(wants, work)?;
                taken
            }
            Located::Sample { .. } => Err("a sample for the whole"),
        };
        if let Err(broken) = broken {
            return Ok((exchange, fail(broken)));
        }
        exchange.local_generation = work.state.stats()?.generation;
        let turn = exchange.next_turn(theirs.root_hash, work, stats)?;
        Ok((exchange, turn))
    }

    /// What the opening left, or could not see: a walk from the top.
    fn begin_walk(&mut self, stats: &mut SessionStats) {
        self.whole = self.opening == Opening::Walk;
        stats.walks += u64::from(self.opening != Opening::Walk);
        self.opening = Opening::Walk;
        self.ask_for_the_top();
        (self.foreign_writes, self.deferred) = (false, None);
        self.below.clear();
        self.sampling = false;
    }

    pub(super) fn on_reply<V: ReadView>(
        &mut self,
        reply: &ExchangeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let asked = std::mem::take(&mut self.asked);
        let asked_pushes_empty = asked.pushes.is_empty();
        if reply.answers.len() > asked.questions.len()
            || reply.records.len() > asked.wants.len()
            || reply.whole != asked.whole
        {
            return Ok(fail("more answers than questions"));
        }
        let answered = reply.answers.len() + reply.records.len();
        if answered == 0 && asked.questions.len() + asked.wants.len() > 0 {
            return Ok(fail("no answer to any question"));
        }
        if reply.refused > 0 {
            return Ok(fail("an honest record was refused"));
        }
        if reply.horizon != work.state.horizon() && self.aside.is_none() {
            // One side has forgotten meanwhile what the other has not: the next handshake settles that.
            return Ok(Turn::End(Outcome::Owed(OwedReason::NewerWrites)));
        }
        let local = work.state.stats()?.generation;
        self.foreign_writes |= local != self.local_generation;
        // A request that was sent twice may find its own first coming and take it for another's: then
        // a next session is owed that need not be, which is the harmless mistake.
        self.foreign_writes |= self.remote_generation.is_some_and(|known| known != reply.generation_before);
        self.remote_generation = Some(reply.generation_after);
        if reply.deferred > 0 {
            self.deferred.get_or_insert(OwedReason::ClockDrift);
        }

        for (&id, record) in asked.wants.iter().zip(&reply.records) {
            match record {
                Some(bytes) => {
                    if let Err(broken) = self.take_record(id, bytes, work, stats)? {
                        return Ok(fail(broken));
                    }
                }
                None if work.state.record(id)?.is_some() => self.pushes.push_back(Push::One(id)),
                None => {}
            }
        }
        for (question, answer) in asked.questions.iter().zip(&reply.answers) {
            if let Err(broken) = self.compare(question, answer, work, stats)? {
                return Ok(fail(broken));
            }
        }
        // What was not answered comes first again: parents must not fall behind their children.
        for &id in asked.wants.iter().skip(reply.records.len()).rev() {
            self.wants.push_front(id);
        }
        for question in asked.questions.into_iter().skip(reply.answers.len()).rev() {
            self.questions.push_front(question);
        }
        let moved = !asked_pushes_empty || work.state.stats()?.generation != self.local_generation;
        self.idle_rounds = if moved { 0 } else { self.idle_rounds + 1 };
        if self.idle_rounds > MAX_IDLE_ROUNDS {
            return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
        }
        if self.questions.len() + self.wants.len() + self.names.len() + self.pushes.len() + self.below.len()
            > MAX_QUEUE
        {
            return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
        }
        let turn = self.next_turn(reply.root, work, stats)?;
        self.local_generation = work.state.stats()?.generation;
        Ok(turn)
    }

    /// The next request, or the end of a pass; `root` is the peer's.
    fn next_turn<V: ReadView>(
        &mut self,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        if self.questions.is_empty() && self.wants.is_empty() && self.names.is_empty() {
            if !self.orphans.is_empty() {
                // All parents that come have come.
                self.drop_orphans();
            }
            self.push_withheld(work)?;
            if self.pushes.is_empty() {
                return self.end_of_pass(root, work, stats);
            }
        }
        self.next_request(work, stats).map(Turn::Ask)
    }

    /// Everything found to differ was exchanged: are the states equal now?
    fn end_of_pass<V: ReadView>(
        &mut self,
        root: Digest,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let theirs = self.aside.as_ref().map_or(root, |aside| aside.boundary);
        let outcome = compare_roots(work, theirs)?;
        if matches!(outcome, Outcome::Converged { .. }) {
            return Ok(Turn::End(outcome));
        }
        self.pass += 1;
        if self.pass < MAX_PASSES {
            self.begin_walk(stats);
            return self.next_request(work, stats).map(Turn::Ask);
        }
        Ok(Turn::End(if self.foreign_writes || canary!(RemergedForEver) {
            outcome
        } else if let Some(reason) = self.deferred {
            Outcome::Owed(reason)
        } else {
            let ours = work.state.root_hash()?;
            Outcome::Failed(FailureReason::StillDiverged { ours, theirs })
        }))
    }

    /// A record of the peer's differs from ours, or we have none.
    pub(super) fn want(&mut self, id: EntityId) {
        self.wants.push_back(id);
    }

    /// Records of the peer's that are known by their names.
    pub(super) fn want_named(&mut self, names: &Names) {
        self.names.extend(names.iter());
    }

    /// A record of the peer's that is known by its symbol, with what hangs below it at the peer's.
    pub(super) fn want_child(&mut self, symbol: Symbol, kids: Option<Fingerprint>) {
        self.names.push_back(symbol.beginning());
        self.below.insert(symbol, kids);
    }

    /// The peer lacks this record, or has another.
    pub(super) fn push(&mut self, id: EntityId) {
        self.pushes.push_back(Push::One(id));
    }

    /// The peer has no children of `entity` from `from` to `to`.
    pub(super) fn push_range<V: ReadView>(
        &mut self,
        entity: EntityId,
        from: EntityId,
        to: EntityId,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        if from <= to && !work.state.children_between(entity, from, to, 1)?.is_empty() {
            self.pushes.push_back(Push::Subtree(Subtree::of_children(entity, from, to)));
        }
        Ok(())
    }

    /// The children of `entity` under `prefix` differ.
    pub(super) fn descend(&mut self, entity: EntityId, prefix: Prefix) {
        self.questions.push_back(match self.opening {
            Opening::Levels if prefix.is_empty() => Question::Children { entity, after: None },
            _ => Question::Node(Probe { entity, prefix }),
        });
    }

    /// An answer was not all: asks for the rest. A subtree that goes on and on is compared instead.
    pub(super) fn go_on(&mut self, question: Question) {
        if let Question::Subtree { entity, prefix, .. } = question {
            self.subtree_pages += 1;
            if self.subtree_pages > MAX_SUBTREE_PAGES {
                self.opening = Opening::Walk;
                self.questions.push_front(Question::Node(Probe { entity, prefix }));
                return;
            }
        }
        self.questions.push_front(question);
    }

    /// Fills the next request: everything that is known to be needed, up to a page.
    fn next_request<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Request, StorageError> {
        let count = self.questions.len();
        let prefetch = self.opening == Opening::Subtrees && count <= FEW_SUBTREES;
        let mut questions = Vec::with_capacity(count.min(limits::MAX_QUESTIONS));
        for question in self.questions.drain(..count.min(limits::MAX_QUESTIONS - 1)) {
            questions.push(match question {
                // Parts of a wide collection are compared first; what differs in them is then all that is wanted.
                Question::Node(Probe { entity, prefix })
                    if prefetch && prefix.is_empty() && entity != EntityId::ROOT =>
                {
                    Question::Subtree { entity, prefix, after: None }
                }
                Question::Node(probe) if !self.whole => beside(probe, work)?,
                question => question,
            });
        }
        if !self.names.is_empty() {
            let few = self.names.len().min(limits::MAX_RECORDS_PER_FRAME);
            questions.push(Question::Named(Names::of(self.names.drain(..few))));
        }
        let wants = self.wants.drain(..self.wants.len().min(limits::MAX_RECORDS_PER_FRAME)).collect();
        let horizon = work.state.horizon();
        let mut asked = ExchangeRequest { whole: self.whole, horizon, questions, wants, pushes: Vec::new() };
        let mut bytes = 0;
        if canary!(PullOnly) || self.aside.is_some() {
            self.pushes.clear();
        }
        while bytes < limits::PAGE_BYTES && asked.pushes.len() < limits::MAX_RECORDS_PER_FRAME {
            let id = match self.pushes.front_mut() {
                None => break,
                Some(Push::One(id)) => {
                    let id = *id;
                    self.pushes.pop_front();
                    id
                }
                Some(Push::Subtree(subtree)) => match subtree.next(&mut work.state)? {
                    Some(Entry { id, .. }) => id,
                    None => {
                        self.pushes.pop_front();
                        continue;
                    }
                },
            };
            if let Some(record) = work.state.record(id)? {
                let record = record.to_bytes();
                bytes += record.len() + 32;
                stats.bytes += record.len() as u64;
                asked.pushes.push(WireRecord { id, bytes: record.into() });
                stats.records_pushed += 1;
            }
        }
        self.asked = asked.clone();
        Ok(Request::Exchange(asked))
    }
}

/// A question about a node, with our own node beside it if we have one there.
fn beside<V: ReadView>(probe: Probe, work: &mut Transaction<V>) -> Result<Question, StorageError> {
    Ok(match work.state.node(probe.entity, probe.prefix)? {
        Some(Node::Inner { slots, .. }) => Question::Compare { probe, ours: Box::new(slots.map(brief)) },
        _ => Question::Node(probe),
    })
}

fn fail(what: &'static str) -> Turn {
    Turn::End(Outcome::Failed(FailureReason::Protocol(what)))
}
