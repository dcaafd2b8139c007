//! A persistent ordered map from byte strings: what [`MemoryStore`](crate::MemoryStore) is made of.
//!
//! A radix tree over half bytes with buckets at the leaves (a *burst trie*: Heinz, Zobel, Williams,
//! 2002) and compressed paths (Morrison, "PATRICIA", 1968). Nodes are shared: a clone is one
//! reference, and a write copies the nodes on its path that someone else still holds. Nearly all
//! keys here are hashes, so the tree is as deep as the logarithm of its size to base 16 and a lookup
//! misses the cache about twice; a B-tree of the same rows missed it ten times.
//!
//! A bucket is in no order, so that a new entry goes to its end, and keeps beside it the two bytes of each
//! key that follow what all keys there begin with: a key that is not there is nearly always seen to be missing
//! in one look, and so are those that do not lie in a range. Those who walk over a bucket sort it.

use crate::Key;
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries a leaf holds before it splits.
const BUCKET: usize = 32;
/// One for keys that end here, and one for each half byte.
const SLOTS: usize = 17;
/// How many keys are looked at side by side.
pub(crate) const AT_ONCE: usize = 16;
/// By how many entries a bucket grows.
const GROWTH: usize = 4;

#[derive(Clone, Debug)]
enum Node<V> {
    Bucket(Bucket<V>),
    /// All keys here agree up to the half byte `at`, and not all on that one.
    Inner {
        at: usize,
        prefix: Key,
        children: [Option<Arc<Self>>; SLOTS],
    },
}

/// Entries in no order.
#[derive(Clone, Debug)]
struct Bucket<V> {
    /// How many first bytes all keys here have in common, or fewer.
    shared: usize,
    /// What follows those in the key of each entry.
    heads: [u16; BUCKET],
    entries: Vec<(Key, V)>,
}

/// The two bytes of a key from `at` on, with zeros behind its end. Where keys with the same first `at` bytes
/// differ in it, it orders them.
fn head(key: &[u8], at: usize) -> u16 {
    let byte = |at| key.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(at), byte(at + 1)])
}

impl<V> Bucket<V> {
    fn of(entries: Vec<(Key, V)>) -> Self {
        let first = entries.first().map(|(key, _)| key);
        let common_with = |key: &Key| first.map_or(0, |first| common(first, key) / 2);
        let shared = entries.iter().map(|(key, _)| common_with(key)).min().unwrap_or(0);
        let mut heads = [0; BUCKET];
        for (to, (key, _)) in heads.iter_mut().zip(&entries) {
            *to = head(key, shared);
        }
        Self { shared, heads, entries }
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        let wanted = head(key, self.shared);
        let heads = self.heads.iter().take(self.entries.len()).enumerate();
        let mut places = heads.filter(|(_, own)| **own == wanted).map(|(place, _)| place);
        places.find(|place| self.entries.get(*place).is_some_and(|(own, _)| **own == *key))
    }

    fn value(&self, key: &[u8]) -> Option<&V> {
        self.entries.get(self.find(key)?).map(|(_, value)| value)
    }

    fn value_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let place = self.find(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// What all keys here begin with.
    fn beginning(&self) -> &[u8] {
        self.entries.last().and_then(|(key, _)| key.get(..self.shared)).unwrap_or_default()
    }

    /// Adds an entry whose key is not here.
    fn push(&mut self, key: Key, value: V) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        if !key.starts_with(self.beginning()) {
            let mut entries = std::mem::take(&mut self.entries);
            entries.push((key, value));
            *self = Self::of(entries);
            return;
        }
        if let Some(to) = self.heads.get_mut(self.entries.len()) {
            *to = head(&key, self.shared);
        }
        self.entries.push((key, value));
    }

    fn remove(&mut self, place: usize) {
        if let Some(last) = self.entries.len().checked_sub(1).filter(|last| place <= *last) {
            self.heads.swap(place, last);
            self.entries.swap_remove(place);
        }
    }

    /// The first entry whose head lies between those of `from` and `to`, or is one of them: if both begin as all
    /// keys here do, none before it has a key between them.
    fn likely_between(&self, from: &[u8], to: &[u8]) -> Option<&(Key, V)> {
        let heads = head(from, self.shared)..=head(to, self.shared);
        self.entries.get(self.heads.iter().take(self.entries.len()).position(|own| heads.contains(own))?)
    }

