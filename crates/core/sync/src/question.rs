//! What one side of a session asks to find out where two states differ, and how it is answered.

use crate::filter::Filter;
use crate::message::{WireRecord, decode_option_id, encode_option_id};
use crate::node_view::{Fingerprint, NodeView, Probe, WireEntry, decode_brief, encode_brief};
use crate::sketch::{Cell, Names, Sieve, Sieved, Sketch, SketchKey, called, cells_of};
use syncline_storage::{Entry, Interface, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// A question about the peer's state. Each protocol that compares states begins with another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// The index under a prefix.
    Node(Probe),
    /// The same beside the initiator's own node: what lies below slots that differ is shown too.
    Compare {
        /// Where.
        probe: Probe,
        /// The first three bytes of the hash of each of the initiator's slots; zero where there is none.
        ours: Box<[u32; 16]>,
    },
    /// All children of an entity, in id order.
    Children {
        /// Whose.
        entity: EntityId,
        /// The last child already shown.
        after: Option<EntityId>,
    },
    /// The records of some children of an entity with everything below them, depth first.
    Subtree {
        /// Whose children.
        entity: EntityId,
        /// Which of them.
        prefix: Prefix,
        /// The last record already sent.
        after: Option<EntityId>,
    },
    /// Every record that is not in this filter.
    Missing(Filter),
    /// The cells of the sketch from one place on.
    Cells {
        /// The place.
        from: u32,
        /// How many.
        count: u32,
    },
    /// The records of entities with these names.
    Named(Names),
    /// What does not pass this filter, and a filter and cells of what does.
    Sieve(Sieve),
}

/// The answer to a [`Question`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To a question for a node, and to one for a subtree that is too large to send.
    Node(NodeView),
    /// Children in id order, from the cursor on.
    Children {
        /// The children.
        entries: Vec<WireEntry>,
        /// Whether these are all.
        complete: bool,
    },
    /// Records, from the cursor on.
    Subtree {
        /// The records, parents before children.
        records: Vec<WireRecord>,
        /// Whether these are all.
        complete: bool,
    },
    /// What the filter lacks.
    Missing {
        /// Entities whose records are not in the filter, parents before children; what does not
        /// fit is left to be found by the comparison of roots.
        ids: Vec<EntityId>,
        /// The other records of the responder: what is not in here the responder lacks.
        filter: Filter,
    },
    /// Cells, from the place asked for.
    Cells(Vec<Cell>),
    /// Records of the entities named, parents before children.
    Records {
        /// The records.
        records: Vec<WireRecord>,
        /// Whether there are no more.
        complete: bool,
    },
    /// What came of a filter.
    Sieved(Sieved),
}

/// What is kept beside a state that helps to answer.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// What its sketches are keyed with.
    pub(crate) key: SketchKey,
    /// Its sketch, if that was made.
    pub(crate) sketch: Option<&'a Sketch>,
}

impl Question {
    /// What answering costs beyond what the answer shows, in bytes of a page: a cursor deep in a tree, a
    /// look at the whole state, a search for each name.
    pub(crate) fn cost(&self, kept: Kept<'_>) -> usize {
        match self {
            Self::Subtree { after: Some(_), .. } => 1 << 10,
            Self::Missing(_) | Self::Sieve(_) => limits::PAGE_BYTES,
            Self::Cells { from, count } => {
                let (from, count) = (*from as usize, *count as usize);
                let is_kept = kept.sketch.is_some_and(|sketch| sketch.cells(from, count).is_some());
                if is_kept { 0 } else { limits::PAGE_BYTES }
            }
            Self::Named(names) => names.len() * 128,
            _ => 0,
        }
    }
}

/// Children shown in one answer.
const MAX_CHILDREN: usize = 2_048;
/// Children under a prefix from which a subtree is compared rather than sent.
const MAX_SUBTREE: u64 = 4_096;

