//! What one side of a session asks to find out where two states differ, and how it is answered.

use crate::filter::Filter;
use crate::message::{WireRecord, decode_option_id, encode_option_id};
use crate::node_view::{Fingerprint, NodeView, Probe, WireEntry};
use syncline_storage::{Entry, Interface, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// A question about the peer's state. Each protocol that compares states begins with another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// The index under a prefix.
    Node(Probe),
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
}

impl Question {
    /// What answering costs beyond what the answer shows, in bytes of a page.
    pub(crate) const fn cursor_cost(&self) -> usize {
        if matches!(self, Self::Subtree { after: Some(_), .. }) { 1 << 10 } else { 0 }
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
    ) -> Result<Self, StorageError> {
        match question {
            Question::Node(probe) => NodeView::of(state, *probe, whole).map(Self::Node),
            Question::Children { entity, after } => {
                let mut entries = state.children(*entity, *after, MAX_CHILDREN + 1)?;
                let complete = entries.len() <= MAX_CHILDREN;
                entries.truncate(MAX_CHILDREN);
                let entries = entries.iter().map(|entry| WireEntry::of(entry, whole)).collect();
                Ok(Self::Children { entries, complete })
            }
            Question::Subtree { entity, prefix, after } => {
                if after.is_none() && state.count_under(*entity, *prefix)? > MAX_SUBTREE {
                    let probe = Probe { entity: *entity, prefix: *prefix, levels: 1 };
                    return NodeView::of(state, probe, whole).map(Self::Node);
                }
                subtree(state, *entity, *prefix, *after)
            }
            Question::Missing(filter) => missing(state, filter),
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
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Node(NodeView::decode(input, whole, Probe::MAX_LEVELS)?)),
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
            tag => Err(DecodeError::UnknownTag { what: "kind of answer", found: u64::from(tag) }),
        }
    }
}
