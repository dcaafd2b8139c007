//! What sketches, filters and samples tell of a difference, turned into wishes and gifts.

use super::super::{Outcome, OwedReason, SessionStats, Turn};
use super::{Exchange, Opening};
use crate::handshake::HandshakeReply;
use crate::message::WireRecord;
use crate::node_view::Probe;
use crate::question::Question;
use crate::sketch::{
    Cell, Difference, Names, Sieve, Sieved, Sketch, alone, branches, called, cells_wanted, plan, sift,
    tell_apart,
};
use crate::transaction::Transaction;
use std::collections::BTreeSet;
use syncline_storage::{Prefix, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, EntityId, limits};

/// Records that show where the rest of a difference lies.
const SAMPLES: usize = 12;
/// Ancestors of branches that are wished for beside them.
const MAX_ANCESTORS: usize = 64;

impl Exchange {
    /// Asks for what differs of the branches that a sample of the difference lies in: `cells` of the peer's
    /// from one place on. Where a sample tells nothing, a walk begins.
    pub(in crate::session) fn sampled<V: ReadView>(
        (from, cells): (usize, &[Cell]),
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Turn), StorageError> {
        let mut exchange = Self::new(Opening::Subtrees, work)?;
        let theirs = &reply.theirs;
        if theirs.horizon != work.state.horizon() {
            return Ok((exchange, Turn::End(Outcome::Owed(OwedReason::NewerWrites))));
        }
        stats.cells += cells.len() as u64;
        let key = work.sketch_key();
        // A sample is worth no look at the whole state.
        let ours = work.sketch()?.cells(from, cells.len()).unwrap_or_default().to_vec();
        let some = alone(key, from, &ours, cells).into_iter().take(SAMPLES).collect();
        let found = tell_apart(key, some, &mut work.state)?.unwrap_or_default();
        let mut parents = Vec::with_capacity(found.ours.len());
        for id in &found.ours {
            parents.extend(work.state.record(*id)?.map(|record| record.parent));
        }
        exchange.prefetch(&parents, work)?;
        if found.ours.is_empty() && !found.theirs.is_empty() {
            // Where they are, the records themselves will say.
            exchange.want_named(&Names::of(found.theirs.iter().map(|symbol| symbol.beginning())));
            exchange.sampling = true;
        } else if exchange.questions.is_empty() {
            exchange.ask_for_the_top();
        }
        let turn = exchange.next_turn(theirs.root_hash, work, stats)?;
        Ok((exchange, turn))
    }

    /// Asks for the branches that children of these lie in, whole, if they are few.
    fn prefetch<V: ReadView>(
        &mut self,
        parents: &[EntityId],
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let mut above = BTreeSet::new();
        for path in branches(parents, &mut work.state)? {
            if let Some(entity) = path.last() {
                self.questions.push_back(Question::Subtree {
                    entity: *entity,
                    prefix: Prefix::EMPTY,
                    after: None,
                });
            }
            above.extend((0..).zip(path));
        }
        // The peer may lack a branch itself.
        above.into_iter().take(MAX_ANCESTORS).for_each(|(_, id): (u32, _)| self.want(id));
        Ok(())
    }

    /// Records of a sample came: what lies around them is asked for next.
    pub(in crate::session) fn prefetch_around<V: ReadView>(
        &mut self,
        records: &[WireRecord],
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        if std::mem::take(&mut self.sampling) {
            let parent = |record: &WireRecord| Some(Record::from_bytes(&record.bytes).ok()?.parent);
            let parents: Vec<EntityId> = records.iter().filter_map(parent).collect();
            self.prefetch(&parents, work)?;
        }
        Ok(())
    }

    /// The peer lacks the records of these entities.
    pub(super) fn push_named<V: ReadView>(
        &mut self,
        names: &Names,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let mut found = Vec::new();
        for name in names.iter() {
            found.extend(called(name, &mut work.state)?);
        }
        self.push_in_order(found, work)
    }

    /// Gives these records, parents before children.
    fn push_in_order<V: ReadView>(
        &mut self,
        ids: Vec<EntityId>,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push((work.state.record(id)?.map_or(0, |record| record.depth), id));
        }
        found.sort_unstable();
        found.into_iter().for_each(|(_, id)| self.push(id));
        Ok(())
    }

    /// Everything that was on its way has come: what was withheld for it and did not meet it goes now.
    pub(super) fn push_withheld<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let left = std::mem::take(&mut self.withheld).into_iter().collect();
        self.push_in_order(left, work)
    }

    /// This is what differs. Of an entity that both have, but not the same record of, theirs comes.
    pub(super) fn take_difference(&mut self, difference: Difference, stats: &mut SessionStats) {
        let theirs = Names::of(difference.theirs.iter().map(|symbol| symbol.beginning()));
        stats.entities_compared += (difference.ours.len() + difference.theirs.len()) as u64;
        self.take_sides(difference.ours, &theirs);
    }

    fn take_sides(&mut self, ours: Vec<EntityId>, theirs: &Names) {
        for id in ours {
            if theirs.contains(id.prefix()) {
                self.withheld.insert(id);
            } else {
                self.push(id);
            }
        }
        self.want_named(theirs);
    }

    /// The difference is too large for the cells that a handshake may carry: asks with filters, or for the
    /// cells.
    pub(super) fn ask_for_more<V: ReadView>(
        &mut self,
        their_records: u64,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let stats = work.state.stats()?;
        self.questions.push_back(match plan([stats.records, their_records], self.difference) {
            Some(plan) => {
                let salt = stats.root.short() ^ their_records.rotate_left(32);
                Question::Sieve(Sieve::of(plan, salt, work.sketch_key(), &mut work.state)?)
            }
            None => {
                let count = usize::try_from(cells_wanted(self.difference)).unwrap_or(usize::MAX);
                let count = count.clamp(Sketch::HEAD, limits::MAX_CELLS) as u32;
                Question::Cells { from: 0, count }
            }
        });
        Ok(())
    }

    /// What came of our filter. What is not told is found by the walk that follows.
    pub(in crate::session) fn take_sieved<V: ReadView>(
        &mut self,
        ours: &Sieve,
        theirs: &Sieved,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        stats.cells += theirs.cells.len() as u64;
        let key = work.sketch_key();
        let (mut lacking, hidden) = sift(ours.salt(), theirs, key, &mut work.state)?;
        let mut names: Vec<u32> = theirs.absent.iter().collect();
        if let Some(hidden) = hidden
            && let Some(difference) = tell_apart(key, hidden, &mut work.state)?
        {
            for id in difference.ours {
                lacking.push((work.state.record(id)?.map_or(0, |record| record.depth), id));
            }
            names.extend(difference.theirs.iter().map(|symbol| symbol.beginning()));
        }
        stats.entities_compared += (lacking.len() + names.len()) as u64;
        lacking.sort_unstable();
        self.take_sides(lacking.into_iter().map(|(_, id)| id).collect(), &Names::of(names));
        Ok(())
    }

    /// Begins a walk at the top of the index.
    pub(super) fn ask_for_the_top(&mut self) {
        let top = Probe { entity: EntityId::ROOT, prefix: Prefix::EMPTY };
        self.questions.push_back(Question::Node(top));
        self.want(EntityId::ROOT);
    }
}
