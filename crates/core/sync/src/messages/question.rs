//! Questions about a state, by which an initiator finds where two states differ, and their answers.

use super::message::{decode_option_id, encode_option_id};
use super::{BloomFilter, NodeAddress, NodeView, OwnNode, WireDigest, WireEntry, WireRecord};
use crate::sketch::{
    Cell, FilteredIblt, ShortIds, Sketch, SketchKey, SymbolFilter, compute_cells, with_short_id,
};
use syncline_storage::{Entry, Interface, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Limits, Reader, Writer, limits};

/// A question about the peer's state. Each protocol that compares states opens with another question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Asks for an index node.
    Node(NodeAddress),
    /// Asks for an index node, and sends the initiator's own node: the answer also contains the nodes
    /// below the slots that differ.
    Compare {
        /// The address of the node.
        address: NodeAddress,
        /// The initiator's node.
        ours: Box<OwnNode>,
    },
    /// Asks for all children of an entity, in id order.
    Children {
        /// The parent of the children.
        entity: EntityId,
        /// The last child of the previous page.
        after: Option<EntityId>,
    },
    /// Asks for the records of some children of an entity and of everything below them, depth first.
    Subtree {
        /// The parent of the children.
        entity: EntityId,
        /// The first digits of the children's ids.
        prefix: Prefix,
        /// The last record of the previous page.
        after: Option<EntityId>,
    },
    /// Asks for the ids of the records that are not in this filter.
    Missing(BloomFilter),
    /// Asks for a range of the cells of the sketch.
    Cells {
        /// The index of the first cell.
        from: u32,
        /// The number of cells.
        count: u32,
    },
    /// Asks for the records of the entities with these short ids.
    ByShortId(ShortIds),
    /// Asks for the records that this filter rejects, and for an IBLT over those that it passes.
    SymbolFilter(SymbolFilter),
}

/// The answer to a [`Question`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// An index node. This also answers a question for a subtree that is too large to send.
    Node(NodeView),
    /// Children in id order, from the cursor on.
    #[allow(missing_docs, reason = "plain data")]
    Children { entries: Vec<WireEntry>, complete: bool },
    /// Records of a subtree, parents before children, from the cursor on.
    #[allow(missing_docs, reason = "plain data")]
    Subtree { records: Vec<WireRecord>, complete: bool },
    /// What a Bloom filter shows of the difference.
    Missing {
        /// Entities whose records are not in the filter, parents before children. Ids that do not fit
        /// are left out; the walk that follows finds them.
        ids: Vec<EntityId>,
        /// The other records of the responder. The responder lacks every record that is in neither.
        filter: BloomFilter,
    },
    /// Cells, from the requested index on; possibly fewer than requested.
    Cells(Vec<Cell>),
    /// Records of the entities with the requested short ids, parents before children.
    #[allow(missing_docs, reason = "plain data")]
    Records { records: Vec<WireRecord>, complete: bool },
    /// The answer to a [`Question::SymbolFilter`].
    FilteredIblt(FilteredIblt),
}

/// The state of a responder besides its records.
#[derive(Clone, Copy)]
pub(crate) struct ResponderState<'a> {
    /// The key of the context's sketches.
    pub(crate) key: SketchKey,
    /// The sketch of the state, if it has been computed.
    pub(crate) sketch: Option<&'a Sketch>,
    /// The limits that this replica has chosen.
    pub(crate) limits: &'a Limits,
}

impl Question {
    /// The cost of an answer beyond its size, in bytes of a page. It bounds the work that one frame can
    /// cause: seeking a cursor deep in a tree, a scan of the whole state, a search for each short id.
    pub(crate) fn cost(&self, responder: ResponderState<'_>) -> usize {
        match self {
            Self::Subtree { after: Some(_), .. } => 1 << 10,
            Self::Missing(_) | Self::SymbolFilter(_) => responder.limits.page_bytes(),
            Self::Cells { from, count } => {
                let has_cells = |sketch: &Sketch| sketch.cells(*from as usize, *count as usize).is_some();
                if responder.sketch.is_some_and(has_cells) { 0 } else { responder.limits.page_bytes() }
            }
            Self::ByShortId(short_ids) => short_ids.len() * 128,
            _ => 0,
        }
    }
}

