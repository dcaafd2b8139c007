//! What an answer says of the difference between two states.

use super::SessionStats;
use super::exchange::Exchange;
use crate::filter::Filter;
use crate::message::WireRecord;
use crate::node_view::{BriefEntry, NodeView, Probe, SlotView, WireEntry};
use crate::question::{Answer, Question};
use crate::sketch::{Names, Symbol, entity as find};
use crate::transaction::Transaction;
use std::collections::{BTreeMap, BTreeSet};
use syncline_storage::{Entry, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{EntityId, limits};

/// Children that are compared one by one with a bucket of the peer's.
const MANY: usize = 128;

/// The inner error says what the peer did wrong.
type Compared = Result<Result<(), &'static str>, StorageError>;

impl Exchange {
    /// Notes what `answer` shows to differ.
    pub(super) fn compare<V: ReadView>(
        &mut self,
        question: &Question,
        answer: &Answer,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Compared {
        match (question, answer) {
            (Question::Node(probe) | Question::Compare { probe, .. }, Answer::Node(view)) => {
                self.compare_node(*probe, view, work, stats).map(Ok)
            }
            (Question::Subtree { entity, prefix, after: None }, Answer::Node(view)) => {
                let probe = Probe { entity: *entity, prefix: *prefix };
                self.compare_node(probe, view, work, stats).map(Ok)
            }
            (Question::Children { entity, after }, Answer::Children { entries, complete }) => {
                let after = *after;
                if entries.first().is_some_and(|first| Some(first.id) <= after)
                    || entries.is_empty() && !complete
                {
                    return Ok(Err("children out of order"));
                }
                let last = entries.last().map(|last| last.id).filter(|_| !complete);
                if let Some(from) = after.map_or(Some(EntityId::ROOT), EntityId::successor) {
                    let to = last.unwrap_or(EntityId::LAST);
                    self.compare_children(*entity, (from, to), entries, work, stats)?;
                }
                if last.is_some() {
                    self.go_on(Question::Children { entity: *entity, after: last });
                }
                Ok(Ok(()))
            }
            (Question::Subtree { entity, prefix, after }, Answer::Subtree { records, complete }) => {
                if records.is_empty() && !complete {
                    return Ok(Err("an empty page of a subtree"));
                }
                let taken = self.take_subtree((*entity, *prefix, *after), records, *complete, work, stats)?;
                if let Some(last) = records.last().filter(|_| !complete) {
                    if Some(last.id) == *after {
                        return Ok(Err("a page of a subtree that leads nowhere"));
                    }
                    self.go_on(Question::Subtree { entity: *entity, prefix: *prefix, after: Some(last.id) });
                }
                Ok(taken)
            }
            (Question::Missing(_), Answer::Missing { ids, filter }) => {
                self.take_missing(ids, filter, work, stats).map(Ok)
            }
            (Question::Cells { count, .. }, Answer::Cells(cells)) => {
                if cells.len() > *count as usize {
                    return Ok(Err("more cells than asked for"));
                }
                self.take_cells(cells, work, stats)
            }
            (Question::Named(names), Answer::Records { records, complete }) => {
                if !complete {
                    let came = Names::of(records.iter().map(|record| record.id.prefix()));
                    let left = Names::of(names.iter().filter(|name| !came.contains(*name)));
                    if left.len() == names.len() {
                        return Ok(Err("a page of other records"));
                    }
                    self.want_named(&left);
                }
                let taken = self.take_records(records, work, stats)?;
                self.prefetch_around(records, work)?;
                Ok(taken)
            }
            (Question::Sieve(ours), Answer::Sieved(theirs)) => {
                self.take_sieved(ours, theirs, work, stats).map(Ok)
            }
            _ => Ok(Err("an answer of another kind")),
        }
    }

    fn compare_node<V: ReadView>(
        &mut self,
        probe: Probe,
        view: &NodeView,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let Probe { entity, prefix, .. } = probe;
        match view {
            NodeView::Absent => self.push_range(entity, prefix.first_id(), prefix.last_id(), work),
            NodeView::Bucket(entries) => {
                let range = (prefix.first_id(), prefix.last_id());
                self.compare_children(entity, range, entries, work, stats)
            }
            NodeView::Brief(entries) => self.compare_brief(probe, entries, work, stats),
            NodeView::Inner(slots) => {
                for (nibble, slot) in (0u8..).zip(slots) {
                    let below = Probe { prefix: prefix.child(nibble), ..probe };
                    match slot {
                        SlotView::Empty => {
                            self.push_range(entity, below.prefix.first_id(), below.prefix.last_id(), work)?;
                        }
                        SlotView::Hash(hash) => {
                            // An id has no more digits than a full prefix: there is nothing below.
                            let deeper = prefix.len() < Prefix::MAX_LEN;
                            if deeper && !hash.matches(work.state.hash_at(entity, below.prefix)?) {
                                self.descend(entity, below.prefix);
                            }
                        }
                        SlotView::Node(node) => self.compare_node(below, node, work, stats)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// `entries` are all children under a prefix that the peer has, in short.
    fn compare_brief<V: ReadView>(
        &mut self,
        Probe { entity, prefix, .. }: Probe,
        entries: &[BriefEntry],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let (key, first, last) = (work.sketch_key(), prefix.first_id(), prefix.last_id());
        let few = work.state.children_between(entity, first, last, MANY + 1)?;
        let mut ours = BTreeMap::new();
        if few.len() <= MANY {
            ours.extend(few.iter().map(|entry| (key.symbol(entry.id, entry.own), *entry)));
        } else {
            // They have a bucket where we have many: only those of ours that they name are looked at.
            for BriefEntry { symbol, .. } in entries {
                if let Some(id) = find(key, *symbol, &mut work.state)?
                    && let Some(entry) = work.state.entry(id)?
                {
                    ours.insert(*symbol, entry);
                }
            }
        }
        let mut named = BTreeSet::new();
        for BriefEntry { symbol, kids } in entries {
            stats.entities_compared += 1;
            let Some(own) = ours.get(symbol) else {
                self.want_child(*symbol, *kids);
                named.insert(symbol.beginning());
                continue;
            };
            let kids_differ = kids.map_or_else(|| !own.kids.is_zero(), |kids| !kids.matches(own.kids));
            if kids_differ {
                self.descend(own.id, Prefix::EMPTY);
            }
        }
        if few.len() <= MANY {
            let theirs: BTreeSet<Symbol> = entries.iter().map(|entry| entry.symbol).collect();
            for (symbol, own) in &ours {
                // Of an entity that both have, the peer's record comes, and what ours says beyond it goes.
                if !theirs.contains(symbol) && !named.contains(&symbol.beginning()) {
                    self.push_range(entity, own.id, own.id, work)?;
                }
            }
            return Ok(());
        }
        let mut from = Some(first);
        let mut known: Vec<EntityId> = ours.values().map(|entry| entry.id).collect();
        known.sort_unstable();
        for id in known {
            if let (Some(from), Some(to)) = (from, id.predecessor()) {
                self.push_range(entity, from, to, work)?;
            }
            from = id.successor();
        }
        match from {
            Some(from) => self.push_range(entity, from, last, work),
            None => Ok(()),
        }
    }

    /// `entries` are all children of `entity` that the peer has between two ids.
    fn compare_children<V: ReadView>(
        &mut self,
        entity: EntityId,
        (first, last): (EntityId, EntityId),
        entries: &[WireEntry],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let mut from = Some(first);
        for theirs in entries.iter().filter(|entry| first <= entry.id && entry.id <= last) {
            stats.entities_compared += 1;
            if let (Some(from), Some(to)) = (from, theirs.id.predecessor()) {
                self.push_range(entity, from, to, work)?;
            }
            from = theirs.id.successor();
            let ours = work.state.children_between(entity, theirs.id, theirs.id, 1)?.pop();
            if !ours.is_some_and(|ours| theirs.own.matches(ours.own)) {
                self.want(theirs.id);
            }
            let own_kids = ours.map(|ours| ours.kids).unwrap_or_default();
            let kids_differ = match &theirs.kids {
                Some(kids) => !kids.matches(own_kids),
                None => !own_kids.is_zero(),
            };
            if kids_differ {
                self.descend(theirs.id, Prefix::EMPTY);
            }
        }
        match from {
            Some(from) => self.push_range(entity, from, last, work),
            None => Ok(()),
        }
    }

    /// `records` are the next of a subtree of the peer's, or the rest of it.
    fn take_subtree<V: ReadView>(
        &mut self,
        (entity, prefix, after): (EntityId, Prefix, Option<EntityId>),
        records: &[WireRecord],
        complete: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Compared {
        work.state.prefetch(records.iter().map(|record| record.id))?;
        let mut theirs = BTreeSet::new();
        for record in records {
            stats.entities_compared += 1;
            if let Err(broken) = self.take_record(record.id, &record.bytes, work, stats)? {
                return Ok(Err(broken));
            }
            theirs.insert(record.id);
        }
        // What of our own lies between, the peer lacks.
        let last = records.last().map(|record| record.id).filter(|_| !complete);
        let Some(mut subtree) = Subtree::begin(&mut work.state, entity, prefix, after)? else {
            return Ok(Ok(()));
        };
        while let Some(Entry { id, .. }) = subtree.next(&mut work.state)? {
            if !theirs.contains(&id) {
                self.push(id);
            }
            if Some(id) == last {
                break;
            }
        }
        Ok(Ok(()))
    }

    /// `ids` are not in our filter; what is neither there nor in theirs, the peer lacks.
    fn take_missing<V: ReadView>(
        &mut self,
        ids: &[EntityId],
        filter: &Filter,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let wanted: BTreeSet<EntityId> = ids.iter().copied().collect();
        let mut lacking = Vec::new();
        let mut compared = 0;
        work.state.each_entry(|_, entry| {
            compared += 1;
            // What does not fit is left for the walk that follows.
            let room = lacking.len() < limits::MAX_MISSING;
            if room && !filter.may_contain(entry) && !wanted.contains(&entry.id) {
                lacking.push(entry.id);
            }
        })?;
        stats.entities_compared += compared;
        ids.iter().for_each(|id| self.want(*id));
        lacking.into_iter().for_each(|id| self.push(id));
        Ok(())
    }
}