    /// The entries with `from <= key < to`, in no order. Where there is no bound, all are wanted.
    fn between<'b>(
        &'b self,
        from: Option<&'b [u8]>,
        to: Option<&'b [u8]>,
    ) -> impl Iterator<Item = &'b (Key, V)> {
        // Where a bound begins otherwise than all keys here do, they are all above it or all below. Where both
        // bounds begin alike, a key that does lie between them tells so itself.
        let start = |bound: &'b [u8]| bound.get(..self.shared);
        let alike = from.and_then(start).is_some_and(|one| to.and_then(start) == Some(one));
        let order_of = |bound: &'b [u8]| match alike {
            true => Ordering::Equal,
            false => start(bound).unwrap_or(bound).cmp(self.beginning()),
        };
        let (least, none_above) = match from.map(|from| (order_of(from), from)) {
            Some((Ordering::Equal, from)) => (Some((head(from, self.shared), from)), false),
            Some((Ordering::Greater, _)) => (None, true),
            Some((Ordering::Less, _)) | None => (None, false),
        };
        let (most, none_below) = match to.map(|to| (order_of(to), to)) {
            Some((Ordering::Equal, to)) => (Some((head(to, self.shared), to)), false),
            Some((Ordering::Less, _)) => (None, true),
            Some((Ordering::Greater, _)) | None => (None, false),
        };
        let heads = if none_above || none_below { &[] } else { &self.heads[..] };
        heads
            .iter()
            .zip(&self.entries)
            .filter(move |(own, (key, _))| {
                let (sure, own) = (!alike, **own);
                least.is_none_or(|(least, from)| own > least && sure || own >= least && **key >= *from)
                    && most.is_none_or(|(most, to)| own < most && sure || own <= most && **key < *to)
            })
            .map(|(_, entry)| entry)
    }
}

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct RadixMap<V> {
    root: Option<Arc<Node<V>>>,
    len: usize,
}

impl<V> Default for RadixMap<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

/// Which child of a node that branches at the half byte `at` leads to `key`.
fn slot(key: &[u8], at: usize) -> usize {
    match key.get(at / 2) {
        None => 0,
        Some(byte) if at.is_multiple_of(2) => usize::from(byte >> 4) + 1,
        Some(byte) => usize::from(byte & 15) + 1,
    }
}

/// How many half bytes `a` and `b` have in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    let bytes = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let half = matches!((a.get(bytes), b.get(bytes)), (Some(a), Some(b)) if a >> 4 == b >> 4);
    bytes * 2 + usize::from(half)
}

impl<V: Clone> Node<V> {
    fn inner(at: usize, key: &[u8]) -> (usize, Key, [Option<Arc<Self>>; SLOTS]) {
        (at, Key::from(key.get(..at.div_ceil(2)).unwrap_or(key)), Default::default())
    }

    /// One entry.
    fn only(key: Key, value: V) -> Self {
        Self::Bucket(Bucket::of(vec![(key, value)]))
    }

    /// A bucket that has grown too large, as a node above smaller ones.
    fn split(entries: Vec<(Key, V)>) -> Self {
        let keys = || entries.iter().map(|(key, _)| key);
        let (Some(first), Some(last)) = (keys().min(), keys().max()) else {
            return Self::Bucket(Bucket::of(entries));
        };
        let (at, prefix, mut children) = Self::inner(common(first, last), first);
        let mut groups: [Vec<(Key, V)>; SLOTS] = Default::default();
        for entry in entries {
            if let Some(group) = groups.get_mut(slot(&entry.0, at)) {
                group.push(entry);
            }
        }
        for (child, group) in children.iter_mut().zip(groups) {
            *child = (!group.is_empty()).then(|| Arc::new(Self::Bucket(Bucket::of(group))));
        }
        Self::Inner { at, prefix, children }
    }