impl Answer {
    /// The cost of the answer beyond its size and beyond that of the question, in bytes of a page. It bounds the
    /// nodes that one frame can make a responder pass where an adversary has written ids with long common beginnings.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Node(view) => 8 * view.skipped_nodes(),
            _ => 0,
        }
    }

    /// Answers `question` from `state`. The size of the answer is bounded by a page or by the filter.
    pub(crate) fn to<V: ReadView>(
        question: &Question,
        whole: bool,
        state: &mut Interface<V>,
        responder: ResponderState<'_>,
    ) -> Result<Self, StorageError> {
        let key = responder.key;
        let limits = responder.limits;
        match question {
            Question::Node(address) => NodeView::of(state, *address, key, whole, None).map(Self::Node),
            Question::Compare { address, ours } => {
                NodeView::of(state, *address, key, whole, Some(ours)).map(Self::Node)
            }
            Question::Children { entity, after } => {
                // One child more than fits tells whether the page is the last one.
                let most = limits.children_per_answer();
                let mut entries = state.children(*entity, *after, most + 1)?;
                let complete = entries.len() <= most;
                entries.truncate(most);
                let entries = entries.iter().map(|entry| WireEntry::of(entry, whole)).collect();
                Ok(Self::Children { entries, complete })
            }
            Question::Subtree { entity, prefix, after } => {
                let most = limits.subtree_children() as u64;
                if after.is_none() && state.count_under(*entity, *prefix)? > most {
                    let address = NodeAddress { entity: *entity, prefix: *prefix };
                    return NodeView::of(state, address, key, whole, None).map(Self::Node);
                }
                subtree(state, (*entity, *prefix, *after), limits)
            }
            Question::Missing(filter) => missing(state, filter, limits.missing_per_answer()),
            Question::Cells { from, count } => {
                let from = *from as usize;
                let count = (*count as usize).min(limits.cells_per_frame());
                match responder.sketch.and_then(|sketch| sketch.cells(from, count)) {
                    Some(cells) => Ok(Self::Cells(cells.to_vec())),
                    None => compute_cells(key, (from, count), state).map(Self::Cells),
                }
            }
            Question::ByShortId(short_ids) => records(short_ids, state, limits),
            Question::SymbolFilter(theirs) => FilteredIblt::of(theirs, key, state).map(Self::FilteredIblt),
        }
    }
}

fn subtree<V: ReadView>(
    state: &mut Interface<V>,
    (entity, prefix, after): (EntityId, Prefix, Option<EntityId>),
    limits: &Limits,
) -> Result<Answer, StorageError> {
    let mut records = Vec::new();
    // The entity of the cursor may have been moved or deleted since. The subtree then ends here, and the
    // comparison of roots at the end of the session notices what was left out.
    let Some(mut subtree) = Subtree::begin(state, entity, prefix, after)? else {
        return Ok(Answer::Subtree { records, complete: true });
    };
    let mut bytes = 0;
    while bytes < limits.page_bytes() && records.len() < limits.records_per_frame() {
        let Some(Entry { id, .. }) = subtree.next(state)? else {
            return Ok(Answer::Subtree { records, complete: true });
        };
        if let Some(record) = state.record(id)? {
            let record = record.to_bytes();
            bytes += record.len() + 32;
            records.push(WireRecord { id, bytes: record.into() });
        }
    }
    Ok(Answer::Subtree { records, complete: false })
}

/// The records of the entities with these short ids, up to a page.
fn records<V: ReadView>(
    short_ids: &ShortIds,
    state: &mut Interface<V>,
    limits: &Limits,
) -> Result<Answer, StorageError> {
    let mut found = Vec::new();
    for short_id in short_ids.iter() {
        found.extend(with_short_id(short_id, state)?);
    }
    let (records, complete) = WireRecord::page(found, state, limits)?;
    Ok(Answer::Records { records, complete })
}

impl WireRecord {
    /// The records of these entities, parents before children, up to a page; and whether the page
    /// contains all of them.
    pub(crate) fn page<V: ReadView>(
        ids: Vec<EntityId>,
        state: &mut Interface<V>,
        limits: &Limits,
    ) -> Result<(Vec<Self>, bool), StorageError> {
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(record) = state.record(id)? {
                known.push((record.depth, id, record));
            }
        }
        known.sort_unstable_by_key(|(depth, id, _)| (*depth, *id));
        let mut records = Vec::new();
        let mut bytes = 0;
        for (_, id, record) in known {
            if bytes >= limits.page_bytes() || records.len() >= limits.records_per_frame() {
                return Ok((records, false));
            }
            let record = record.to_bytes();
            bytes += record.len() + 32;
            records.push(Self { id, bytes: record.into() });
        }
        Ok((records, true))
    }
}

/// Up to `most` of the records that `filter` rejects, and a filter over those that it passes. O(n).
fn missing<V: ReadView>(
    state: &mut Interface<V>,
    filter: &BloomFilter,
    most: usize,
) -> Result<Answer, StorageError> {
    let mut missing = Vec::new();
    // Another salt: a record that is a false positive in one filter is most likely found by the other.
    let mut ours = BloomFilter::for_records(state.stats()?.records, filter.salt().rotate_left(32));
    state.each_entry(|depth, entry| {
        if filter.may_contain(entry) {
            ours.insert(entry);
        } else {
            missing.push((depth, entry.id));
            // Only the smallest (depth, id) pairs fit the answer. Selecting them whenever the list reaches
            // twice the limit bounds the memory, and costs O(1) for each record.
            if missing.len() >= 2 * most {
                missing.select_nth_unstable(most);
                missing.truncate(most);
            }
        }
    })?;
    missing.sort_unstable();
    missing.truncate(most);
    debug_assert!(missing.len() <= most, "an answer names a bounded number of ids");
    Ok(Answer::Missing { ids: missing.into_iter().map(|(_, id)| id).collect(), filter: ours })
}

