//! Turning a difference that sketches, filters or samples have located into record requests and pushes.

use super::{Exchange, Opening};
use crate::messages::{HandshakeReply, Question, SyncHandshake, WireRecord};
use crate::session::{PhaseStep, ProtocolBreach, ReplyError, RetryReason, SessionStats};
use crate::sketch::{
    Cell, FilteredIblt, LocatedDifference, SetDifference, ShortIds, Sketch, SketchKey, SymbolFilter,
    attribute, branches, cells_to_request, decode_filtered, plan_filters, pure_symbols, with_short_id,
};
use crate::transaction::Transaction;
use std::collections::BTreeSet;
use syncline_storage::{Prefix, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, EntityId};

/// How many records of a sample are looked up.
const SAMPLES: usize = 12;
/// How many ancestors of prefetched branches are requested with them.
const MAX_ANCESTORS: usize = 64;

impl Exchange {
    /// Takes the difference that the responder has located.
    pub(super) fn take_located<V: ReadView>(
        &mut self,
        located: &LocatedDifference,
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        match located {
            LocatedDifference::Cells(cells) if cells.is_empty() => {
                self.ask_for_large_difference(theirs.entity_count, work)?;
            }
            LocatedDifference::Cells(cells) => self.take_cells(cells, work, stats)?,
            LocatedDifference::Found { records, wants } => {
                self.take_records(records, work, stats)?;
                self.push_short_ids(wants, work)?;
            }
            LocatedDifference::Sample { .. } => return Err(ProtocolBreach::SampleForWhole.into()),
        }
        Ok(())
    }

    /// Requests the branches that a sample of the difference lies in. The sample is a range of the peer's
    /// cells. Where it shows nothing, a walk begins.
    pub(in crate::session) fn sampled<V: ReadView>(
        (from, cells): (usize, &[Cell]),
        reply: &HandshakeReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, PhaseStep), StorageError> {
        let mut exchange = Self::new(Opening::Subtrees, work)?;
        let theirs = &reply.theirs;
        if theirs.horizon != work.state.horizon() {
            return Ok((exchange, PhaseStep::pending(RetryReason::NewerWrites)));
        }
        stats.cells += cells.len() as u64;
        let key = work.sketch_key();
        // Only stored cells are used: a sample is not worth a scan of the whole state.
        let ours = work.sketch()?.cells(from, cells.len()).unwrap_or_default().to_vec();
        let some = pure_symbols(key, from, &ours, cells).into_iter().take(SAMPLES).collect();
        let found = attribute(key, some, &mut work.state)?.unwrap_or_default();
        let mut parents = Vec::with_capacity(found.ours.len());
        for id in &found.ours {
            parents.extend(work.state.record(*id)?.map(|record| record.parent));
        }
        exchange.prefetch(&parents, work)?;
        if found.ours.is_empty() && !found.theirs.is_empty() {
            // Only the peer has the sampled records. Their parents are known once the records are here.
            exchange.want_short_ids(&short_ids_of(&found));
            exchange.sampling = true;
        } else if exchange.questions.is_empty() {
            exchange.ask_for_root();
        }
        let step = exchange.next_step(theirs.root_hash, work, stats)?;
        Ok((exchange, step))
    }

    /// Requests the branches that children of `parents` lie in, as whole subtrees, if they are few.
    fn prefetch<V: ReadView>(
        &mut self,
        parents: &[EntityId],
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let mut ancestors = BTreeSet::new();
        for path in branches(parents, &mut work.state)? {
            if let Some(entity) = path.last() {
                self.questions.push_back(Question::Subtree {
                    entity: *entity,
                    prefix: Prefix::EMPTY,
                    after: None,
                });
            }
            ancestors.extend((0u32..).zip(path));
        }
        // A subtree does not contain the record of its own root, which may differ as well. The set is
        // sorted by depth, so parents are requested before their children.
        ancestors.into_iter().take(MAX_ANCESTORS).for_each(|(_, id)| self.want(id));
        Ok(())
    }

