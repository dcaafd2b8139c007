//! HashComparison: a walk down the differing parts of the Merkle index.
//!
//! Each round asks for all differing nodes of a level at once, for the records that differ, and
//! brings along what only we have. Records merge on arrival; a merged record that says more than
//! the peer's goes back. So one session makes both sides equal.

use super::{FailureReason, Outcome, OwedReason, SessionStats, Turn, compare_roots};
use crate::message::{Request, WalkReply, WalkRequest, WireRecord};
use crate::node_view::{NodeView, Probe, SlotView, WireEntry};
use crate::transaction::Transaction;
use std::collections::VecDeque;
use syncline_storage::{ApplyError, Disposition, Prefix, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, Encode, EntityId, canary, limits};

/// Rounds over the whole tree before the rest is left to a next session.
const MAX_PASSES: u32 = 4;
/// Probes and wishes waiting at once.
const MAX_QUEUE: usize = 1 << 20;
/// Few enough probes that each may be answered with the inner nodes of another level.
const FEW_PROBES: usize = 16;
/// Records from which the first answer shows a second level.
const LARGE_STATE: u64 = 512;

/// What to bring to the peer.
#[derive(Clone, PartialEq, Debug)]
enum Push {
    /// One record.
    One(EntityId),
    /// All children of `entity` in a range of ids, with all below them.
    Range { entity: EntityId, from: EntityId, to: EntityId },
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Walk {
    probes: VecDeque<Probe>,
    wants: VecDeque<EntityId>,
    pushes: VecDeque<Push>,
    asked: WalkRequest,
    pass: u32,
    /// Somebody else wrote to one of the two states during this pass.
    foreign_writes: bool,
    /// A record was not accepted yet by one side's clock or for want of its parent.
    deferred: bool,
    local_generation: u64,
    remote_generation: Option<u64>,
}

impl Walk {
    pub(super) fn start<V: ReadView>(
        entity_count: u64,
        work: &mut Transaction<V>,
    ) -> Result<(Self, Request), StorageError> {
        let mut walk = Self {
            probes: VecDeque::new(),
            wants: VecDeque::new(),
            pushes: VecDeque::new(),
            asked: WalkRequest::default(),
            pass: 0,
            foreign_writes: false,
            deferred: false,
            local_generation: work.state.stats()?.generation,
            remote_generation: None,
        };
        walk.begin_pass(u8::from(entity_count > LARGE_STATE));
        let request = walk.next_request(work, &mut SessionStats::default())?;
        Ok((walk, request))
    }

    fn begin_pass(&mut self, levels: u8) {
        self.probes.push_back(Probe { entity: EntityId::ROOT, prefix: Prefix::EMPTY, levels });
        self.wants.push_back(EntityId::ROOT);
        (self.foreign_writes, self.deferred) = (false, false);
    }

    pub(super) fn on_reply<V: ReadView>(
        &mut self,
        reply: &WalkReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let asked = std::mem::take(&mut self.asked);
        if reply.nodes.len() > asked.probes.len()
            || reply.records.len() > asked.wants.len()
            || reply.whole != asked.whole
        {
            return Ok(fail("more answers than questions"));
        }
        let answered = reply.nodes.len() + reply.records.len();
        if answered == 0 && asked.probes.len() + asked.wants.len() > 0 {
            return Ok(fail("no answer to any question"));
        }
        if reply.refused > 0 {
            return Ok(fail("an honest record was refused"));
        }
        let local = work.state.stats()?.generation;
        self.foreign_writes |= local != self.local_generation;
        // A request that was sent twice may find its own first coming and take it for another's: then
        // a next session is owed that need not be, which is the harmless mistake.
        self.foreign_writes |= self.remote_generation.is_some_and(|known| known != reply.generation_before);
        self.remote_generation = Some(reply.generation_after);
        self.deferred |= reply.deferred > 0;

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
        for (&probe, view) in asked.probes.iter().zip(&reply.nodes) {
            self.compare(probe, view, work, stats)?;
        }
        // What was not answered comes first again: parents must not fall behind their children.
        for &id in asked.wants.iter().skip(reply.records.len()).rev() {
            self.wants.push_front(id);
        }
        for &probe in asked.probes.iter().skip(reply.nodes.len()).rev() {
            self.probes.push_front(probe);
        }
        if self.probes.len() + self.wants.len() + self.pushes.len() > MAX_QUEUE {
            return Ok(Turn::End(Outcome::Failed(FailureReason::TooLong)));
        }
        self.local_generation = work.state.stats()?.generation;
        if self.probes.is_empty() && self.wants.is_empty() && self.pushes.is_empty() {
            return self.end_of_pass(reply, work, stats);
        }
        self.next_request(work, stats).map(Turn::Ask)
    }