    /// Whether `key` was new.
    fn insert(node: &mut Option<Arc<Self>>, key: Key, value: V) -> bool {
        let Some(shared) = node else {
            *node = Some(Arc::new(Self::only(key, value)));
            return true;
        };
        if let Self::Inner { at, prefix, .. } = &**shared {
            let agree = common(&key, prefix).min(*at);
            if agree < *at {
                // The key leaves the compressed path: a node that branches there goes above.
                let (at, new_prefix, mut children) = Self::inner(agree, &key);
                let old = slot(prefix, at);
                if let Some(child) = children.get_mut(old) {
                    *child = node.take();
                }
                if let Some(child) = children.get_mut(slot(&key, at)) {
                    *child = Some(Arc::new(Self::only(key, value)));
                }
                *node = Some(Arc::new(Self::Inner { at, prefix: new_prefix, children }));
                return true;
            }
        }
        match Arc::make_mut(shared) {
            Self::Inner { at, children, .. } => {
                children.get_mut(slot(&key, *at)).is_some_and(|child| Self::insert(child, key, value))
            }
            Self::Bucket(bucket) => {
                if let Some(own) = bucket.value_mut(&key) {
                    *own = value;
                    return false;
                }
                if bucket.entries.len() < BUCKET {
                    bucket.push(key, value);
                } else {
                    let mut entries = std::mem::take(&mut bucket.entries);
                    entries.push((key, value));
                    *node = Some(Arc::new(Self::split(entries)));
                }
                true
            }
        }
    }

    /// Whether `key` was there.
    fn remove(node: &mut Option<Arc<Self>>, key: &[u8]) -> bool {
        let Some(shared) = node else { return false };
        match Arc::make_mut(shared) {
            Self::Bucket(bucket) => {
                let Some(found) = bucket.find(key) else { return false };
                bucket.remove(found);
                if bucket.entries.is_empty() {
                    *node = None;
                }
            }
            Self::Inner { at, children, .. } => {
                let child = children.get_mut(slot(key, *at));
                if !child.is_some_and(|child| Self::remove(child, key)) {
                    return false;
                }
                // A path of one child is compressed again.
                let mut left = children.iter_mut().filter(|child| child.is_some());
                if let (Some(only), None) = (left.next(), left.next()) {
                    *node = only.take();
                }
            }
        }
        true
    }

    /// Passes the entries from `from` on, and below `to`, to `each`, ascending, until it says to stop. Says
    /// whether it did. Where there is no bound, all entries are wanted. Nodes that hold none are not looked at.
    fn walk(&self, from: Option<&[u8]>, to: Option<&[u8]>, each: &mut impl FnMut(&Key, &V) -> bool) -> bool {
        match self {
            Self::Bucket(bucket) => {
                let mut wanted = bucket.between(from, to);
                let Some(first) = wanted.next() else { return false };
                let Some(second) = wanted.next() else { return each(&first.0, &first.1) };
                let mut wanted: Vec<_> = [first, second].into_iter().chain(wanted).collect();
                wanted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                wanted.into_iter().any(|(key, value)| each(key, value))
            }
            Self::Inner { at, prefix, children } => {
                // Where a bound leaves the path that all keys here have, all are above it or all below.
                let place_of = |bound: &[u8]| match common(bound, prefix).min(*at) {
                    agree if agree == *at => Ok(slot(bound, *at)),
                    agree => Err(slot(bound, agree).cmp(&slot(prefix, agree))),
                };
                let (first, from) = match from.map(place_of) {
                    Some(Ok(place)) => (place, from),
                    Some(Err(Ordering::Greater)) => return false,
                    Some(Err(_)) | None => (0, None),
                };
                let (last, to) = match to.map(place_of) {
                    Some(Ok(place)) => (place, to),
                    Some(Err(Ordering::Less)) => return false,
                    Some(Err(_)) | None => (SLOTS, None),
                };
                children.iter().enumerate().take(last.saturating_add(1)).skip(first).any(|(place, child)| {
                    let (from, to) = (from.filter(|_| place == first), to.filter(|_| place == last));
                    child.as_ref().is_some_and(|child| child.walk(from, to, each))
                })
            }
        }
    }
}

