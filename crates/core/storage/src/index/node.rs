//! One node of a trie: its content, bytes and hash.

use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// Entries a node holds before it splits.
pub const BUCKET: usize = 32;

/// One child in a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The child.
    pub id: EntityId,
    /// The digest of its record.
    pub own: Digest,
    /// The root of its own children's trie; zero without children.
    pub kids: Digest,
}

/// A node of a trie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// At most [`BUCKET`] children, ascending by id.
    Bucket(Vec<Entry>),
    /// More than [`BUCKET`] children, split by the next nibble.
    Inner {
        /// How many children in all.
        count: u64,
        /// The hash of each slot's node; zero where there is none.
        slots: Box<[Digest; 16]>,
    },
}

/// The hash of a bucket with these entries; zero for no entries.
pub(crate) fn bucket_hash<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Digest {
    let mut input = Vec::with_capacity(BUCKET * 31);
    for entry in entries {
        input.extend_from_slice(&entry.own.0);
        if entry.kids.is_zero() {
            input.push(0);
        } else {
            input.push(1);
            input.extend_from_slice(&entry.kids.0);
        }
    }
    if input.is_empty() { Digest::ZERO } else { Digest::of(3, &input) }
}

/// The hash of an inner node.
pub(super) fn inner_hash(slots: &[Digest; 16]) -> Digest {
    let mut input = [0; 512];
    for (to, from) in input.chunks_exact_mut(32).zip(slots) {
        to.copy_from_slice(&from.0);
    }
    Digest::of(4, &input)
}

/// The row of a bucket.
pub(super) fn encode_bucket(entries: &[Entry], out: &mut Writer) {
    out.u8(0);
    out.varint(entries.len() as u64);
    for entry in entries {
        entry.id.encode(out);
        entry.own.encode(out);
        out.bool(!entry.kids.is_zero());
        if !entry.kids.is_zero() {
            entry.kids.encode(out);
        }
    }
}

/// The row of an inner node.
pub(super) fn encode_inner(count: u64, slots: &[Digest; 16], out: &mut Writer) {
    out.u8(1);
    out.varint(count);
    slots.iter().for_each(|slot| slot.encode(out));
}

impl Node {
    /// The hash of the node.
    pub fn hash(&self) -> Digest {
        match self {
            Self::Bucket(entries) => bucket_hash(entries),
            Self::Inner { slots, .. } => inner_hash(slots),
        }
    }

    /// How many children there are below it.
    pub fn count(&self) -> u64 {
        match self {
            Self::Bucket(entries) => entries.len() as u64,
            Self::Inner { count, .. } => *count,
        }
    }
}

impl Encode for Node {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Bucket(entries) => encode_bucket(entries, out),
            Self::Inner { count, slots } => encode_inner(*count, slots, out),
        }
    }
}

impl Decode for Node {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => {
                let len = input.length(BUCKET, "a bucket")?;
                let mut entries = Vec::with_capacity(len + 1);
                for _ in 0..len {
                    let (id, own) = (EntityId::decode(input)?, Digest::decode(input)?);
                    let has_kids = input.bool("a bucket entry")?;
                    let kids = if has_kids { Digest::decode(input)? } else { Digest::ZERO };
                    entries.push(Entry { id, own, kids });
                }
                Ok(Self::Bucket(entries))
            }
            1 => {
                let count = input.varint()?;
                let mut slots = Box::new([Digest::ZERO; 16]);
                for slot in slots.iter_mut() {
                    *slot = Digest::decode(input)?;
                }
                Ok(Self::Inner { count, slots })
            }
            tag => Err(DecodeError::UnknownTag { what: "kind of index node", found: u64::from(tag) }),
        }
    }
}