    /// Everything found to differ was exchanged: are the states equal now?
    fn end_of_pass<V: ReadView>(
        &mut self,
        reply: &WalkReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let outcome = compare_roots(work, reply.root)?;
        if matches!(outcome, Outcome::Converged { .. }) {
            return Ok(Turn::End(outcome));
        }
        self.pass += 1;
        if self.pass < MAX_PASSES {
            self.begin_pass(0);
            return self.next_request(work, stats).map(Turn::Ask);
        }
        Ok(Turn::End(if self.foreign_writes {
            outcome
        } else if self.deferred {
            Outcome::Owed(OwedReason::ClockDrift)
        } else {
            let ours = work.state.root_hash()?;
            Outcome::Failed(FailureReason::StillDiverged { ours, theirs: reply.root })
        }))
    }

    /// Joins a record of the peer's; what we know beyond it goes back.
    fn take_record<V: ReadView>(
        &mut self,
        id: EntityId,
        bytes: &[u8],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Result<(), &'static str>, StorageError> {
        let Ok(record) = Record::from_bytes(bytes) else { return Ok(Err("a record that does not decode")) };
        match work.state.merge_record(id, &record, &work.context) {
            Ok(_) => stats.records_received += 1,
            Err(ApplyError::Storage(error)) => return Err(error),
            Err(error) if error.disposition() == Disposition::RetryLater => {
                self.deferred = true;
                return Ok(Ok(()));
            }
            Err(_) => return Ok(Err("a record that breaks a rule")),
        }
        if work.state.record(id)?.is_some_and(|own| *own != record) {
            self.pushes.push_back(Push::One(id));
        }
        Ok(Ok(()))
    }

    fn compare<V: ReadView>(
        &mut self,
        probe: Probe,
        view: &NodeView,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let Probe { entity, prefix, .. } = probe;
        match view {
            NodeView::Absent => self.push_range(entity, prefix.first_id(), prefix.last_id(), work),
            NodeView::Bucket(entries) => self.compare_bucket(probe, entries, work, stats),
            NodeView::Inner(slots) => {
                for (nibble, slot) in (0u8..).zip(slots) {
                    let below = Probe { prefix: prefix.child(nibble), levels: 0, ..probe };
                    match slot {
                        SlotView::Empty => {
                            self.push_range(entity, below.prefix.first_id(), below.prefix.last_id(), work)?;
                        }
                        SlotView::Hash(hash) => {
                            if !hash.matches(work.state.hash_at(entity, below.prefix)?) {
                                self.probes.push_back(below);
                            }
                        }
                        SlotView::Node(node) => self.compare(below, node, work, stats)?,
                    }
                }
                Ok(())
            }
        }
    }

