//! Nodes of the Merkle index on the wire: their addresses and their contents.

use super::message::{decode_option_id, encode_option_id};
use super::own_node::{KnownNode, OwnNode, decode_skipped};
use crate::sketch::{SketchKey, Symbol};
use syncline_storage::index::BUCKET;
use syncline_storage::{Entry, Interface, Node, Prefix, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// A digest, or the first three bytes of one. Short forms may collide, which hides a difference; only
/// the comparison of whole roots at the end of a session decides whether two states are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireDigest {
    /// The first three bytes of the digest.
    Short(u32),
    /// All 32 bytes of the digest.
    Whole(Digest),
}

impl WireDigest {
    /// The form of `digest` that a request selected with [`super::ExchangeRequest::whole`].
    pub fn of(digest: Digest, whole: bool) -> Self {
        if whole { Self::Whole(digest) } else { Self::Short(brief(digest)) }
    }

    /// Whether this is a form of `digest`. For the short form, one in 2^24 other digests matches too.
    pub fn matches(&self, digest: Digest) -> bool {
        match self {
            Self::Short(short) => *short == brief(digest),
            Self::Whole(whole) => *whole == digest,
        }
    }

    /// Whether this is a form of the zero digest, which stands for an empty subtree.
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
pub(super) fn brief(digest: Digest) -> u32 {
    digest.short() as u32 & 0xff_ffff
}

pub(super) fn encode_brief(brief: u32, out: &mut Writer) {
    let [a, b, c, _] = brief.to_le_bytes();
    out.raw(&[a, b, c]);
}

pub(super) fn decode_brief(input: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let [a, b, c] = input.array()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

/// The address of an index node: the children of `entity` whose ids begin with `prefix`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "plain data")]
pub struct NodeAddress {
    pub entity: EntityId,
    pub prefix: Prefix,
}

impl Encode for NodeAddress {
    fn encode(&self, out: &mut Writer) {
        // Most questions are about the root's children, so the root is encoded as an absent id.
        let other = Some(self.entity).filter(|entity| *entity != EntityId::ROOT);
        encode_option_id(out, other);
        self.prefix.encode(out);
    }
}

impl Decode for NodeAddress {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entity = decode_option_id(input)?;
        if entity == Some(EntityId::ROOT) {
            return Err(DecodeError::NotCanonical { what: "the entity of a node address" });
        }
        let entity = entity.unwrap_or(EntityId::ROOT);
        Ok(Self { entity, prefix: Prefix::decode(input)? })
    }
}

/// One child of an entity, with its whole id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireEntry {
    /// The id of the child.
    pub id: EntityId,
    /// The digest of the child's record.
    pub own: WireDigest,
    /// The root of the child's own children, if it has any.
    pub kids: Option<WireDigest>,
}

impl WireEntry {
    pub(super) fn encode_list(entries: &[Self], out: &mut Writer) {
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

    pub(super) fn decode_list(
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
            let own = WireDigest::decode(input, whole)?;
            let has_kids = input.bool("a child")?;
            let kids = has_kids.then(|| WireDigest::decode(input, whole)).transpose()?;
            entries.push(Self { id, own, kids });
        }
        Ok(entries)
    }
}

/// One child of an entity, as the six-byte symbol of its record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BriefEntry {
    /// The symbol of the child's record.
    pub symbol: Symbol,
    /// The root of the child's own children, if it has any.
    pub kids: Option<WireDigest>,
}

/// The most levels of nodes that a view shows below its own.
const DEPTH: u8 = 3;

/// One slot of an inner node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotView {
    /// The slot has no children.
    Empty,
    /// The hash of the node in the slot.
    Hash(WireDigest),
    /// The node in the slot, shown because its hash differs from the initiator's.
    Node(Box<NodeView>),
}

/// An index node as a peer shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeView {
    /// There are no children under this prefix.
    Absent,
    /// All children under this prefix, ascending by id.
    Bucket(Vec<WireEntry>),
    /// All children under this prefix, ascending by id, as symbols.
    Brief(Vec<BriefEntry>),
    /// The sixteen slots of the inner node at which the children under this prefix first part.
    Inner {
        /// The nibbles that all these children have in common after the prefix.
        skipped: Prefix,
        /// The slots.
        slots: Vec<SlotView>,
    },
}

impl NodeView {
    /// The children that `state` has under an address, from where they first part. If the node of `state` is a
    /// bucket higher up, the view contains those of its children that lie under the address. `ours` is the node of
    /// the initiator: where a slot differs from it, the view contains the node in the slot instead of its hash, which
    /// saves a round trip. Where the initiator has sent nodes below its own, the view continues in the same way.
    pub fn of<V: ReadView>(
        state: &mut Interface<V>,
        address: NodeAddress,
        key: SketchKey,
        whole: bool,
        ours: Option<&OwnNode>,
    ) -> Result<Self, StorageError> {
        Self::nested(state, address, (key, whole), &KnownNode::given(ours), 0)
    }