impl WireEntry {
    /// The wire form of `entry`, with whole digests or short ones.
    pub fn of(entry: &Entry, whole: bool) -> Self {
        let kids = (!entry.kids.is_zero()).then(|| WireDigest::of(entry.kids, whole));
        Self { id: entry.id, own: WireDigest::of(entry.own, whole), kids }
    }
}

impl Encode for Question {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Node(address) => {
                out.u8(0);
                address.encode(out);
            }
            Self::Children { entity, after } => {
                out.u8(1);
                entity.encode(out);
                encode_option_id(out, *after);
            }
            Self::Subtree { entity, prefix, after } => {
                out.u8(2);
                entity.encode(out);
                prefix.encode(out);
                encode_option_id(out, *after);
            }
            Self::Missing(filter) => {
                out.u8(3);
                filter.encode(out);
            }
            Self::Compare { address, ours } => {
                out.u8(6);
                address.encode(out);
                ours.encode(out);
            }
            Self::Cells { from, count } => {
                out.u8(4);
                out.varint(u64::from(*from));
                out.varint(u64::from(*count));
            }
            Self::ByShortId(short_ids) => {
                out.u8(5);
                short_ids.encode(out);
            }
            Self::SymbolFilter(filter) => {
                out.u8(7);
                filter.encode(out);
            }
        }
    }
}

impl Decode for Question {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Node(NodeAddress::decode(input)?)),
            1 => Ok(Self::Children { entity: EntityId::decode(input)?, after: decode_option_id(input)? }),
            2 => Ok(Self::Subtree {
                entity: EntityId::decode(input)?,
                prefix: Prefix::decode(input)?,
                after: decode_option_id(input)?,
            }),
            3 => Ok(Self::Missing(BloomFilter::decode(input)?)),
            4 => {
                let mut index = || {
                    let found = input.varint()?;
                    let index = u32::try_from(found).ok().filter(|index| *index <= limits::MAX_CELL_INDEX);
                    let limit = u64::from(limits::MAX_CELL_INDEX);
                    index.ok_or(DecodeError::TooLarge { what: "the index of a cell", found, limit })
                };
                Ok(Self::Cells { from: index()?, count: index()? })
            }
            6 => Ok(Self::Compare {
                address: NodeAddress::decode(input)?,
                ours: Box::new(OwnNode::decode(input)?),
            }),
            5 => Ok(Self::ByShortId(ShortIds::decode(input)?)),
            7 => Ok(Self::SymbolFilter(SymbolFilter::decode(input)?)),
            tag => Err(DecodeError::UnknownTag { what: "kind of question", found: u64::from(tag) }),
        }
    }
}

impl Answer {
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Node(view) => {
                out.u8(0);
                view.encode(out);
            }
            Self::Children { entries, complete } => {
                out.u8(1);
                WireEntry::encode_list(entries, out);
                out.bool(*complete);
            }
            Self::Subtree { records, complete } => {
                out.u8(2);
                out.list(records);
                out.bool(*complete);
            }
            Self::Missing { ids, filter } => {
                out.u8(3);
                out.list(ids);
                filter.encode(out);
            }
            Self::Cells(cells) => {
                out.u8(4);
                Cell::encode_list(cells, out);
            }
            Self::Records { records, complete } => {
                out.u8(5);
                out.list(records);
                out.bool(*complete);
            }
            Self::FilteredIblt(answer) => {
                out.u8(6);
                answer.encode(out);
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Node(NodeView::decode(input, whole)?)),
            1 => Ok(Self::Children {
                entries: WireEntry::decode_list(input, whole, limits::MAX_CHILDREN)?,
                complete: input.bool("an answer of children")?,
            }),
            2 => Ok(Self::Subtree {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of a subtree")?,
                complete: input.bool("an answer of records")?,
            }),
            3 => Ok(Self::Missing {
                ids: input.list(limits::MAX_MISSING, "the ids that a filter lacks")?,
                filter: BloomFilter::decode(input)?,
            }),
            4 => Ok(Self::Cells(Cell::decode_list(input, limits::MAX_CELLS)?)),
            5 => Ok(Self::Records {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of an answer")?,
                complete: input.bool("an answer of records")?,
            }),
            6 => Ok(Self::FilteredIblt(FilteredIblt::decode(input)?)),
            tag => Err(DecodeError::UnknownTag { what: "kind of answer", found: u64::from(tag) }),
        }
    }
}