    fn compare_bucket<V: ReadView>(
        &mut self,
        probe: Probe,
        entries: &[WireEntry],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let Probe { entity, prefix, .. } = probe;
        let mut from = Some(prefix.first_id());
        for theirs in entries.iter().filter(|entry| prefix.contains(entry.id)) {
            stats.entities_compared += 1;
            if let (Some(from), Some(to)) = (from, before(theirs.id)) {
                self.push_range(entity, from, to, work)?;
            }
            from = after(theirs.id);
            let ours = work.state.children_between(entity, theirs.id, theirs.id, 1)?.pop();
            if !ours.is_some_and(|ours| theirs.own.matches(ours.own)) {
                self.wants.push_back(theirs.id);
            }
            let own_kids = ours.map(|ours| ours.kids).unwrap_or_default();
            let kids_differ = match &theirs.kids {
                Some(kids) => !kids.matches(own_kids),
                None => !own_kids.is_zero(),
            };
            if kids_differ {
                self.probes.push_back(Probe { entity: theirs.id, prefix: Prefix::EMPTY, levels: 0 });
            }
        }
        match from {
            Some(from) => self.push_range(entity, from, prefix.last_id(), work),
            None => Ok(()),
        }
    }

    fn push_range<V: ReadView>(
        &mut self,
        entity: EntityId,
        from: EntityId,
        to: EntityId,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        if from <= to && !work.state.children_between(entity, from, to, 1)?.is_empty() {
            self.pushes.push_back(Push::Range { entity, from, to });
        }
        Ok(())
    }

    /// Fills the next request: everything that is known to be needed, up to a page.
    fn next_request<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Request, StorageError> {
        let few = self.probes.len() <= FEW_PROBES;
        let probes = self.probes.drain(..self.probes.len().min(limits::MAX_PROBES));
        let probes = probes.map(|probe| Probe {
            levels: probe.levels.max(u8::from(few && !probe.prefix.is_empty())),
            ..probe
        });
        let mut asked =
            WalkRequest { whole: self.pass > 0, probes: probes.collect(), ..WalkRequest::default() };
        asked.wants = self.wants.drain(..self.wants.len().min(limits::MAX_RECORDS_PER_FRAME)).collect();
        let mut bytes = 0;
        if canary!(PullOnly) {
            self.pushes.clear();
        }
        while bytes < limits::PAGE_BYTES && asked.pushes.len() < limits::MAX_RECORDS_PER_FRAME {
            let Some(push) = self.pushes.pop_front() else { break };
            let id = match push {
                Push::One(id) => id,
                Push::Range { entity, from, to } => {
                    let Some(entry) = work.state.children_between(entity, from, to, 1)?.pop() else {
                        continue;
                    };
                    if let Some(from) = after(entry.id).filter(|from| *from <= to) {
                        self.pushes.push_front(Push::Range { entity, from, to });
                    }
                    if !entry.kids.is_zero() {
                        let (from, to) = (EntityId::ROOT, EntityId([0xff; 32]));
                        self.pushes.push_back(Push::Range { entity: entry.id, from, to });
                    }
                    entry.id
                }
            };
            if let Some(record) = work.state.record(id)? {
                let record = record.to_bytes();
                bytes += record.len() + 32;
                asked.pushes.push(WireRecord { id, bytes: record.into() });
                stats.records_pushed += 1;
            }
        }
        self.asked = asked.clone();
        Ok(Request::Walk(asked))
    }
}

fn fail(what: &'static str) -> Turn {
    Turn::End(Outcome::Failed(FailureReason::Protocol(what)))
}

fn after(id: EntityId) -> Option<EntityId> {
    step(id, u8::MAX, |byte| byte.wrapping_add(1))
}

fn before(id: EntityId) -> Option<EntityId> {
    step(id, 0, |byte| byte.wrapping_sub(1))
}

/// Moves `id` by one, carrying over bytes that hold `carry`; `None` past the end.
fn step(id: EntityId, carry: u8, next: impl Fn(u8) -> u8) -> Option<EntityId> {
    let mut bytes = id.0;
    for byte in bytes.iter_mut().rev() {
        let carries = *byte == carry;
        *byte = next(*byte);
        if !carries {
            return Some(EntityId(bytes));
        }
    }
    None
}