    /// The view of a node that is `depth` levels below that of an answer. `known` is what is known about the
    /// initiator's node there.
    fn nested<V: ReadView>(
        state: &mut Interface<V>,
        address: NodeAddress,
        (key, whole): (SketchKey, bool),
        known: &KnownNode,
        depth: u8,
    ) -> Result<Self, StorageError> {
        let NodeAddress { entity, prefix } = address;
        match state.branch(entity, prefix)? {
            Some((at, Node::Inner { slots, .. })) => {
                let skipped = at.below(prefix);
                let known = known.below(skipped);
                // The depth of the recursion is bounded by that of the initiator's node, and by `DEPTH`.
                let mut views = Vec::with_capacity(16);
                for (nibble, slot) in (0u8..).zip(slots.iter()) {
                    let slot_of_initiator = known.slot(skipped, nibble, brief(*slot));
                    views.push(match slot_of_initiator {
                        _ if slot.is_zero() => SlotView::Empty,
                        Some(known) if depth < DEPTH => {
                            let below = NodeAddress { entity, prefix: at.child(nibble) };
                            let view = Self::nested(state, below, (key, whole), &known, depth + 1)?;
                            SlotView::Node(Box::new(view))
                        }
                        _ => SlotView::Hash(WireDigest::of(*slot, whole)),
                    });
                }
                debug_assert_eq!(views.len(), 16, "an inner node has a slot for each nibble");
                Ok(Self::Inner { skipped, slots: views })
            }
            Some((_, Node::Bucket(entries))) => Ok(Self::bucket(&entries, key, whole)),
            None => {
                let first = prefix.first_id();
                let last = prefix.last_id();
                let entries = state.children_between(entity, first, last, BUCKET)?;
                Ok(if entries.is_empty() { Self::Absent } else { Self::bucket(&entries, key, whole) })
            }
        }
    }

    /// The number of nodes with a single child that the responder has passed to find the nodes of the view.
    pub(crate) fn skipped_nodes(&self) -> usize {
        let Self::Inner { skipped, slots } = self else { return 0 };
        let below = slots.iter().map(|slot| match slot {
            // Views are nested up to `DEPTH`.
            SlotView::Node(node) => node.skipped_nodes(),
            SlotView::Empty | SlotView::Hash(_) => 0,
        });
        usize::from(skipped.len()) + below.sum::<usize>()
    }

    fn bucket(entries: &[Entry], key: SketchKey, whole: bool) -> Self {
        debug_assert!(entries.is_sorted_by(|a, b| a.id < b.id), "children ascend by id");
        if whole {
            return Self::Bucket(entries.iter().map(|entry| WireEntry::of(entry, whole)).collect());
        }
        let brief = |entry: &Entry| BriefEntry {
            symbol: key.symbol(entry.id, entry.own),
            kids: (!entry.kids.is_zero()).then(|| WireDigest::of(entry.kids, whole)),
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
            Self::Inner { skipped, slots } => {
                out.u8(2);
                skipped.encode(out);
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
                const { assert!(BUCKET <= 32, "the mask has a bit for each child of a bucket") };
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

    pub(crate) fn decode(input: &mut Reader<'_>, whole: bool) -> Result<Self, DecodeError> {
        Self::decode_nested(input, whole, 0)
    }

    fn decode_nested(input: &mut Reader<'_>, whole: bool, depth: u8) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Absent),
            1 => WireEntry::decode_list(input, whole, BUCKET).map(Self::Bucket),
            2 => {
                let skipped = decode_skipped(input)?;
                let taken = u16::from_le_bytes(input.array()?);
                let inner = u16::from_le_bytes(input.array()?);
                // The depth of the recursion never comes from the peer.
                if inner & !taken != 0 || (inner != 0 && depth == DEPTH) {
                    return Err(DecodeError::NotCanonical { what: "the slots of a node" });
                }
                let slot = |at: u32| {
                    Ok(match (taken >> at & 1, inner >> at & 1) {
                        (0, _) => SlotView::Empty,
                        (_, 0) => SlotView::Hash(WireDigest::decode(input, whole)?),
                        _ => SlotView::Node(Box::new(Self::decode_nested(input, whole, depth + 1)?)),
                    })
                };
                let slots = (0..16).map(slot).collect::<Result<_, DecodeError>>()?;
                Ok(Self::Inner { skipped, slots })
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
                    let kids = has_kids.then(|| WireDigest::decode(input, whole)).transpose()?;
                    Ok(BriefEntry { symbol, kids })
                };
                (0..len).map(entry).collect::<Result<_, _>>().map(Self::Brief)
            }
            tag => Err(DecodeError::UnknownTag { what: "index node", found: u64::from(tag) }),
        }
    }
}