    /// The records of a sample have arrived: requests the branches that they lie in.
    pub(super) fn prefetch_around<V: ReadView>(
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

    /// Pushes our records of the entities with these short ids, which the peer lacks.
    fn push_short_ids<V: ReadView>(
        &mut self,
        short_ids: &ShortIds,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let mut found = Vec::new();
        for short_id in short_ids.iter() {
            found.extend(with_short_id(short_id, &mut work.state)?);
        }
        self.push_in_order(found, work)
    }

    /// Pushes these records, parents before children.
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

    /// No more records of the peer are in flight. Pushes the withheld records of ours for which none has
    /// arrived.
    pub(super) fn push_withheld<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let left = std::mem::take(&mut self.withheld).into_iter().collect();
        self.push_in_order(left, work)
    }

    /// Takes the decoded difference.
    pub(super) fn take_difference(
        &mut self,
        key: SketchKey,
        difference: SetDifference,
        stats: &mut SessionStats,
    ) {
        stats.entities_compared += (difference.ours.len() + difference.theirs.len()) as u64;
        let theirs = short_ids_of(&difference);
        self.take_split(key, difference.ours, &theirs);
    }

    /// Requests the peer's records and pushes ours. Where both sides have a record with the same short id,
    /// it is probably the same entity: ours is withheld until the peer's has arrived.
    fn take_split(&mut self, key: SketchKey, ours: Vec<EntityId>, theirs: &ShortIds) {
        for id in ours {
            if theirs.contains(key.short_id(id)) {
                self.withheld.insert(id);
            } else {
                self.push(id);
            }
        }
        self.want_short_ids(theirs);
    }

    /// The difference is too large for the cells of a handshake: asks with a filter, or for more cells.
    fn ask_for_large_difference<V: ReadView>(
        &mut self,
        their_records: u64,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        let stats = work.state.stats()?;
        self.questions.push_back(match plan_filters([stats.records, their_records], self.difference) {
            Some(plan) => {
                let salt = stats.root.short() ^ their_records.rotate_left(32);
                Question::SymbolFilter(SymbolFilter::of(plan, salt, work.sketch_key(), &mut work.state)?)
            }
            None => {
                let count = usize::try_from(cells_to_request(self.difference)).unwrap_or(usize::MAX);
                let count = count.clamp(Sketch::HEAD, work.limits.cells_per_frame()) as u32;
                Question::Cells { from: 0, count }
            }
        });
        Ok(())
    }

    /// Takes the answer to our filter. The walk finds what it does not show.
    pub(super) fn take_filtered_iblt<V: ReadView>(
        &mut self,
        ours: &SymbolFilter,
        theirs: &FilteredIblt,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        stats.cells += theirs.cells.len() as u64;
        let key = work.sketch_key();
        let (mut lacking, hidden) = decode_filtered(ours.salt(), theirs, key, &mut work.state)?;
        let mut short_ids: Vec<u32> = theirs.absent.iter().collect();
        // The symbols are the false positives of both filters; the table over them may fail to decode.
        if let Some(hidden) = hidden
            && let Some(difference) = attribute(key, hidden, &mut work.state)?
        {
            for id in difference.ours {
                lacking.push((work.state.record(id)?.map_or(0, |record| record.depth), id));
            }
            short_ids.extend(difference.theirs.iter().map(|symbol| symbol.short_id()));
        }
        stats.entities_compared += (lacking.len() + short_ids.len()) as u64;
        lacking.sort_unstable();
        self.take_split(key, lacking.into_iter().map(|(_, id)| id).collect(), &ShortIds::of(short_ids));
        Ok(())
    }
}

fn short_ids_of(difference: &SetDifference) -> ShortIds {
    ShortIds::of(difference.theirs.iter().map(|symbol| symbol.short_id()))
}
