//! Tries as a store in memory keeps them: nodes that hold each other, with nothing encoded.

use super::held::{Nodes, Place, Seen};
use super::node::{Entries, Entry, Leaf, encode_inner};
use super::notes::Notes;
use super::prefix::Prefix;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use syncline_store::{AmendOutcome, Bytes, Edit, RowRun};
use syncline_types::{Decode, Digest, Encode, EntityId, Writer};

/// By how many entries the room in a bucket grows.
const GROWTH: usize = 8;

/// A node with all that is below it. Copies share what is below.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Bucket(Bucket),
    Inner(Arc<Inner>),
}

/// The children in a bucket, ascending by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    leaves: Vec<Leaf>,
    /// The roots of their own tries; nothing where all are zero.
    kids: Box<[Digest]>,
}

impl Bucket {
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { leaves: &self.leaves, kids: &self.kids }
    }

    /// Becomes one with these entries, in place if there is room.
    fn take(&mut self, entries: Entries<'_>) {
        self.leaves.clear();
        if self.leaves.capacity() < entries.len() {
            let is_new = self.leaves.capacity() == 0;
            let room = if is_new { entries.len() } else { entries.len().next_multiple_of(GROWTH) };
            // Growing would copy what is written over next.
            self.leaves = Vec::with_capacity(room);
        }
        self.leaves.extend_from_slice(entries.leaves);
        if self.kids.len() == entries.kids.len() {
            self.kids.copy_from_slice(entries.kids);
        } else {
            self.kids = entries.kids.into();
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    pub(super) count: u64,
    pub(super) slots: [Digest; 16],
    below: [Option<Kept>; 16],
}

impl Kept {
    pub(super) fn child(&self, nibble: u8) -> Option<&Self> {
        match self {
            Self::Bucket(_) => None,
            Self::Inner(inner) => inner.below.get(usize::from(nibble))?.as_ref(),
        }
    }

    /// Looks at every node on the way to each of `ids`, those of one level side by side.
    pub(super) fn visit(&self, ids: &[EntityId]) {
        let mut nodes: Vec<Option<&Self>> = vec![Some(self); ids.len()];
        let (mut prefix_len, mut seen) = (0, 0);
        while nodes.iter().any(Option::is_some) && prefix_len < Prefix::MAX_LEN {
            for (node, id) in nodes.iter_mut().zip(ids) {
                *node = node.and_then(|at| at.child(Prefix::nibble(*id, prefix_len) as u8));
                if let Some(Self::Bucket(bucket)) = node {
                    seen ^= bucket.leaves.iter().fold(0, |seen, leaf| seen ^ leaf.own.short());
                }
            }
            prefix_len += 1;
        }
        std::hint::black_box(seen);
    }

    /// Calls `each` with every entry here and below, ascending, and counts the nodes.
    pub(super) fn scan(&self, nodes: &mut u64, each: &mut impl FnMut(&Entry)) {
        *nodes += 1;
        if let Self::Bucket(bucket) = self {
            bucket.entries().iter().for_each(|entry| each(&entry));
        }
        self.children().for_each(|(_, child)| child.scan(nodes, each));
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Bucket(bucket) => bucket.entries().encode(out),
            Self::Inner(inner) => encode_inner(inner.count, &inner.slots, out),
        }
    }

    fn children(&self) -> impl Iterator<Item = (u8, &Self)> {
        let below = match self {
            Self::Bucket(_) => &[][..],
            Self::Inner(inner) => &inner.below,
        };
        (0u8..).zip(below).filter_map(|(nibble, child)| Some((nibble, child.as_ref()?)))
    }

    fn nodes(&self) -> usize {
        1 + self.children().map(|(_, child)| child.nodes()).sum::<usize>()
    }

    /// Passes the rows of all nodes exactly `level` below this one, which is at `prefix`, to `each`,
    /// from `from` on, until it says to stop. Says whether it did; `found`: whether there are any.
    fn walk_level(
        &self,
        prefix: Prefix,
        level: u8,
        from: Prefix,
        found: &mut bool,
        each: &mut dyn FnMut(&[u8], Bytes) -> bool,
    ) -> bool {
        *found |= level == 0;
        if prefix.last_id() < from.first_id() {
            return false;
        }
        if level > 0 {
            return self
                .children()
                .any(|(nibble, child)| child.walk_level(prefix.child(nibble), level - 1, from, found, each));
        }
        let mut row = Writer::default();
        self.encode(&mut row);
        each(&prefix.to_bytes(), row.into_bytes().into())
    }
}

/// The trie of one entity's children, as a run of rows: one for each node.
#[derive(Clone, Debug)]
pub(super) struct Trie(pub(super) Option<Kept>);

impl RowRun for Trie {
    fn read(&self, suffix: &[u8]) -> Option<Bytes> {
        let wanted = Prefix::from_bytes(suffix).ok()?;
        let (mut at, mut node) = (Prefix::EMPTY, self.0.as_ref()?);
        while at != wanted {
            if at.len() >= wanted.len() {
                return None;
            }
            let nibble = at.next_nibble(wanted.first_id()) as u8;
            (at, node) = (at.child(nibble), node.child(nibble)?);
        }
        let mut row = Writer::default();
        node.encode(&mut row);
        Some(row.into_bytes().into())
    }

