//! Nodes as a batch sees and changes them.

use super::arena::{Arena, Spot};
use super::kept::Kept;
use super::node::{BUCKET, Entries, Entry, Leaf, Node, encode_inner, inner_hash};
use super::prefix::Prefix;
use syncline_types::{Digest, Writer};

/// Where a node is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Place {
    /// The batch has not come to it, or it is not there.
    #[default]
    Nowhere,
    Bucket(u32),
    Inner(u32),
}

/// The nodes that a batch has come to, one after the other: making and dropping them costs a few
/// allocations whatever their number, and going over them in the order of ids goes over memory in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    buckets: Vec<Bucket>,
    inners: Vec<Inner>,
    /// Those of each bucket together, with room for more behind them.
    leaves: Arena<Leaf>,
    /// The roots of the children's own tries, for buckets that have any.
    kids: Arena<Digest>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    at: Spot,
    len: usize,
    room: usize,
    /// Where its part of [`Nodes::kids`] is.
    kids: Option<Spot>,
    state: State,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) count: u64,
    pub(super) slots: [Digest; 16],
    /// By nibble. What is not here is as the view has it, if a slot names it.
    pub(super) below: [Place; 16],
    state: State,
}

/// What must be done about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct State {
    /// Differs from the view.
    dirty: bool,
    /// Its hash, or that of a node below it, is out of date in its parent.
    stale: bool,
}

const CHANGED: State = State { dirty: true, stale: true };

/// A node that is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    Bucket(Entries<'a>),
    Inner(&'a Inner),
}

impl Seen<'_> {
    /// Its hash, if the slots are up to date.
    pub(super) fn hash(self) -> Digest {
        match self {
            Self::Bucket(entries) => entries.hash(),
            Self::Inner(inner) => inner_hash(&inner.slots),
        }
    }

    pub(super) fn encode(self, out: &mut Writer) {
        match self {
            Self::Bucket(entries) => entries.encode(out),
            Self::Inner(inner) => encode_inner(inner.count, &inner.slots, out),
        }
    }

    /// A copy of the node without what is below it.
    pub(super) fn to_node(self) -> Node {
        match self {
            Self::Bucket(entries) => Node::Bucket(entries.iter().collect()),
            Self::Inner(inner) => Node::Inner { count: inner.count, slots: Box::new(inner.slots) },
        }
    }
}