/// Looks into those of these nodes that are buckets, at the entry that `find` finds there, and at its value. Each
/// look leads to the next, and nothing is decided by what has still to come from memory: the processor would guess
/// wrong, and wait.
fn look_into<'m, V>(
    nodes: &[Option<&'m Node<V>>; AT_ONCE],
    mut find: impl FnMut(&'m Bucket<V>, usize) -> Option<&'m (Key, V)>,
    touch: impl Fn(&V) -> u8,
) {
    let mut seen = 0;
    let mut found = [None; AT_ONCE];
    for node in nodes.iter().flatten() {
        if let Node::Bucket(bucket) = node {
            seen ^= bucket.heads.first().copied().unwrap_or(0) ^ bucket.heads.last().copied().unwrap_or(0);
        }
    }
    for (place, (found, node)) in found.iter_mut().zip(nodes).enumerate() {
        if let Some(Node::Bucket(bucket)) = node {
            *found = find(bucket, place);
            seen ^= found.map_or(0, |(key, _)| key.len() as u16);
        }
    }
    for (_, value) in found.iter().flatten() {
        seen ^= u16::from(touch(value));
    }
    std::hint::black_box(seen);
}

impl<V: Clone> RadixMap<V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Inner { at, children, .. } => node = children.get(slot(key, *at))?.as_ref()?,
                Node::Bucket(bucket) => return bucket.value(key),
            }
        }
    }

    /// The value whose key `key` begins with, and that key; for maps in which no key begins with another.
    pub(crate) fn covering(&self, key: &[u8]) -> Option<(&Key, &V)> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Inner { prefix, .. }
                    if prefix.first().is_some_and(|first| key.first() != Some(first)) =>
                {
                    return None;
                }
                Node::Inner { at, children, .. } => node = children.get(slot(key, *at))?.as_ref()?,
                Node::Bucket(bucket) => {
                    let found = bucket.entries.iter().find(|(own, _)| key.starts_with(own))?;
                    return Some((&found.0, &found.1));
                }
            }
        }
    }

    /// The value under `key`, to be changed; nodes above it that are shared are copied.
    pub(crate) fn value_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.get(key)?;
        let mut node = self.root.as_mut()?;
        loop {
            match Arc::make_mut(node) {
                Node::Inner { at, children, .. } => node = children.get_mut(slot(key, *at))?.as_mut()?,
                Node::Bucket(bucket) => return bucket.value_mut(key),
            }
        }
    }

    /// Looks at every node on the way to each of up to [`AT_ONCE`] keys, those of one level side by side, at where
    /// the key is and would go, and has `touch` look at the value: coming to one after the other would wait for
    /// memory each time.
    pub(crate) fn visit<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, touch: impl Fn(&V) -> u8) {
        let mut nodes = [None; AT_ONCE];
        let mut wanted = [None; AT_ONCE];
        for ((node, wanted), key) in nodes.iter_mut().zip(&mut wanted).zip(keys) {
            (*node, *wanted) = (self.root.as_deref(), Some(key));
        }
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for (node, key) in nodes.iter_mut().zip(wanted) {
                if let (Some(Node::Inner { at, children, .. }), Some(key)) = (*node, key) {
                    *node = children.get(slot(key, *at)).and_then(|child| child.as_deref());
                    moved = true;
                }
            }
        }
        let mut last = 0;
        look_into(
            &nodes,
            |bucket, place| {
                last ^= bucket.entries.last().map_or(0, |(key, _)| key.len());
                let key = wanted.get(place).copied().flatten()?;
                bucket.likely_between(key, key)
            },
            touch,
        );
        std::hint::black_box(last);
    }

    /// Passes the entries of each of up to [`AT_ONCE`] ranges to `each`, with the number of the range, as
    /// [`RadixMap::walk_between`] would one after the other; but comes to all of them side by side, and has
    /// `touch` look at each value before the first is passed on.
    pub(crate) fn walk_ranges(
        &self,
        ranges: &[(Key, Key)],
        touch: impl Fn(&V) -> u8,
        mut each: impl FnMut(usize, &Key, &V) -> bool,
    ) {
        let mut nodes = [None; AT_ONCE];
        let mut agreed = [0; AT_ONCE];
        for ((node, agreed), (from, to)) in nodes.iter_mut().zip(&mut agreed).zip(ranges) {
            (*node, *agreed) = (self.root.as_deref(), common(from, to));
        }
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for ((node, agreed), (from, _)) in nodes.iter_mut().zip(agreed).zip(ranges) {
                // As far as both bounds go the same way, all that is between them is there.
                if let Some(Node::Inner { at, children, .. }) = *node
                    && *at < agreed
                {
                    *node = children.get(slot(from, *at)).and_then(|child| child.as_deref());
                    moved = true;
                }
            }
        }
        look_into(
            &nodes,
            |bucket, place| {
                let (from, to) = ranges.get(place)?;
                bucket.likely_between(from, to)
            },
            touch,
        );
        for (number, (node, (from, to))) in nodes.iter().zip(ranges).enumerate() {
            if let Some(node) = node {
                node.walk(Some(from), Some(to), &mut |key, value| each(number, key, value));
            }
        }
    }

    pub(crate) fn insert(&mut self, key: Key, value: V) {
        self.len += usize::from(Node::insert(&mut self.root, key, value));
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        // Looking first keeps shared nodes from being copied for nothing.
        if self.get(key).is_some() {
            self.len -= usize::from(Node::remove(&mut self.root, key));
        }
    }

    /// Passes the entries from `from` on to `each`, ascending, until it says to stop.
    pub(crate) fn walk(&self, from: &[u8], mut each: impl FnMut(&Key, &V) -> bool) {
        if let Some(root) = &self.root {
            root.walk(Some(from), None, &mut each);
        }
    }

    /// As [`RadixMap::walk`], up to `to`, which is not part of it.
    pub(crate) fn walk_between(&self, from: &[u8], to: &[u8], mut each: impl FnMut(&Key, &V) -> bool) {
        if let Some(root) = &self.root {
            root.walk(Some(from), Some(to), &mut each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Keys that share long prefixes, and are prefixes of each other.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let stem = prop_oneof![Just(vec![]), Just(vec![0; 20]), Just(vec![0x12, 0x34])];
        (stem, vec(prop_oneof![Just(0u8), Just(1), Just(0x10), any::<u8>()], 0..4))
            .prop_map(|(stem, tail)| [stem, tail].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_radix_map_does_what_a_b_tree_does(
            steps in vec((key(), prop_oneof![3 => any::<u8>().prop_map(Some), 1 => Just(None)]), 0..400),
            (from, to) in (key(), key()),
            limit in 0usize..50,
        ) {
            let (mut map, mut model) = (RadixMap::<Bytes>::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for (at, (key, value)) in steps.into_iter().enumerate() {
                match value {
                    Some(byte) => {
                        map.insert(Key::from(key.as_slice()), Bytes::from([byte]));
                        model.insert(key, byte);
                    }
                    None => {
                        map.remove(&key);
                        model.remove(&key);
                    }
                }
                if at % 64 == 0 {
                    kept.push((map.clone(), model.clone()));
                }
            }
            kept.push((map, model));
            for (map, model) in kept {
                prop_assert_eq!(map.len(), model.len());
                for (key, byte) in &model {
                    prop_assert_eq!(map.get(key).map(|value| value[0]), Some(*byte));
                }
                let mut found = Vec::new();
                map.walk(&from, |key, value| {
                    found.push((key.to_vec(), value[0]));
                    found.len() > limit
                });
                let expected: Vec<_> = model.range(from.clone()..).take(limit + 1).map(|(k, v)| (k.clone(), *v)).collect();
                prop_assert_eq!(found, expected);
                let mut found = Vec::new();
                map.walk_between(&from, &to, |key, _| {
                    found.push(key.to_vec());
                    false
                });
                let between = |from: &Vec<u8>, to: &Vec<u8>| -> Vec<Vec<u8>> {
                    model.keys().filter(|key| from <= *key && *key < to).cloned().collect()
                };
                prop_assert_eq!(found, between(&from, &to));
                let bounds: Vec<_> = model.keys().zip(model.keys().skip(2)).chain([(&from, &to)]).collect();
                for bounds in bounds.chunks(AT_ONCE) {
                    let ranges: Vec<_> =
                        bounds.iter().map(|(from, to)| (Key::from(from.as_slice()), Key::from(to.as_slice()))).collect();
                    let mut found = vec![Vec::new(); ranges.len()];
                    map.walk_ranges(&ranges, |value| value[0], |number, key, _| {
                        found[number].push(key.to_vec());
                        false
                    });
                    let expected: Vec<_> = bounds.iter().map(|(from, to)| between(from, to)).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