    fn walk(&self, from: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) {
        let Some(root) = &self.0 else { return };
        let first = from.first().copied().unwrap_or(0);
        for level in first..=Prefix::MAX_LEN {
            // What `from` leaves out is checked row by row; this only skips the most of it.
            let begin = if level == first { Prefix::beginning(level, from) } else { Prefix::EMPTY };
            let mut found = false;
            let mut each = |suffix: &[u8], row| *suffix >= *from && each(suffix, row);
            if root.walk_level(Prefix::EMPTY, level, begin, &mut found, &mut each) || !found && level > first
            {
                return;
            }
        }
    }

    fn touch(&self) -> u8 {
        let first = match &self.0 {
            Some(Kept::Bucket(bucket)) => bucket.leaves.first().map(|leaf| leaf.id.0),
            Some(Kept::Inner(inner)) => inner.slots.first().map(|hash| hash.0),
            None => None,
        };
        first.map_or(0, |[byte, ..]| byte)
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Kept::nodes)
    }
}

/// What a batch has changed of one trie.
#[derive(Debug)]
pub(super) struct TrieEdit {
    /// Those of all tries of the batch.
    pub(super) nodes: Arc<Nodes>,
    /// The topmost node; nowhere: nothing is left.
    pub(super) top: Place,
    /// Nodes that were there; of those that are there again the rows are in `nodes`.
    pub(super) gone: BTreeSet<Prefix>,
    pub(super) notes: Notes,
}

impl Edit for TrieEdit {
    fn rows(&self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let mut rows: Vec<_> = self.gone.iter().map(|prefix| (prefix.to_bytes(), None)).collect();
        let mut buffer = Writer::default();
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, node| {
            buffer.clear();
            node.encode(&mut buffer);
            rows.push((prefix.to_bytes(), Some(buffer.as_slice().into())));
        });
        // Of two for one key the later counts, which is the one that is there.
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        rows.reverse();
        rows.dedup_by(|(a, _), (b, _)| a == b);
        rows.reverse();
        rows
    }

    fn each_changed(&self, each: &mut dyn FnMut(&[u8])) {
        self.gone.iter().for_each(|prefix| each(&prefix.to_bytes()));
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, _| each(&prefix.to_bytes()));
    }

    fn len(&self) -> usize {
        let mut count = self.gone.len();
        each_dirty(&self.nodes, self.top, Prefix::EMPTY, &mut |prefix, _| {
            count += usize::from(self.gone.is_empty() || !self.gone.contains(&prefix));
        });
        count
    }

    fn redo_entry(&self) -> Option<Bytes> {
        self.notes.to_bytes()
    }

    fn amend(&self, run: Option<&mut Arc<dyn RowRun>>) -> AmendOutcome {
        if self.top == Place::Nowhere {
            return AmendOutcome::Gone;
        }
        if let Some(run) = run {
            if let Some(trie) = Arc::get_mut(run).and_then(|run| (run as &mut dyn Any).downcast_mut::<Trie>())
            {
                settle(&self.nodes, self.top, &mut trie.0);
                return AmendOutcome::InPlace;
            }
            if let Some(trie) = (&**run as &dyn Any).downcast_ref::<Trie>() {
                let mut trie = trie.clone();
                settle(&self.nodes, self.top, &mut trie.0);
                *run = Arc::new(trie);
                return AmendOutcome::InPlace;
            }
        }
        let mut trie = Trie(None);
        settle(&self.nodes, self.top, &mut trie.0);
        AmendOutcome::New(Arc::new(trie))
    }
}

/// Calls `each` with every changed node, those above before those below.
fn each_dirty(nodes: &Nodes, place: Place, prefix: Prefix, each: &mut impl FnMut(Prefix, Seen<'_>)) {
    let Some(seen) = nodes.see(place).filter(|_| nodes.is_dirty(place)) else { return };
    each(prefix, seen);
    if let Seen::Inner(inner) = seen {
        for (nibble, &child) in (0u8..).zip(&inner.below).filter(|(_, child)| **child != Place::Nowhere) {
            each_dirty(nodes, child, prefix.child(nibble), each);
        }
    }
}

/// Makes `kept` what the batch has made of it. What the store did not have at hand, it has now.
fn settle(nodes: &Nodes, place: Place, kept: &mut Option<Kept>) {
    if !nodes.is_dirty(place) && kept.is_some() {
        return;
    }
    match nodes.see(place) {
        None => {}
        Some(Seen::Bucket(entries)) => {
            if !matches!(kept, Some(Kept::Bucket(_))) {
                *kept = Some(Kept::Bucket(Bucket::default()));
            }
            let Some(Kept::Bucket(own)) = kept else { return };
            own.take(entries);
        }
        Some(Seen::Inner(from)) => {
            if !matches!(kept, Some(Kept::Inner(_))) {
                *kept = Some(Kept::Inner(Arc::default()));
            }
            let Some(Kept::Inner(shared)) = kept else { return };
            let inner = Arc::make_mut(shared);
            (inner.count, inner.slots) = (from.count, from.slots);
            for ((hash, &below), own) in from.slots.iter().zip(&from.below).zip(&mut inner.below) {
                match below {
                    Place::Nowhere if hash.is_zero() => *own = None,
                    Place::Nowhere => {}
                    below => settle(nodes, below, own),
                }
            }
        }
    }
}
