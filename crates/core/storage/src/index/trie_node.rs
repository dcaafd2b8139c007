//! One node of a trie: its content, its row and its hash.

use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer};

/// The most entries of a bucket; with one more it splits by the next nibble.
pub const BUCKET: usize = 32;

/// The index entry of one child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The id of the child.
    pub id: EntityId,
    /// The digest of the record of the child.
    pub own: Digest,
    /// The root of the trie over its own children; zero without children.
    pub kids: Digest,
}

/// A node of a trie, as a row stores it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// At most [`BUCKET`] children, ascending by id.
    Bucket(Vec<Entry>),
    /// More than [`BUCKET`] children, split by the next nibble.
    Inner {
        /// The number of children below this node.
        count: u64,
        /// The hash of the node under each nibble; zero where there is none.
        slots: Box<[Digest; 16]>,
    },
}

/// An [`Entry`] without the root of the child's own trie, which is zero for most children.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    pub(super) id: EntityId,
    pub(super) own: Digest,
}

impl Leaf {
    /// Fills reserved space behind the leaves of a bucket.
    pub(super) const NONE: Self = Self { id: EntityId::ROOT, own: Digest::ZERO };
}

/// The entries of a bucket, ascending by id, borrowed from wherever they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries<'a> {
    pub(super) leaves: &'a [Leaf],
    /// The roots of the children's own tries, at the same indices. Empty if all of them are zero, which is the
    /// common case.
    pub(super) kids: &'a [Digest],
}

impl<'a> Entries<'a> {
    pub(super) const fn len(self) -> usize {
        self.leaves.len()
    }

    /// The index of `id`, or else the index at which it would be inserted.
    pub(super) fn find(self, id: EntityId) -> Result<usize, usize> {
        self.leaves.binary_search_by(|leaf| leaf.id.cmp(&id))
    }

    pub(super) fn at(self, index: usize) -> Option<Entry> {
        let Leaf { id, own } = *self.leaves.get(index)?;
        Some(Entry { id, own, kids: self.kids.get(index).copied().unwrap_or_default() })
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Entry> + 'a {
        let kids = self.kids.iter().copied().chain(std::iter::repeat(Digest::ZERO));
        self.leaves.iter().zip(kids).map(|(&Leaf { id, own }, kids)| Entry { id, own, kids })
    }

    pub(super) fn hash(self) -> Digest {
        bucket_hash(self.iter())
    }

    /// Writes the row of the bucket.
    pub(super) fn encode(self, out: &mut Writer) {
        encode_bucket(self.len(), self.iter(), out);
    }
}

/// The hash of a bucket with these entries; zero for no entries. The ids are not hashed: the digest of a
/// record commits to its id.
pub(super) fn bucket_hash(entries: impl IntoIterator<Item = Entry>) -> Digest {
    let mut input = [0; BUCKET * 65];
    let mut rest = &mut input[..];
    let mut put = |bytes: &[u8]| {
        if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
            to.copy_from_slice(bytes);
            rest = after;
        } else {
            // Only a bucket of more than `BUCKET` entries does not fit. At full depth a bucket has one id, and
            // everywhere else it splits.
            debug_assert!(false, "a bucket has at most BUCKET entries");
        }
    };
    // The input is assembled on the stack: a bucket is hashed for nearly every change of the state.
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

/// Writes the row of a bucket.
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

/// Writes the row of an inner node.
pub(super) fn encode_inner(count: u64, slots: &[Digest; 16], out: &mut Writer) {
    out.u8(1);
    out.varint(count);
    slots.iter().for_each(|slot| slot.encode(out));
}

impl Node {
    /// The hash of the node, as its parent names it.
    pub fn hash(&self) -> Digest {
        match self {
            Self::Bucket(entries) => bucket_hash(entries.iter().copied()),
            Self::Inner { slots, .. } => inner_hash(slots),
        }
    }

    /// The number of children below this node.
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
                // One more, since a change is likely to add an entry.
                let mut entries = Vec::with_capacity(len + 1);
                for _ in 0..len {
                    let id = EntityId::decode(input)?;
                    let own = Digest::decode(input)?;
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
