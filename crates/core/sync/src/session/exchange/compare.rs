//! Comparing the peer's answers with our own state.
//!
//! Each answer describes a range of ids completely. Within that range three cases cover every id: only the
//! peer has a record, which is requested; only we have one, which is pushed; or both have records whose
//! digests differ, and the peer's is requested. If our record contains more than the peer's, the joined
//! record is pushed after the peer's has arrived.

use super::Exchange;
use crate::messages::{
    Answer, BloomFilter, BriefEntry, NodeAddress, NodeView, Question, SlotView, WireEntry, WireRecord,
};
use crate::session::{ProtocolBreach, ReplyError, SessionStats};
use crate::sketch::{ShortIds, Symbol, entity_of};
use crate::transaction::Transaction;
use std::collections::{BTreeMap, BTreeSet};
use syncline_storage::{Entry, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{EntityId, Probe};

impl Exchange {
    /// Notes the differences that `answer` shows.
    pub(super) fn compare<V: ReadView>(
        &mut self,
        question: &Question,
        answer: &Answer,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        match (question, answer) {
            (Question::Node(address) | Question::Compare { address, .. }, Answer::Node(view)) => {
                self.compare_node(*address, view, work, stats)
            }
            (Question::Subtree { entity, prefix, after: None }, Answer::Node(view)) => {
                let address = NodeAddress { entity: *entity, prefix: *prefix };
                self.compare_node(address, view, work, stats)
            }
            (Question::Children { entity, after }, Answer::Children { entries, complete }) => {
                self.take_children((*entity, *after), entries, *complete, work, stats)
            }
            (Question::Subtree { entity, prefix, after }, Answer::Subtree { records, complete }) => {
                self.take_subtree((*entity, *prefix, *after), records, *complete, work, stats)
            }
            (Question::Missing(_), Answer::Missing { ids, filter }) => {
                Ok(self.take_missing(ids, filter, work, stats)?)
            }
            (Question::Cells { count, .. }, Answer::Cells(cells)) => {
                self.take_requested_cells(*count, cells, work, stats)
            }
            (Question::ByShortId(short_ids), Answer::Records { records, complete }) => {
                self.take_by_short_id(short_ids, records, *complete, work, stats)
            }
            (Question::SymbolFilter(ours), Answer::FilteredIblt(theirs)) => {
                Ok(self.take_filtered_iblt(ours, theirs, work, stats)?)
            }
            _ => Err(ProtocolBreach::AnswerOfAnotherKind.into()),
        }
    }

    fn compare_node<V: ReadView>(
        &mut self,
        address: NodeAddress,
        view: &NodeView,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        let NodeAddress { entity, prefix } = address;
        let first = prefix.first_id();
        let last = prefix.last_id();
        match view {
            NodeView::Absent => Ok(self.push_range(entity, first, last, work)?),
            NodeView::Bucket(entries) => {
                Ok(self.compare_children(entity, (first, last), entries, work, stats)?)
            }
            NodeView::Brief(entries) => Ok(self.compare_brief(address, entries, work, stats)?),
            NodeView::Inner { skipped, slots } => {
                let at = prefix.join(*skipped).ok_or(ProtocolBreach::NodeBelowIds)?;
                // The peer has no children beside those that begin with the skipped nibbles.
                if let Some(before) = at.first_id().predecessor() {
                    self.push_range(entity, first, before, work)?;
                }
                if let Some(after) = at.last_id().successor() {
                    self.push_range(entity, after, last, work)?;
                }
                for (nibble, slot) in (0u8..).zip(slots) {
                    let below = NodeAddress { prefix: at.child(nibble), ..address };
                    match slot {
                        SlotView::Empty => {
                            self.push_range(entity, below.prefix.first_id(), below.prefix.last_id(), work)?;
                        }
                        SlotView::Hash(hash) => {
                            // An id has no more digits than a full prefix, so there is nothing below one.
                            let deeper = at.len() < Prefix::MAX_LEN;
                            if deeper && !hash.matches(work.state.hash_at(entity, below.prefix)?) {
                                self.descend(entity, below.prefix);
                            }
                        }
                        // The decoder bounds the levels of nesting, and with them this recursion.
                        SlotView::Node(node) => self.compare_node(below, node, work, stats)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Compares the symbols of all children under a prefix that the peer has with our own.
    fn compare_brief<V: ReadView>(
        &mut self,
        NodeAddress { entity, prefix }: NodeAddress,
        entries: &[BriefEntry],
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let key = work.sketch_key();
        let first = prefix.first_id();
        let last = prefix.last_id();
        let own_entries =
            work.state.children_between(entity, first, last, work.limits.compared_children() + 1)?;
        let are_few = own_entries.len() <= work.limits.compared_children();
        work.note_if(!are_few, Probe::ManyChildren);
        let mut ours = BTreeMap::new();
        if are_few {
            ours.extend(own_entries.iter().map(|entry| (key.symbol(entry.id, entry.own), *entry)));
        } else {
            // The peer has a bucket where we have many children. Computing the symbols of all of them would
            // cost more than looking up the few that the peer shows.
            for BriefEntry { symbol, .. } in entries {
                if let Some(id) = entity_of(key, *symbol, &mut work.state)?
                    && let Some(entry) = work.state.entry(id)?
                {
                    ours.insert(*symbol, entry);
                }
            }
        }
        let mut requested = BTreeSet::new();
        for BriefEntry { symbol, kids } in entries {
            stats.entities_compared += 1;
            let Some(own) = ours.get(symbol) else {
                self.want_child(*symbol, *kids);
                requested.insert(symbol.short_id());
                continue;
            };
            if kids.map_or_else(|| !own.kids.is_zero(), |kids| !kids.matches(own.kids)) {
                self.descend(own.id, Prefix::EMPTY);
            }
        }
        if are_few {
            let theirs: BTreeSet<Symbol> = entries.iter().map(|entry| entry.symbol).collect();
            for (symbol, own) in &ours {
                // A requested record with the same short id is probably the peer's version of the same
                // entity. Its arrival decides whether ours contains more.
                if !theirs.contains(symbol) && !requested.contains(&symbol.short_id()) {
                    self.push_range(entity, own.id, own.id, work)?;
                }
            }
            return Ok(());
        }
        let mut shared: Vec<EntityId> = ours.values().map(|entry| entry.id).collect();
        shared.sort_unstable();
        self.push_gaps(entity, (first, last), shared, work)
    }

    /// Pushes our children of `entity` in a range of ids, except those in `shared`, which are ascending.
    fn push_gaps<V: ReadView>(
        &mut self,
        entity: EntityId,
        (first, last): (EntityId, EntityId),
        shared: Vec<EntityId>,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        debug_assert!(shared.is_sorted(), "the ids between gaps ascend");
        let mut from = Some(first);
        for id in shared {
            if let (Some(from), Some(to)) = (from, id.predecessor()) {
                self.push_range(entity, from, to, work)?;
            }
            from = id.successor();
        }
        match from {
            Some(from) => self.push_range(entity, from, last, work),
            // The largest id is shared, so there is no gap behind it.
            None => Ok(()),
        }
    }

    /// Compares `entries`, which are all children of `entity` in a range of ids that the peer has, with
    /// our own.
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
            // The largest id is the peer's last entry, so there is no gap behind it.
            None => Ok(()),
        }
    }

    /// A page of the peer's children of `entity`, after a cursor.
    fn take_children<V: ReadView>(
        &mut self,
        (entity, after): (EntityId, Option<EntityId>),
        entries: &[WireEntry],
        complete: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        let precedes_cursor = entries.first().is_some_and(|first| Some(first.id) <= after);
        if precedes_cursor || entries.is_empty() && !complete {
            return Err(ProtocolBreach::ChildrenOutOfOrder.into());
        }
        let cursor = entries.last().map(|last| last.id).filter(|_| !complete);
        if let Some(from) = after.map_or(Some(EntityId::ROOT), EntityId::successor) {
            let to = cursor.unwrap_or(EntityId::LAST);
            self.compare_children(entity, (from, to), entries, work, stats)?;
        }
        if cursor.is_some() {
            self.resume(Question::Children { entity, after: cursor }, work);
        }
        Ok(())
    }

    /// A page of a subtree of the peer, after a cursor.
    fn take_subtree<V: ReadView>(
        &mut self,
        (entity, prefix, after): (EntityId, Prefix, Option<EntityId>),
        records: &[WireRecord],
        complete: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        if records.is_empty() && !complete {
            return Err(ProtocolBreach::EmptySubtreePage.into());
        }
        self.join_subtree((entity, prefix, after), records, complete, work, stats)?;
        let cursor = records.last().map(|record| record.id).filter(|_| !complete);
        if cursor.is_some() && cursor == after {
            return Err(ProtocolBreach::SubtreePageLeadsNowhere.into());
        }
        if cursor.is_some() {
            self.resume(Question::Subtree { entity, prefix, after: cursor }, work);
        }
        Ok(())
    }

    /// Joins a page of a subtree, and pushes our own records in the same range that the peer lacks.
    fn join_subtree<V: ReadView>(
        &mut self,
        (entity, prefix, after): (EntityId, Prefix, Option<EntityId>),
        records: &[WireRecord],
        complete: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        work.state.prefetch(records.iter().map(|record| record.id))?;
        let mut theirs = BTreeSet::new();
        for record in records {
            stats.entities_compared += 1;
            self.take_record(record.id, &record.bytes, work, stats)?;
            theirs.insert(record.id);
        }
        let last = records.last().map(|record| record.id).filter(|_| !complete);
        // The cursor may not lie in our subtree any more. The comparison of roots notices what is left out.
        let Some(mut subtree) = Subtree::begin(&mut work.state, entity, prefix, after)? else {
            return Ok(());
        };
        while let Some(Entry { id, .. }) = subtree.next(&mut work.state)? {
            if !theirs.contains(&id) {
                self.push(id);
            }
            if Some(id) == last {
                break;
            }
        }
        Ok(())
    }

    /// Records that were requested by short ids; a page of them, if not `complete`.
    fn take_by_short_id<V: ReadView>(
        &mut self,
        short_ids: &ShortIds,
        records: &[WireRecord],
        complete: bool,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), ReplyError> {
        if !complete {
            let key = work.sketch_key();
            let received = ShortIds::of(records.iter().map(|record| key.short_id(record.id)));
            let left = ShortIds::of(short_ids.iter().filter(|short_id| !received.contains(*short_id)));
            // Every page must contain a requested record: otherwise a peer could send pages for ever.
            if left.len() == short_ids.len() {
                return Err(ProtocolBreach::PageOfOtherRecords.into());
            }
            self.want_short_ids(&left);
        }
        self.take_records(records, work, stats)?;
        Ok(self.prefetch_around(records, work)?)
    }

    /// `ids` are the peer's records that our filter lacks. The peer lacks every record of ours that is
    /// neither among them nor in `filter`.
    fn take_missing<V: ReadView>(
        &mut self,
        ids: &[EntityId],
        filter: &BloomFilter,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(), StorageError> {
        let requested: BTreeSet<EntityId> = ids.iter().copied().collect();
        let mut lacking = Vec::new();
        let mut compared = 0;
        let most = work.limits.missing_per_answer();
        work.state.each_entry(|_, entry| {
            compared += 1;
            // Records beyond the limit are left to the walk that follows.
            let has_room = lacking.len() < most;
            if has_room && !filter.may_contain(entry) && !requested.contains(&entry.id) {
                lacking.push(entry.id);
            }
        })?;
        stats.entities_compared += compared;
        ids.iter().for_each(|id| self.want(*id));
        lacking.into_iter().for_each(|id| self.push(id));
        Ok(())
    }
}