impl Answer {
    /// What `state` answers. Its size is bounded by a page, or by the filter.
    pub(crate) fn to<V: ReadView>(
        question: &Question,
        whole: bool,
        state: &mut Interface<V>,
        kept: Kept<'_>,
    ) -> Result<Self, StorageError> {
        let key = kept.key;
        match question {
            Question::Node(probe) => NodeView::of(state, *probe, key, whole, None).map(Self::Node),
            Question::Compare { probe, ours } => {
                NodeView::of(state, *probe, key, whole, Some(ours)).map(Self::Node)
            }
            Question::Children { entity, after } => {
                let mut entries = state.children(*entity, *after, MAX_CHILDREN + 1)?;
                let complete = entries.len() <= MAX_CHILDREN;
                entries.truncate(MAX_CHILDREN);
                let entries = entries.iter().map(|entry| WireEntry::of(entry, whole)).collect();
                Ok(Self::Children { entries, complete })
            }
            Question::Subtree { entity, prefix, after } => {
                if after.is_none() && state.count_under(*entity, *prefix)? > MAX_SUBTREE {
                    let probe = Probe { entity: *entity, prefix: *prefix };
                    return NodeView::of(state, probe, key, whole, None).map(Self::Node);
                }
                subtree(state, *entity, *prefix, *after)
            }
            Question::Missing(filter) => missing(state, filter),
            Question::Cells { from, count } => {
                let (from, count) = (*from as usize, (*count as usize).min(limits::MAX_CELLS));
                match kept.sketch.and_then(|sketch| sketch.cells(from, count)) {
                    Some(cells) => Ok(Self::Cells(cells.to_vec())),
                    None => cells_of(key, (from, count), state).map(Self::Cells),
                }
            }
            Question::Named(names) => records(names, state),
            Question::Sieve(theirs) => Sieved::of(theirs, key, state).map(Self::Sieved),
        }
    }
}

fn subtree<V: ReadView>(
    state: &mut Interface<V>,
    entity: EntityId,
    prefix: Prefix,
    after: Option<EntityId>,
) -> Result<Answer, StorageError> {
    let mut records = Vec::new();
    // A cursor that is not below the entity any more ends the subtree; roots will tell.
    let Some(mut subtree) = Subtree::begin(state, entity, prefix, after)? else {
        return Ok(Answer::Subtree { records, complete: true });
    };
    let mut bytes = 0;
    while bytes < limits::PAGE_BYTES && records.len() < limits::MAX_RECORDS_PER_FRAME {
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

/// The records of the entities with these names, as far as the state has them and they fit a page.
fn records<V: ReadView>(names: &Names, state: &mut Interface<V>) -> Result<Answer, StorageError> {
    let mut found = Vec::new();
    for name in names.iter() {
        found.extend(called(name, state)?);
    }
    let (records, complete) = WireRecord::page(found, state)?;
    Ok(Answer::Records { records, complete })
}

impl WireRecord {
    /// The records of these entities, parents before children, up to a page; and whether these are all.
    pub(crate) fn page<V: ReadView>(
        ids: Vec<EntityId>,
        state: &mut Interface<V>,
    ) -> Result<(Vec<Self>, bool), StorageError> {
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(record) = state.record(id)? {
                known.push((record.depth, id, record));
            }
        }
        known.sort_unstable_by_key(|(depth, id, _)| (*depth, *id));
        let (mut records, mut bytes) = (Vec::new(), 0);
        for (_, id, record) in known {
            if bytes >= limits::PAGE_BYTES || records.len() >= limits::MAX_RECORDS_PER_FRAME {
                return Ok((records, false));
            }
            let record = record.to_bytes();
            bytes += record.len() + 32;
            records.push(Self { id, bytes: record.into() });
        }
        Ok((records, true))
    }
}

fn missing<V: ReadView>(state: &mut Interface<V>, filter: &Filter) -> Result<Answer, StorageError> {
    let mut missing = Vec::new();
    let mut ours = Filter::for_records(state.stats()?.records, filter.salt().rotate_left(32));
    state.each_entry(|depth, entry| {
        if filter.may_contain(entry) {
            ours.insert(entry);
        } else {
            missing.push((depth, entry.id));
            // Only the first ones are named: no more are ever held than twice as many.
            if missing.len() >= 2 * limits::MAX_MISSING {
                missing.select_nth_unstable(limits::MAX_MISSING);
                missing.truncate(limits::MAX_MISSING);
            }
        }
    })?;
    missing.sort_unstable();
    missing.truncate(limits::MAX_MISSING);
    Ok(Answer::Missing { ids: missing.into_iter().map(|(_, id)| id).collect(), filter: ours })
}

impl WireEntry {
    /// `entry` in the form that was asked for.
    pub fn of(entry: &Entry, whole: bool) -> Self {
        let kids = (!entry.kids.is_zero()).then(|| Fingerprint::of(entry.kids, whole));
        Self { id: entry.id, own: Fingerprint::of(entry.own, whole), kids }
    }
}

impl Encode for Question {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Node(probe) => {
                out.u8(0);
                probe.encode(out);
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
            Self::Compare { probe, ours } => {
                out.u8(6);
                probe.encode(out);
                ours.iter().for_each(|hash| encode_brief(*hash, out));
            }
            Self::Cells { from, count } => {
                out.u8(4);
                out.varint(u64::from(*from));
                out.varint(u64::from(*count));
            }
            Self::Named(names) => {
                out.u8(5);
                names.encode(out);
            }
            Self::Sieve(sieve) => {
                out.u8(7);
                sieve.encode(out);
            }
        }
    }
}

