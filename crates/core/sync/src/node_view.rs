//! Index nodes as they are asked for and shown on the wire.

use crate::message::{decode_option_id, encode_option_id};
use crate::sketch::{SketchKey, Symbol};
use syncline_storage::index::BUCKET;
use syncline_storage::{Entry, Interface, Node, Prefix, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// A digest, or the first three bytes of one. Short forms may collide; only the comparison of
/// whole roots at the end of a session decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fingerprint {
    /// The first three bytes.
    Short(u32),
    /// All of it.
    Whole(Digest),
}

impl Fingerprint {
    /// The form of `digest` that a request asked for.
    pub fn of(digest: Digest, whole: bool) -> Self {
        if whole { Self::Whole(digest) } else { Self::Short(brief(digest)) }
    }

    /// Whether it could be that of `digest`.
    pub fn matches(&self, digest: Digest) -> bool {
        match self {
            Self::Short(short) => *short == brief(digest),
            Self::Whole(whole) => *whole == digest,
        }
    }

    /// Whether it is that of nothing.
    pub fn is_zero(&self) -> bool {
        self.matches(Digest::ZERO)
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Short(short) => encode_brief(*short, out),
            Self::Whole(whole) => whole.encode(out),
        }
    }

    fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        Ok(if whole { Self::Whole(Digest::decode(input)?) } else { Self::Short(decode_brief(input)?) })
    }
}

/// The first three bytes of a digest.
pub(crate) fn brief(digest: Digest) -> u32 {
    digest.short() as u32 & 0xff_ffff
}

pub(crate) fn encode_brief(brief: u32, out: &mut Writer) {
    let [a, b, c, _] = brief.to_le_bytes();
    out.raw(&[a, b, c]);
}

pub(crate) fn decode_brief(input: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let [a, b, c] = input.array()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

/// A question about the children of `entity` under `prefix`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Probe {
    /// Whose children.
    pub entity: EntityId,
    /// Which of them.
    pub prefix: Prefix,
}

impl Encode for Probe {
    fn encode(&self, out: &mut Writer) {
        // Most questions are about the root's children.
        let other = Some(self.entity).filter(|entity| *entity != EntityId::ROOT);
        encode_option_id(out, other);
        self.prefix.encode(out);
    }
}

impl Decode for Probe {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entity = decode_option_id(input)?;
        if entity == Some(EntityId::ROOT) {
            return Err(DecodeError::NotCanonical { what: "the entity of a probe" });
        }
        let entity = entity.unwrap_or(EntityId::ROOT);
        Ok(Self { entity, prefix: Prefix::decode(input)? })
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

/// One child in a bucket, in short: its symbol says which record it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BriefEntry {
    /// Its record.
    pub symbol: Symbol,
    /// What hangs below it, if anything does.
    pub kids: Option<Fingerprint>,
}

/// One slot of an inner node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotView {
    /// No children there.
    Empty,
    /// The hash of what is there.
    Hash(Fingerprint),
    /// What is there.
    Node(Box<NodeView>),
}

/// An index node as a peer shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeView {
    /// No children under this prefix.
    Absent,
    /// All children under this prefix, ascending by id.
    Bucket(Vec<WireEntry>),
    /// The same in short.
    Brief(Vec<BriefEntry>),
    /// Sixteen slots.
    Inner(Vec<SlotView>),
}

