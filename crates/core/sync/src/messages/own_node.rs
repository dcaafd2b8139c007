//! The initiator's own nodes in a question, and what a responder knows from them.

use super::NodeAddress;
use super::node_view::{brief, decode_brief, encode_brief};
use std::collections::BTreeMap;
use syncline_storage::{Interface, Node, Prefix, StorageError};
use syncline_store::ReadView;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer};

/// The initiator's own inner node at an address, by the hashes of its slots.
///
/// A node with few slots says little, and hashes are cheap beside a round trip: such a node comes with the nodes in its
/// slots. Ids with common beginnings have a few of these near the root. Hashed ids have hardly any: where more than
/// thirty-two ids part, they part into more than a few slots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnNode {
    /// The nibbles that all its children under the address have in common after the prefix.
    pub skipped: Prefix,
    /// The first three bytes of the hash of each slot; zero for an empty slot.
    pub slots: [u32; 16],
    /// If at most [`OwnNode::NARROW`] slots are taken: the inner nodes in them, by nibble.
    pub below: BTreeMap<u8, Self>,
}

/// The hash of an empty slot.
const EMPTY: u32 = 0;

impl OwnNode {
    /// The most slots of a node that comes with the nodes in its slots.
    pub const NARROW: usize = 3;
    /// The most levels of nodes below the first.
    pub const DEPTH: u8 = 2;

    /// The initiator's node at an address, if its children there part in an inner node.
    pub(crate) fn of<V: ReadView>(
        state: &mut Interface<V>,
        address: NodeAddress,
    ) -> Result<Option<Self>, StorageError> {
        Self::nested(state, address, 0)
    }

    fn nested<V: ReadView>(
        state: &mut Interface<V>,
        NodeAddress { entity, prefix }: NodeAddress,
        depth: u8,
    ) -> Result<Option<Self>, StorageError> {
        // A bucket, or no node at all: there is no branch to describe.
        let Some((at, Node::Inner { slots, .. })) = state.branch(entity, prefix)? else { return Ok(None) };
        let mut node = Self { skipped: at.below(prefix), slots: slots.map(brief), below: BTreeMap::new() };
        if node.is_narrow(depth) {
            for nibble in node.taken() {
                let below = NodeAddress { entity, prefix: at.child(nibble) };
                if let Some(below) = Self::nested(state, below, depth + 1)? {
                    node.below.insert(nibble, below);
                }
            }
        }
        Ok(Some(node))
    }

    /// The nibbles of the slots that are not empty.
    fn taken(&self) -> Vec<u8> {
        (0u8..).zip(&self.slots).filter(|(_, slot)| **slot != EMPTY).map(|(nibble, _)| nibble).collect()
    }

    /// Whether the node, `depth` levels below the first, comes with the nodes in its slots.
    fn is_narrow(&self, depth: u8) -> bool {
        depth < Self::DEPTH && self.taken().len() <= Self::NARROW
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        self.encode_nested(out, 0);
    }

    fn encode_nested(&self, out: &mut Writer, depth: u8) {
        self.skipped.encode(out);
        self.slots.iter().for_each(|slot| encode_brief(*slot, out));
        if self.is_narrow(depth) {
            let mask = self.below.keys().fold(0u16, |mask, nibble| mask | 1 << nibble);
            out.raw(&mask.to_le_bytes());
            self.below.values().for_each(|below| below.encode_nested(out, depth + 1));
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_nested(input, 0)
    }

    fn decode_nested(input: &mut Reader<'_>, depth: u8) -> Result<Self, DecodeError> {
        let mut node = Self { skipped: decode_skipped(input)?, ..Self::default() };
        for slot in &mut node.slots {
            *slot = decode_brief(input)?;
        }
        // The depth of the recursion, and the number of nodes, never come from the peer.
        if node.is_narrow(depth) {
            let mask = u16::from_le_bytes(input.array()?);
            let taken = node.taken();
            if taken.iter().fold(mask, |mask, nibble| mask & !(1 << nibble)) != 0 {
                return Err(DecodeError::NotCanonical { what: "the nodes below a node" });
            }
            for nibble in taken.into_iter().filter(|nibble| mask >> nibble & 1 == 1) {
                node.below.insert(nibble, Self::decode_nested(input, depth + 1)?);
            }
        }
        Ok(node)
    }
}

/// Reads the nibbles that a node skips. A node has children, so it skips fewer nibbles than an id has.
pub(super) fn decode_skipped(input: &mut Reader<'_>) -> Result<Prefix, DecodeError> {
    let skipped = Prefix::decode(input)?;
    if skipped.len() == Prefix::MAX_LEN {
        return Err(DecodeError::NotCanonical { what: "the nibbles that a node skips" });
    }
    Ok(skipped)
}

/// What a responder knows about the initiator's children under a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum KnownNode {
    /// There are none.
    Absent,
    /// There may be some.
    Unknown,
    /// They part in this node.
    Node(OwnNode),
}

impl KnownNode {
    /// What a question tells that may give the initiator's node.
    pub(super) fn given(ours: Option<&OwnNode>) -> Self {
        ours.map_or(Self::Unknown, |ours| Self::Node(ours.clone()))
    }

    /// What is known about those of the children that begin with the nibbles `skipped` too, after the same prefix.
    pub(super) fn below(&self, skipped: Prefix) -> Self {
        // What is absent or unknown is so below, too.
        let Self::Node(mut node) = self.clone() else { return self.clone() };
        // Down the initiator's nodes as far as they lead towards `skipped`. Each has more nibbles than the one above.
        while node.skipped.len() < skipped.len() && node.skipped.is_beginning_of(skipped) {
            let nibble = skipped.nibble_at(node.skipped.len());
            if node.slots.get(usize::from(nibble)) == Some(&EMPTY) {
                return Self::Absent;
            }
            let next = node.below.remove(&nibble);
            let next = next.and_then(|next| Some((node.skipped.child(nibble).join(next.skipped)?, next)));
            let Some((position, next)) = next else { return Self::Unknown };
            node = OwnNode { skipped: position, ..next };
        }
        if skipped.is_beginning_of(node.skipped) { Self::Node(node) } else { Self::Absent }
    }

    /// What is known about the initiator's children in the slot `nibble` of the responder's node, which is `skipped`
    /// nibbles below the prefix and has the hash `slot` there. `None` if they are known to be the same, or if nothing
    /// is known. `self` is of [`KnownNode::below`] for the same nibbles.
    pub(super) fn slot(&self, skipped: Prefix, nibble: u8, slot: u32) -> Option<Self> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(Self::Unknown),
            Self::Node(node) if node.skipped == skipped => {
                let own = node.slots.get(usize::from(nibble)).copied().unwrap_or(EMPTY);
                let below = || node.below.get(&nibble).cloned().map_or(Self::Unknown, Self::Node);
                (own != slot).then(below)
            }
            // The initiator's children part further down, and all of them are in one slot.
            Self::Node(node) => {
                let toward = skipped.child(nibble);
                let is_there = toward.is_beginning_of(node.skipped);
                let below = || Self::Node(OwnNode { skipped: node.skipped.below(toward), ..node.clone() });
                Some(if is_there { below() } else { Self::Unknown })
            }
        }
    }
}