impl Decode for Question {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Node(Probe::decode(input)?)),
            1 => Ok(Self::Children { entity: EntityId::decode(input)?, after: decode_option_id(input)? }),
            2 => Ok(Self::Subtree {
                entity: EntityId::decode(input)?,
                prefix: Prefix::decode(input)?,
                after: decode_option_id(input)?,
            }),
            3 => Ok(Self::Missing(Filter::decode(input)?)),
            4 => {
                let mut place = || {
                    let found = input.varint()?;
                    let place = u32::try_from(found).ok().filter(|place| *place <= limits::MAX_CELL_INDEX);
                    let limit = u64::from(limits::MAX_CELL_INDEX);
                    place.ok_or(DecodeError::TooLarge { what: "the place of a cell", found, limit })
                };
                Ok(Self::Cells { from: place()?, count: place()? })
            }
            6 => {
                let probe = Probe::decode(input)?;
                let mut ours = Box::new([0; 16]);
                for hash in ours.iter_mut() {
                    *hash = decode_brief(input)?;
                }
                Ok(Self::Compare { probe, ours })
            }
            5 => Ok(Self::Named(Names::decode(input)?)),
            7 => Ok(Self::Sieve(Sieve::decode(input)?)),
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
            Self::Sieved(sieved) => {
                out.u8(6);
                sieved.encode(out);
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Node(NodeView::decode(input, whole, false)?)),
            1 => Ok(Self::Children {
                entries: WireEntry::decode_list(input, whole, MAX_CHILDREN)?,
                complete: input.bool("an answer of children")?,
            }),
            2 => Ok(Self::Subtree {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of a subtree")?,
                complete: input.bool("an answer of records")?,
            }),
            3 => Ok(Self::Missing {
                ids: input.list(limits::MAX_MISSING, "what a filter lacks")?,
                filter: Filter::decode(input)?,
            }),
            4 => Ok(Self::Cells(Cell::decode_list(input, limits::MAX_CELLS)?)),
            5 => Ok(Self::Records {
                records: input.list(limits::MAX_RECORDS_PER_FRAME, "the records of an answer")?,
                complete: input.bool("an answer of records")?,
            }),
            6 => Ok(Self::Sieved(Sieved::decode(input)?)),
            tag => Err(DecodeError::UnknownTag { what: "kind of answer", found: u64::from(tag) }),
        }
    }
}
