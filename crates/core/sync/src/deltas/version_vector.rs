//! Version vectors, as persistent Merkle tries.
//!
//! A context may have tens of thousands of authors, and a replica compares its vector with those of its peers all
//! the time. So a vector shares its parts with the vectors that it was made from: a clone takes O(1), a change
//! O(log authors), and a comparison as long as the two differ.
//!
//! The trie has sixteen children per node, by the digits of the author's id, and its leaves have up to
//! [`LEAF_ENTRIES`] entries. Its shape depends on the entries only: a node is a branch if, and only if, it has more
//! entries than a leaf may have. Equal vectors therefore have equal digests. An id has 32 digits, which bounds
//! the depth of the trie and of the recursions in this file.

use super::Dot;
use std::fmt;
use std::sync::{Arc, OnceLock};
use syncline_types::{Decode, DecodeError, Digest, Encode, Reader, ReplicaId, Writer, limits};

/// The most entries of a leaf.
const LEAF_ENTRIES: usize = 32;
/// The number of digits of an author's id.
const DIGITS: usize = 32;
/// Separates the digests of version vectors from others.
const LEAF_TAG: u8 = 0x56;
const BRANCH_TAG: u8 = 0x57;

/// A version vector: for each author, the number of its last covered delta. That delta and all before
/// it are in the state.
#[derive(Clone, Default)]
pub struct VersionVector {
    root: Arc<TrieNode>,
    /// At least the greatest number of all entries.
    greatest: u64,
}

#[derive(Clone, Default)]
struct TrieNode {
    entries: TrieEntries,
    /// The number of entries in this node and below it.
    len: usize,
    /// Computed when it is first needed. Empty in a node that has changed.
    digest: OnceLock<Digest>,
}

#[derive(Clone)]
enum TrieEntries {
    /// Ascending by author.
    Leaf(Vec<Dot>),
    Branch(Box<[Option<Arc<TrieNode>>; 16]>),
}

impl Default for TrieEntries {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl TrieEntries {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(dots) => dots.len(),
            Self::Branch(children) => children.iter().flatten().map(|child| child.len).sum(),
        }
    }
}

/// Sets an entry in the child that it belongs to.
fn set_below(children: &mut [Option<Arc<TrieNode>>; 16], dot: Dot, depth: usize) {
    if let Some(child) = children.get_mut(digit(dot.author, depth)) {
        child.get_or_insert_default().set(dot, depth + 1);
    }
}

/// The `depth`-th digit of an id.
fn digit(author: ReplicaId, depth: usize) -> usize {
    debug_assert!(depth < DIGITS, "ids that agree in all digits are equal");
    let byte = author.0.get(depth / 2).copied().unwrap_or_default();
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0xf })
}

impl TrieNode {
    fn of(&self, author: ReplicaId) -> u64 {
        let mut node = self;
        let mut depth = 0;
        loop {
            match &node.entries {
                TrieEntries::Leaf(dots) => {
                    let at = dots.binary_search_by_key(&author, |dot| dot.author);
                    return at.ok().and_then(|at| dots.get(at)).map_or(0, |dot| dot.seq);
                }
                TrieEntries::Branch(children) => match children.get(digit(author, depth)) {
                    Some(Some(child)) => node = child,
                    _ => return 0,
                },
            }
            depth += 1;
        }
    }

    /// Sets the entry of an author, which is not zero.
    fn set(self: &mut Arc<Self>, dot: Dot, depth: usize) {
        let node = Arc::make_mut(self);
        node.digest = OnceLock::new();
        match &mut node.entries {
            TrieEntries::Leaf(dots) => match dots.binary_search_by_key(&dot.author, |dot| dot.author) {
                Ok(at) => dots.get_mut(at).into_iter().for_each(|entry| entry.seq = dot.seq),
                Err(at) => {
                    dots.insert(at, dot);
                    if dots.len() > LEAF_ENTRIES {
                        let mut children: Box<[Option<Arc<Self>>; 16]> = Box::default();
                        dots.drain(..).for_each(|dot| set_below(&mut children, dot, depth));
                        node.entries = TrieEntries::Branch(children);
                    }
                }
            },
            TrieEntries::Branch(children) => set_below(children, dot, depth),
        }
        node.len = node.entries.len();
    }