impl NodeView {
    /// What `state` has under a probe. If its node sits higher up, the part of it that the probe
    /// names is shown. With `ours`, the slots of the other side's node, more is shown where they differ.
    pub fn of<V: ReadView>(
        state: &mut Interface<V>,
        probe: Probe,
        key: SketchKey,
        whole: bool,
        ours: Option<&[u32; 16]>,
    ) -> Result<Self, StorageError> {
        let Probe { entity, prefix } = probe;
        match state.node(entity, prefix)? {
            Some(Node::Inner { slots, .. }) => {
                let mut views = Vec::with_capacity(16);
                for (nibble, slot) in (0u8..).zip(slots.iter()) {
                    let own = ours.and_then(|ours| ours.get(usize::from(nibble)));
                    views.push(if slot.is_zero() {
                        SlotView::Empty
                    } else if own.is_some_and(|own| *own != brief(*slot)) {
                        let below = Probe { entity, prefix: prefix.child(nibble) };
                        SlotView::Node(Box::new(Self::of(state, below, key, whole, None)?))
                    } else {
                        SlotView::Hash(Fingerprint::of(*slot, whole))
                    });
                }
                Ok(Self::Inner(views))
            }
            Some(Node::Bucket(entries)) => Ok(Self::bucket(&entries, key, whole)),
            None => {
                let (first, last) = (prefix.first_id(), prefix.last_id());
                let entries = state.children_between(entity, first, last, BUCKET)?;
                Ok(if entries.is_empty() { Self::Absent } else { Self::bucket(&entries, key, whole) })
            }
        }
    }

    fn bucket(entries: &[Entry], key: SketchKey, whole: bool) -> Self {
        if whole {
            return Self::Bucket(entries.iter().map(|entry| WireEntry::of(entry, whole)).collect());
        }
        let brief = |entry: &Entry| BriefEntry {
            symbol: key.symbol(entry.id, entry.own),
            kids: (!entry.kids.is_zero()).then(|| Fingerprint::of(entry.kids, whole)),
        };
        Self::Brief(entries.iter().map(brief).collect())
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
                let mask = |is: fn(&SlotView) -> bool| {
                    slots.iter().rev().fold(0u16, |mask, slot| mask << 1 | u16::from(is(slot)))
                };
                out.raw(&mask(|slot| !matches!(slot, SlotView::Empty)).to_le_bytes());
                out.raw(&mask(|slot| matches!(slot, SlotView::Node(_))).to_le_bytes());
                for slot in slots {
                    match slot {
                        SlotView::Empty => {}
                        SlotView::Hash(hash) => hash.encode(out),
                        SlotView::Node(node) => node.encode(out),
                    }
                }
            }
            Self::Brief(entries) => {
                out.u8(3);
                out.varint(entries.len() as u64);
                let mask = entries
                    .iter()
                    .rev()
                    .fold(0u32, |mask, entry| mask << 1 | u32::from(entry.kids.is_some()));
                out.u32_le(mask);
                for BriefEntry { symbol, kids } in entries {
                    symbol.encode(out);
                    if let Some(kids) = kids {
                        kids.encode(out);
                    }
                }
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool, nested: bool) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Absent),
            1 => WireEntry::decode_list(input, whole, BUCKET).map(Self::Bucket),
            2 => {
                let taken = u16::from_le_bytes(input.array()?);
                let inner = u16::from_le_bytes(input.array()?);
                if inner & !taken != 0 || (inner != 0 && nested) {
                    return Err(DecodeError::NotCanonical { what: "the slots of a node" });
                }
                let slot = |at: u32| {
                    Ok(match (taken >> at & 1, inner >> at & 1) {
                        (0, _) => SlotView::Empty,
                        (_, 0) => SlotView::Hash(Fingerprint::decode(input, whole)?),
                        _ => SlotView::Node(Box::new(Self::decode(input, whole, true)?)),
                    })
                };
                Ok(Self::Inner((0..16).map(slot).collect::<Result<_, DecodeError>>()?))
            }
            3 if !whole => {
                let len = input.length(BUCKET, "a list of children")?;
                let mask = input.u32_le()?;
                if u64::from(mask) >> len != 0 {
                    return Err(DecodeError::NotCanonical { what: "a list of children" });
                }
                let entry = |at: usize| {
                    let symbol = Symbol::decode(input)?;
                    let has_kids = mask >> at & 1 == 1;
                    let kids = has_kids.then(|| Fingerprint::decode(input, whole)).transpose()?;
                    Ok(BriefEntry { symbol, kids })
                };
                (0..len).map(entry).collect::<Result<_, _>>().map(Self::Brief)
            }
            tag => Err(DecodeError::UnknownTag { what: "index node", found: u64::from(tag) }),
        }
    }
}
