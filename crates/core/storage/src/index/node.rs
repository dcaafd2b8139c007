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

/// What a node holds of one child, but for the root of that child's own trie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    pub(super) id: EntityId,
    pub(super) own: Digest,
}

impl Leaf {
    /// What is where nothing is yet.
    pub(super) const NONE: Self = Self { id: EntityId::ROOT, own: Digest::ZERO };
}

/// The children in a bucket, ascending by id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    pub(super) leaves: &'a [Leaf],
    /// The roots of the children's own tries, in the same places; nothing at all where all are zero, as
    /// they nearly always are.
    pub(super) kids: &'a [Digest],
}

impl<'a> Entries<'a> {
    pub(super) const fn len(self) -> usize {
        self.leaves.len()
    }

    /// Where `id` is, or else where it would be.
    pub(super) fn find(self, id: EntityId) -> Result<usize, usize> {
        self.leaves.binary_search_by(|leaf| leaf.id.cmp(&id))
    }

    pub(super) fn at(self, place: usize) -> Option<Entry> {
        let Leaf { id, own } = *self.leaves.get(place)?;
        Some(Entry { id, own, kids: self.kids.get(place).copied().unwrap_or_default() })
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Entry> + 'a {
        let kids = self.kids.iter().copied().chain(std::iter::repeat(Digest::ZERO));
        self.leaves.iter().zip(kids).map(|(&Leaf { id, own }, kids)| Entry { id, own, kids })
    }

    pub(super) fn hash(self) -> Digest {
        bucket_hash(self.iter())
    }

    /// The row of the bucket.
    pub(super) fn encode(self, out: &mut Writer) {
        encode_bucket(self.len(), self.iter(), out);
    }
}

/// The hash of a bucket with these entries; zero for no entries.
pub(super) fn bucket_hash(entries: impl IntoIterator<Item = Entry>) -> Digest {
    let mut input = [0; BUCKET * 65];
    let mut rest = &mut input[..];
    let mut put = |bytes: &[u8]| {
        if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
            to.copy_from_slice(bytes);
            rest = after;
        }
    };
    for entry in entries {
        put(&entry.own.0);
        put(&[u8::from(!entry.kids.is_zero())]);
        if !entry.kids.is_zero() {
            put(&entry.kids.0);
        }
    }
    let left = rest.len();
    match input.split_at_checked(input.len() - left) {
        Some((input, _)) if !input.is_empty() => Digest::of(3, input),
        _ => Digest::ZERO,
    }
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
fn encode_bucket(len: usize, entries: impl Iterator<Item = Entry>, out: &mut Writer) {
    out.u8(0);
    out.varint(len as u64);
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
            Self::Bucket(entries) => bucket_hash(entries.iter().copied()),
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
            Self::Bucket(entries) => encode_bucket(entries.len(), entries.iter().copied(), out),
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