    /// Removes the entry of an author.
    fn remove(self: &mut Arc<Self>, author: ReplicaId, depth: usize) {
        let node = Arc::make_mut(self);
        node.digest = OnceLock::new();
        match &mut node.entries {
            TrieEntries::Leaf(dots) => dots.retain(|dot| dot.author != author),
            TrieEntries::Branch(children) => {
                if let Some(place) = children.get_mut(digit(author, depth))
                    && let Some(child) = place
                {
                    child.remove(author, depth + 1);
                    if child.len == 0 {
                        *place = None;
                    }
                }
            }
        }
        node.len = node.entries.len();
        if node.len <= LEAF_ENTRIES && matches!(node.entries, TrieEntries::Branch(_)) {
            node.entries = TrieEntries::Leaf(node.dots());
        }
    }

    fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut out = Writer::default();
            match &self.entries {
                TrieEntries::Leaf(dots) => {
                    out.list(dots);
                    Digest::of(LEAF_TAG, out.as_slice())
                }
                TrieEntries::Branch(children) => {
                    for child in children.iter() {
                        child.as_ref().map_or(Digest::ZERO, |child| child.digest()).encode(&mut out);
                    }
                    Digest::of(BRANCH_TAG, out.as_slice())
                }
            }
        })
    }

    fn collect(&self, into: &mut Vec<Dot>) {
        match &self.entries {
            TrieEntries::Leaf(dots) => into.extend_from_slice(dots),
            TrieEntries::Branch(children) => {
                children.iter().flatten().for_each(|child| child.collect(into));
            }
        }
    }

    fn dots(&self) -> Vec<Dot> {
        let mut dots = Vec::new();
        self.collect(&mut dots);
        dots
    }
}

/// Calls `found` with each author whose entries differ and both numbers, ascending, until it returns false.
/// Returns whether it always returned true.
fn compare(
    own: &Arc<TrieNode>,
    other: &Arc<TrieNode>,
    found: &mut dyn FnMut(ReplicaId, u64, u64) -> bool,
) -> bool {
    if Arc::ptr_eq(own, other) {
        return true;
    }
    if let (TrieEntries::Branch(ours), TrieEntries::Branch(theirs)) = (&own.entries, &other.entries) {
        if own.digest() == other.digest() {
            return true;
        }
        let empty = Arc::new(TrieNode::default());
        return ours.iter().zip(theirs.iter()).all(|(ours, theirs)| {
            compare(ours.as_ref().unwrap_or(&empty), theirs.as_ref().unwrap_or(&empty), found)
        });
    }
    // A leaf is on one side at least. If the other side is a branch, nearly all of its entries differ.
    let ours = own.dots();
    let theirs = other.dots();
    let mut ours = ours.iter().peekable();
    let mut theirs = theirs.iter().peekable();
    loop {
        let author = match (ours.peek(), theirs.peek()) {
            (None, None) => return true,
            (Some(dot), None) | (None, Some(dot)) => dot.author,
            (Some(one), Some(two)) => one.author.min(two.author),
        };
        let own = ours.next_if(|dot| dot.author == author).map_or(0, |dot| dot.seq);
        let other = theirs.next_if(|dot| dot.author == author).map_or(0, |dot| dot.seq);
        if own != other && !found(author, own, other) {
            return false;
        }
    }
}

impl VersionVector {
    /// How many of `author`'s deltas the vector covers. O(log authors).
    pub fn of(&self, author: ReplicaId) -> u64 {
        self.root.of(author)
    }