impl Nodes {
    pub(super) fn see(&self, place: Place) -> Option<Seen<'_>> {
        match place {
            Place::Nowhere => None,
            Place::Bucket(at) => self.entries(at).map(Seen::Bucket),
            Place::Inner(at) => self.inners.get(at as usize).map(Seen::Inner),
        }
    }

    pub(super) fn entries(&self, bucket: u32) -> Option<Entries<'_>> {
        let Bucket { at, len, kids, .. } = *self.buckets.get(bucket as usize)?;
        let kids = match kids {
            Some(at) => self.kids.get(at, len)?,
            None => &[],
        };
        Some(Entries { leaves: self.leaves.get(at, len)?, kids })
    }

    pub(super) fn inner(&self, at: u32) -> Option<&Inner> {
        self.inners.get(at as usize)
    }

    pub(super) fn inner_mut(&mut self, at: u32) -> Option<&mut Inner> {
        self.inners.get_mut(at as usize)
    }

    fn state(&mut self, place: Place) -> Option<&mut State> {
        match place {
            Place::Nowhere => None,
            Place::Bucket(at) => self.buckets.get_mut(at as usize).map(|bucket| &mut bucket.state),
            Place::Inner(at) => self.inners.get_mut(at as usize).map(|inner| &mut inner.state),
        }
    }

    pub(super) fn mark_changed(&mut self, place: Place) {
        self.state(place).into_iter().for_each(|state| *state = CHANGED);
    }

    pub(super) fn is_dirty(&self, place: Place) -> bool {
        match place {
            Place::Nowhere => false,
            Place::Bucket(at) => self.buckets.get(at as usize).is_some_and(|bucket| bucket.state.dirty),
            Place::Inner(at) => self.inners.get(at as usize).is_some_and(|inner| inner.state.dirty),
        }
    }

    fn add_inner(&mut self, inner: Inner) -> Place {
        self.inners.push(inner);
        Place::Inner((self.inners.len() - 1) as u32)
    }

    fn add_entries(&mut self, entries: &[Entry], more: usize, state: State) -> Place {
        let leaves: Vec<Leaf> = entries.iter().map(|entry| Leaf { id: entry.id, own: entry.own }).collect();
        let has_kids = entries.iter().any(|entry| !entry.kids.is_zero());
        let kids: Vec<Digest> = entries.iter().filter(|_| has_kids).map(|entry| entry.kids).collect();
        self.add_bucket(Entries { leaves: &leaves, kids: &kids }, more, state)
    }

    /// Adds a bucket with these entries and room for `more` behind them.
    fn add_bucket(&mut self, Entries { leaves, kids }: Entries<'_>, more: usize, state: State) -> Place {
        let at = self.leaves.add(leaves, more, Leaf::NONE);
        let kids = (!kids.is_empty()).then(|| self.kids.add(kids, more, Digest::ZERO));
        self.buckets.push(Bucket { at, len: leaves.len(), room: leaves.len() + more, kids, state });
        Place::Bucket((self.buckets.len() - 1) as u32)
    }

    /// Holds the node of a row, with room for `more` entries.
    pub(super) fn add_row(&mut self, node: Node, more: usize) -> Place {
        match node {
            Node::Bucket(entries) => self.add_entries(&entries, more, State::default()),
            Node::Inner { count, slots } => {
                self.add_inner(Inner { count, slots: *slots, ..Inner::default() })
            }
        }
    }

    /// Holds a node that the store keeps, with room for `more` entries.
    pub(super) fn add_kept(&mut self, kept: &Kept, more: usize) -> Place {
        match kept {
            Kept::Bucket(bucket) => {
                let entries = bucket.entries();
                let more = more.min(BUCKET.saturating_sub(entries.len()));
                self.add_bucket(entries, more, State::default())
            }
            Kept::Inner(inner) => {
                self.add_inner(Inner { count: inner.count, slots: inner.slots, ..Inner::default() })
            }
        }
    }

    /// Holds a new subtree of these entries under `prefix`, split over as many levels as they need.
    pub(super) fn plant(&mut self, entries: &[Entry], prefix: Prefix) -> Place {
        if entries.is_empty() {
            return Place::Nowhere;
        }
        if entries.len() <= BUCKET || prefix.len() == Prefix::MAX_LEN {
            return self.add_entries(entries, 0, CHANGED);
        }
        let mut inner = Inner { count: entries.len() as u64, state: CHANGED, ..Inner::default() };
        let mut rest = entries;
        for (nibble, below) in (0u8..).zip(&mut inner.below) {
            let until = rest.partition_point(|entry| prefix.next_nibble(entry.id) <= usize::from(nibble));
            let (group, others) = rest.split_at(until);
            *below = self.plant(group, prefix.child(nibble));
            rest = others;
        }
        self.add_inner(inner)
    }

    /// Changes the entry at `at` of a bucket. Says whether that made a difference.
    pub(super) fn set_entry(&mut self, bucket: u32, at: usize, entry: Entry) -> Option<bool> {
        if self.entries(bucket)?.at(at)? == entry {
            return Some(false);
        }
        self.own_kids(bucket, entry.kids)?;
        let Bucket { at: spot, len, kids, state, .. } = self.buckets.get_mut(bucket as usize)?;
        *state = CHANGED;
        *self.leaves.get_mut(*spot, *len)?.get_mut(at)? = Leaf { id: entry.id, own: entry.own };
        if let Some(kids) = kids {
            *self.kids.get_mut(*kids, *len)?.get_mut(at)? = entry.kids;
        }
        Some(true)
    }

    /// Puts a new entry at `at` into a bucket.
    pub(super) fn insert_entry(&mut self, bucket: u32, at: usize, entry: Entry) -> Option<()> {
        self.own_kids(bucket, entry.kids)?;
        self.make_room(bucket)?;
        let Bucket { at: spot, len, kids, state, .. } = self.buckets.get_mut(bucket as usize)?;
        *state = CHANGED;
        let leaves = self.leaves.get_mut(*spot, *len + 1)?;
        leaves.get_mut(at..)?.rotate_right(1);
        *leaves.get_mut(at)? = Leaf { id: entry.id, own: entry.own };
        if let Some(kids) = *kids {
            let kids = self.kids.get_mut(kids, *len + 1)?;
            kids.get_mut(at..)?.rotate_right(1);
            *kids.get_mut(at)? = entry.kids;
        }
        *len += 1;
        Some(())
    }

    /// Takes the entry at `at` out of a bucket.
    pub(super) fn remove_entry(&mut self, bucket: u32, at: usize) -> Option<Entry> {
        let removed = self.entries(bucket)?.at(at)?;
        let Bucket { at: spot, len, kids, state, .. } = self.buckets.get_mut(bucket as usize)?;
        *state = CHANGED;
        self.leaves.get_mut(*spot, *len)?.get_mut(at..)?.rotate_left(1);
        if let Some(kids) = *kids {
            self.kids.get_mut(kids, *len)?.get_mut(at..)?.rotate_left(1);
        }
        *len -= 1;
        Some(removed)
    }

    /// A place for kids, if those of an entry are to go into a bucket that has none.
    fn own_kids(&mut self, bucket: u32, kids: Digest) -> Option<()> {
        let bucket = self.buckets.get_mut(bucket as usize)?;
        if !kids.is_zero() && bucket.kids.is_none() {
            bucket.kids = Some(self.kids.add(&[], bucket.room, Digest::ZERO));
        }
        Some(())
    }

    /// Room for one more entry: a bucket without it moves to the end.
    fn make_room(&mut self, bucket: u32) -> Option<()> {
        const MORE: usize = 4;
        let Bucket { at, len, room, kids, .. } = *self.buckets.get(bucket as usize)?;
        if len < room {
            return Some(());
        }
        let leaves = self.leaves.get(at, len)?.to_vec();
        let at = self.leaves.add(&leaves, MORE, Leaf::NONE);
        let kids = match kids {
            Some(kids) => {
                let kids = self.kids.get(kids, len)?.to_vec();
                Some(self.kids.add(&kids, MORE, Digest::ZERO))
            }
            None => None,
        };
        let own = self.buckets.get_mut(bucket as usize)?;
        (own.at, own.room, own.kids) = (at, len + MORE, kids);
        Some(())
    }

    /// Brings the slots of every stale node here and below up to date, and gives the hash of this one.
    pub(super) fn refresh(&mut self, place: Place, hashes: &mut u64) -> Digest {
        let stale = self.state(place).is_some_and(|state| std::mem::take(&mut state.stale));
        if let (true, Place::Inner(at)) = (stale, place) {
            let below = self.inner(at).map_or([Place::Nowhere; 16], |inner| inner.below);
            for (nibble, child) in below.into_iter().enumerate() {
                if self.state(child).is_some_and(|state| state.stale) {
                    let fresh = self.refresh(child, hashes);
                    let slot = self.inner_mut(at).and_then(|inner| inner.slots.get_mut(nibble));
                    slot.into_iter().for_each(|slot| *slot = fresh);
                }
            }
        }
        *hashes += 1;
        self.see(place).map_or(Digest::ZERO, Seen::hash)
    }
}
