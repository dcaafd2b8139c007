//! Index nodes as they are asked for and shown on the wire.

use syncline_storage::index::BUCKET;
use syncline_storage::{Entry, Interface, Node, Prefix, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// A digest, or the first eight bytes of one. Short forms may collide; only the comparison of
/// whole roots at the end of a session decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fingerprint {
    /// The first eight bytes.
    Short(u64),
    /// All of it.
    Whole(Digest),
}

impl Fingerprint {
    /// The form of `digest` that a request asked for.
    pub fn of(digest: Digest, whole: bool) -> Self {
        if whole { Self::Whole(digest) } else { Self::Short(digest.short()) }
    }

    /// Whether it could be that of `digest`.
    pub fn matches(&self, digest: Digest) -> bool {
        match self {
            Self::Short(short) => *short == digest.short(),
            Self::Whole(whole) => *whole == digest,
        }
    }

    /// Whether it is that of nothing.
    pub fn is_zero(&self) -> bool {
        self.matches(Digest::ZERO)
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Short(short) => out.u64_le(*short),
            Self::Whole(whole) => whole.encode(out),
        }
    }

    fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        Ok(if whole { Self::Whole(Digest::decode(input)?) } else { Self::Short(input.u64_le()?) })
    }
}

/// A question about the children of `entity` under `prefix`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Probe {
    /// Whose children.
    pub entity: EntityId,
    /// Which of them.
    pub prefix: Prefix,
    /// How many levels of inner nodes to show below the first, at most [`Probe::MAX_LEVELS`].
    pub levels: u8,
}

impl Probe {
    /// The deepest answer to one probe.
    pub const MAX_LEVELS: u8 = 2;
}

impl Encode for Probe {
    fn encode(&self, out: &mut Writer) {
        self.entity.encode(out);
        self.prefix.encode(out);
        out.u8(self.levels);
    }
}

impl Decode for Probe {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (entity, prefix, levels) = (EntityId::decode(input)?, Prefix::decode(input)?, input.u8()?);
        if levels > Self::MAX_LEVELS {
            return Err(DecodeError::TooLarge {
                what: "the levels of a probe",
                found: u64::from(levels),
                limit: u64::from(Self::MAX_LEVELS),
            });
        }
        Ok(Self { entity, prefix, levels })
    }
}

/// One child in a bucket, on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireEntry {
    /// The child.
    pub id: EntityId,
    /// Its record.
    pub own: Fingerprint,
    /// What hangs below it, if anything does.
    pub kids: Option<Fingerprint>,
}

impl WireEntry {
    pub(crate) fn encode_list(entries: &[Self], out: &mut Writer) {
        out.varint(entries.len() as u64);
        for entry in entries {
            entry.id.encode(out);
            entry.own.encode(out);
            out.bool(entry.kids.is_some());
            if let Some(kids) = &entry.kids {
                kids.encode(out);
            }
        }
    }

    pub(crate) fn decode_list(
        input: &mut Reader<'_>,
        whole: bool,
        limit: usize,
    ) -> Result<Vec<Self>, DecodeError> {
        let len = input.length(limit, "a list of children")?;
        let mut entries: Vec<Self> = Vec::with_capacity(len);
        for _ in 0..len {
            let id = EntityId::decode(input)?;
            if entries.last().is_some_and(|last| last.id >= id) {
                return Err(DecodeError::NotCanonical { what: "the order of children" });
            }
            let own = Fingerprint::decode(input, whole)?;
            let has_kids = input.bool("a child")?;
            let kids = has_kids.then(|| Fingerprint::decode(input, whole)).transpose()?;
            entries.push(Self { id, own, kids });
        }
        Ok(entries)
    }
}

/// One slot of an inner node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotView {
    /// No children there.
    Empty,
    /// The hash of what is there.
    Hash(Fingerprint),
    /// What is there, which is an inner node itself.
    Node(Box<NodeView>),
}

/// An index node as a peer shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeView {
    /// No children under this prefix.
    Absent,
    /// All children under this prefix, ascending by id.
    Bucket(Vec<WireEntry>),
    /// Sixteen slots.
    Inner(Vec<SlotView>),
}

impl NodeView {
    /// What `state` has under a probe. If its node sits higher up, the part of it that the probe
    /// names is shown.
    pub fn of<V: ReadView>(
        state: &mut Interface<V>,
        probe: Probe,
        whole: bool,
    ) -> Result<Self, StorageError> {
        let Probe { entity, prefix, levels } = probe;
        match state.node(entity, prefix)? {
            Some(Node::Inner { slots, .. }) => Self::inner(state, probe, &slots, levels, whole),
            Some(Node::Bucket(entries)) => Ok(Self::bucket(&entries, whole)),
            None => {
                let (first, last) = (prefix.first_id(), prefix.last_id());
                let entries = state.children_between(entity, first, last, BUCKET)?;
                Ok(if entries.is_empty() { Self::Absent } else { Self::bucket(&entries, whole) })
            }
        }
    }

    fn bucket(entries: &[Entry], whole: bool) -> Self {
        Self::Bucket(entries.iter().map(|entry| WireEntry::of(entry, whole)).collect())
    }

    fn inner<V: ReadView>(
        state: &mut Interface<V>,
        probe: Probe,
        slots: &[Digest; 16],
        levels: u8,
        whole: bool,
    ) -> Result<Self, StorageError> {
        let mut views = Vec::with_capacity(16);
        for (nibble, slot) in (0u8..).zip(slots) {
            let below = Probe { prefix: probe.prefix.child(nibble), ..probe };
            let view = if slot.is_zero() {
                SlotView::Empty
            } else if levels > 0
                && let Some(Node::Inner { slots, .. }) = state.node(below.entity, below.prefix)?
            {
                SlotView::Node(Box::new(Self::inner(state, below, &slots, levels - 1, whole)?))
            } else {
                SlotView::Hash(Fingerprint::of(*slot, whole))
            };
            views.push(view);
        }
        Ok(Self::Inner(views))
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Absent => out.u8(0),
            Self::Bucket(entries) => {
                out.u8(1);
                WireEntry::encode_list(entries, out);
            }
            Self::Inner(slots) => {
                out.u8(2);
                for slot in slots {
                    match slot {
                        SlotView::Empty => out.u8(0),
                        SlotView::Hash(hash) => {
                            out.u8(1);
                            hash.encode(out);
                        }
                        SlotView::Node(node) => {
                            out.u8(2);
                            node.encode(out);
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool, levels: u8) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Absent),
            1 => WireEntry::decode_list(input, whole, BUCKET).map(Self::Bucket),
            2 => {
                let slot = |input: &mut Reader<'_>| match input.u8()? {
                    0 => Ok(SlotView::Empty),
                    1 => Ok(SlotView::Hash(Fingerprint::decode(input, whole)?)),
                    2 if levels > 0 => Ok(SlotView::Node(Box::new(Self::decode(input, whole, levels - 1)?))),
                    tag => Err(DecodeError::UnknownTag { what: "slot of a node", found: u64::from(tag) }),
                };
                Ok(Self::Inner((0..16).map(|_| slot(input)).collect::<Result<_, _>>()?))
            }
            tag => Err(DecodeError::UnknownTag { what: "index node", found: u64::from(tag) }),
        }
    }
}