    /// Whether the vector covers the delta at `dot`.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.seq <= self.of(dot.author)
    }

    /// The number of authors.
    pub fn len(&self) -> usize {
        self.root.len
    }

    /// Whether the vector covers nothing.
    pub fn is_empty(&self) -> bool {
        self.root.len == 0
    }

    /// Extends the vector to cover `dot` and all earlier deltas of its author. O(log authors).
    pub fn cover(&mut self, dot: Dot) {
        if !self.covers(dot) {
            self.root.set(dot, 0);
            self.greatest = self.greatest.max(dot.seq);
        }
    }

    /// Sets the entry of `author`, be it greater or less than before; zero removes it. O(log authors).
    pub(crate) fn set(&mut self, author: ReplicaId, seq: u64) {
        if seq >= self.of(author) {
            self.cover(Dot { author, seq });
        } else if seq > 0 {
            self.root.set(Dot { author, seq }, 0);
        } else {
            self.root.remove(author, 0);
        }
    }

    /// Raises the vector to the least upper bound of itself and `other`, except for authors beyond
    /// [`limits::MAX_REPLICAS`]. Returns whether it has changed. O(difference · log authors).
    pub fn join(&mut self, other: &Self) -> bool {
        if self.is_empty() {
            *self = other.clone();
            return !self.is_empty();
        }
        let mut changed = false;
        for (author, own, seq) in self.difference(other) {
            if seq > own && self.has_room_for(author) {
                self.cover(Dot { author, seq });
                changed = true;
            }
        }
        changed
    }

    /// Whether an honest peer could have this vector. Adopting a sequence number near
    /// [`limits::MAX_DELTA_SEQ`] would leave its author unable to write; at most half of that leaves
    /// enough room.
    pub const fn is_plausible(&self) -> bool {
        self.greatest <= limits::MAX_DELTA_SEQ / 2
    }

    /// Whether the vector covers everything that `other` covers. O(difference).
    pub fn includes(&self, other: &Self) -> bool {
        compare(&self.root, &other.root, &mut |_, own, other| own >= other)
    }

    /// How many deltas `self` covers and `other` does not. `None` if `other` is below `floor`, where
    /// the log has pruned deltas that `other` lacks. O(difference · log authors).
    pub fn beyond(&self, other: &Self, floor: &Self) -> Option<u64> {
        let mut gap = 0u64;
        let has_all = compare(&self.root, &other.root, &mut |author, own, other| {
            let missing = own.saturating_sub(other);
            gap = gap.saturating_add(missing);
            missing == 0 || other >= floor.of(author)
        });
        has_all.then_some(gap)
    }

    /// Whether the vector covers `author` already or can take one author more.
    pub fn has_room_for(&self, author: ReplicaId) -> bool {
        self.len() < limits::MAX_REPLICAS || self.of(author) > 0
    }

    /// The last covered delta of each author, ascending by author.
    pub fn entries(&self) -> impl Iterator<Item = Dot> + use<> {
        self.root.dots().into_iter()
    }

    /// The authors whose entries differ, with the numbers here and in `other`, ascending by author. O(difference).
    pub fn difference(&self, other: &Self) -> Vec<(ReplicaId, u64, u64)> {
        let mut found = Vec::new();
        compare(&self.root, &other.root, &mut |author, own, other| {
            found.push((author, own, other));
            true
        });
        found
    }

    /// The entries of `other` that differ from those here, ascending by author, if there are fewer than `most`; zero
    /// where `other` has none. O(most).
    pub(crate) fn changes_to(&self, other: &Self, most: usize) -> Option<Vec<(ReplicaId, u64)>> {
        let mut found = Vec::new();
        let mut is_less = most > 0;
        compare(&self.root, &other.root, &mut |author, _, seq| {
            found.push((author, seq));
            is_less = found.len() < most;
            is_less
        });
        is_less.then_some(found)
    }

    /// The same vector, sharing its parts with `other` as far as they agree, if fewer than `most` entries differ.
    /// O(most · log authors).
    pub(crate) fn shared_with(&self, other: &Self, most: usize) -> Option<Self> {
        let mut shared = other.clone();
        other.changes_to(self, most)?.into_iter().for_each(|(author, seq)| shared.set(author, seq));
        debug_assert_eq!(shared.digest(), self.digest(), "the entries are the same");
        Some(shared)
    }

    /// A digest of the whole vector: equal vectors have equal digests. O(what has changed since it was last
    /// computed).
    pub fn digest(&self) -> Digest {
        self.root.digest()
    }
}

/// In any order. Of two entries of one author the later delta counts.
impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::default();
        dots.into_iter().for_each(|dot| vector.cover(dot));
        vector
    }
}

impl PartialEq for VersionVector {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && compare(&self.root, &other.root, &mut |_, _, _| false)
    }
}

impl Eq for VersionVector {}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().map(|dot| (dot.author, dot.seq))).finish()
    }
}

impl Encode for VersionVector {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.root.dots());
    }
}

impl Decode for VersionVector {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dots: Vec<Dot> = input.list(limits::MAX_REPLICAS, "a version vector")?;
        if dots.windows(2).any(|pair| matches!(pair, [a, b] if a.author >= b.author)) {
            return Err(DecodeError::NotCanonical { what: "a version vector" });
        }
        Ok(dots.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Ids whose first digits agree, so that the trie becomes deep, or that are spread.
    fn author(n: u64, spread: bool) -> ReplicaId {
        let mut id = [0x77; 16];
        let digits = if spread { n.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { n };
        let at = if spread { 0 } else { 8 };
        id.iter_mut().skip(at).zip(digits.to_be_bytes()).for_each(|(byte, given)| *byte = given);
        ReplicaId(id)
    }

    #[test]
    fn agrees_with_a_map() {
        let mut state = 7;
        for round in 0..60 {
            let mut one = (VersionVector::default(), BTreeMap::new());
            let mut two = one.clone();
            for _ in 0..random(&mut state) % 300 {
                let dot = Dot {
                    author: author(random(&mut state) % 200, round % 2 == 0),
                    seq: 1 + random(&mut state) % 9,
                };
                for side in [&mut one, &mut two].into_iter().take(1 + random(&mut state) as usize % 2) {
                    side.0.cover(dot);
                    let seq: &mut u64 = side.1.entry(dot.author).or_default();
                    *seq = (*seq).max(dot.seq);
                }
            }
            for (vector, map) in [&one, &two] {
                let entries: Vec<_> = vector.entries().map(|dot| (dot.author, dot.seq)).collect();
                assert_eq!(entries, map.clone().into_iter().collect::<Vec<_>>());
                assert_eq!(vector.len(), map.len());
                assert_eq!(&VersionVector::from_bytes(&vector.to_bytes()).unwrap(), vector);
            }
            let of = |map: &BTreeMap<ReplicaId, u64>, id: &ReplicaId| map.get(id).copied().unwrap_or(0);
            let authors: std::collections::BTreeSet<_> = one.1.keys().chain(two.1.keys()).collect();
            let differing = authors.into_iter().map(|id| (*id, of(&one.1, id), of(&two.1, id)));
            let differing: Vec<_> = differing.filter(|(_, own, other)| own != other).collect();
            assert_eq!(one.0.difference(&two.0), differing);
            assert_eq!(one.0 == two.0, differing.is_empty());
            assert_eq!(one.0.digest() == two.0.digest(), differing.is_empty());
            assert_eq!(one.0.includes(&two.0), differing.iter().all(|(_, own, other)| own >= other));
            let mut joined = one.0.clone();
            joined.join(&two.0);
            assert!(joined.includes(&one.0) && joined.includes(&two.0));
            let mut other_way = two.0.clone();
            other_way.join(&one.0);
            assert_eq!(
                (&joined, joined.digest()),
                (&other_way, other_way.digest()),
                "the shape is canonical"
            );
        }
    }

    #[test]
    fn removal_restores_the_shape() {
        for spread in [false, true] {
            let dots: Vec<Dot> = (0..2_000).map(|n| Dot { author: author(n, spread), seq: 1 + n }).collect();
            let mut vector: VersionVector = dots.iter().copied().collect();
            for (at, dot) in dots.iter().enumerate().rev() {
                vector.set(dot.author, 0);
                if at % 97 == 0 {
                    let expected: VersionVector = dots[..at].iter().copied().collect();
                    assert_eq!((vector.len(), vector.digest()), (at, expected.digest()));
                }
            }
            assert_eq!(vector.digest(), VersionVector::default().digest());
            vector.set(author(1, spread), 9);
            vector.set(author(1, spread), 3);
            assert_eq!(vector.of(author(1, spread)), 3, "it is lowered");
        }
    }

    #[test]
    fn a_clone_shares_what_has_not_changed() {
        let vector: VersionVector = (0..10_000).map(|n| Dot { author: author(n, true), seq: 1 }).collect();
        let mut changed = vector.clone();
        changed.cover(Dot { author: author(77, true), seq: 2 });
        let mut nodes = 0;
        count_shared(&vector.root, &changed.root, &mut nodes);
        assert!(nodes < 8, "{nodes} nodes were copied");
        assert_eq!(vector.difference(&changed), [(author(77, true), 1, 2)]);
    }

    /// Counts the nodes of `own` that `other` does not share.
    fn count_shared(own: &Arc<TrieNode>, other: &Arc<TrieNode>, copied: &mut usize) {
        if Arc::ptr_eq(own, other) {
            return;
        }
        *copied += 1;
        if let (TrieEntries::Branch(own), TrieEntries::Branch(other)) = (&own.entries, &other.entries) {
            for pair in own.iter().zip(other.iter()) {
                if let (Some(own), Some(other)) = pair {
                    count_shared(own, other, copied);
                }
            }
        }
    }

    #[test]
    fn beyond_stops_at_the_floor() {
        let at = |seq| VersionVector::from_iter([Dot { author: author(1, true), seq }]);
        assert_eq!(at(9).beyond(&at(4), &at(4)), Some(5));
        assert_eq!(at(9).beyond(&at(4), &at(5)), None);
        assert_eq!(at(4).beyond(&at(9), &at(5)), Some(0));
    }
}
