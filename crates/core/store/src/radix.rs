//! A persistent ordered map with byte strings as keys: the index of [`MemoryStore`](crate::MemoryStore).
//!
//! It is a radix tree over half bytes with buckets at the leaves (a *burst trie*: Heinz, Zobel,
//! Williams, "Burst Tries", 2002) and compressed paths (Morrison, "PATRICIA", 1968). Nearly all keys
//! are hashes, so that the depth of the tree is the logarithm of its size to base 16. A lookup misses
//! the cache about twice; a B-tree of the same rows missed it ten times.
//!
//! # Invariants
//!
//! *Path compression.* An inner node branches at the half byte `at`:
//!
//! 1. All keys below it agree in the first `at` half bytes, and `prefix` has those bytes. If `at` is
//!    odd, the last half byte of `prefix` is that of some key and has no meaning.
//! 2. It has at least two children, and each child has only keys whose half byte `at` selects it. So no
//!    path has a node that decides nothing, and a map of n keys has fewer inner nodes than keys.
//! 3. `at` is strictly greater than that of the parent node. So the depth is at most the number of half
//!    bytes of the longest key. Keys that begin each other reach this depth, and anyone may choose such
//!    keys: no function here is recursive, and what a lookup, a write or the begin of a walk costs is
//!    proportional to the length of its key.
//!
//! A lookup may therefore skip the compressed half bytes, and compares the whole key in the bucket. An
//! insert may not: it compares with `prefix`, because a key that leaves the path needs a new inner node
//! above.
//!
//! *Buckets.* A bucket has 1 to [`BUCKET`](bucket::BUCKET) entries with distinct keys, in no order, so
//! that an insert appends and a remove swaps. All keys begin with the same `shared` bytes. `heads` has
//! the two bytes after those for each entry: a search compares these first, and nearly always finds
//! without a look at a key that a key is absent or outside of a range. A walk sorts the entries that it
//! passes on.
//!
//! *Copy-on-write.* Nodes are shared between maps by reference counts. A clone of a map copies the
//! reference to the root alone, O(1). A node may be edited in place only if its count is one *and* the
//! same holds for all nodes above it: otherwise another map reaches it too. Every write goes down from
//! the root with `RadixNode::edit`, which copies a shared node before it gives access. A copy of a node
//! raises the counts of its children, so that these are copied in turn when the write reaches them.
//! Nodes beside the path stay shared. So no write is visible in another map.

mod bucket;
#[cfg(test)]
mod tests;

use crate::Key;
use bucket::{RadixBucket, common, common_after};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The children of an inner node: one for keys that end at its half byte, and one for each value of it.
const SLOTS: usize = 17;
/// The most keys or ranges that one prefetch works on, so that their cache misses overlap.
pub(crate) const AT_ONCE: usize = 16;

#[derive(Clone)]
enum RadixNode<V> {
    Bucket(RadixBucket<V>),
    /// All keys below agree in the first `at` half bytes, and not all in the next one.
    Inner {
        at: usize,
        prefix: Key,
        children: [Option<Arc<Self>>; SLOTS],
    },
}

/// The map. A clone takes O(1), a lookup or a write O(log n) in the number of entries for hashed keys.
#[derive(Clone)]
pub(crate) struct RadixMap<V> {
    root: Option<Arc<RadixNode<V>>>,
    len: usize,
}

/// An inner node of a walk, with the children that the walk has not entered yet.
struct OpenNode<'m, V> {
    children: &'m [Option<Arc<RadixNode<V>>>; SLOTS],
    /// The first child not entered yet, and the last one that the bounds admit.
    next: usize,
    last: usize,
    /// The upper bound, which matters only in the last child.
    to: Option<Bound<'m>>,
}

/// A bound of a walk.
#[derive(Clone, Copy)]
struct Bound<'m> {
    key: &'m [u8],
    /// The half bytes in which the bound agrees with all keys below the present node, as far as the path has shown.
    agreed: usize,
}

impl Bound<'_> {
    /// The child that the bound leads to in a node that branches at `at`, on the path `prefix`; or whether the bound
    /// is less or greater than all keys of the node.
    fn place(&mut self, prefix: &Key, at: usize) -> Result<usize, Ordering> {
        self.agreed = common_after(self.agreed, self.key, prefix).min(at);
        if self.agreed == at {
            return Ok(slot(self.key, at));
        }
        Err(slot(self.key, self.agreed).cmp(&slot(prefix, self.agreed)))
    }
}

impl<V> Default for RadixMap<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

/// The number of the child for `key` in a node that branches at the half byte `at`, less than
/// [`SLOTS`]. A key that ends there has the first one, because it is less than its continuations.
fn slot(key: &[u8], at: usize) -> usize {
    match key.get(at / 2) {
        None => 0,
        Some(byte) if at.is_multiple_of(2) => usize::from(byte >> 4) + 1,
        Some(byte) => usize::from(byte & 15) + 1,
    }
}

impl<V: Clone> RadixNode<V> {
    /// An inner node that branches at the half byte `at`, on the path to `key`, with these children and their slots.
    fn inner(at: usize, key: &[u8], below: impl IntoIterator<Item = (usize, Arc<Self>)>) -> Self {
        debug_assert!(at.div_ceil(2) <= key.len(), "the prefix covers all half bytes before the branch");
        let prefix = Key::from(key.get(..at.div_ceil(2)).unwrap_or(key));
        let mut children: [Option<Arc<Self>>; SLOTS] = Default::default();
        for (slot, child) in below {
            debug_assert!(
                children.get(slot).is_some_and(Option::is_none),
                "each child has a slot of its own"
            );
            if let Some(place) = children.get_mut(slot) {
                *place = Some(child);
            }
        }
        debug_assert!(count(&children) >= 2, "a branch separates at least two keys");
        Self::Inner { at, prefix, children }
    }

    /// A bucket with one entry.
    fn only(key: Key, value: V) -> Self {
        Self::Bucket(RadixBucket::of(vec![(key, value)]))
    }

    /// An inner node with the entries of a bucket that is too large, in smaller buckets. The keys must
    /// be distinct.
    fn split(entries: Vec<(Key, V)>) -> Self {
        let keys = || entries.iter().map(|(key, _)| key);
        let (Some(first), Some(last)) = (keys().min(), keys().max()) else {
            debug_assert!(false, "only a full bucket is split");
            return Self::Bucket(RadixBucket::of(entries));
        };
        // The least and the greatest key agree in as many half bytes as all keys together.
        let at = common(first, last);
        let path = first.clone();
        let mut groups: [Vec<(Key, V)>; SLOTS] = Default::default();
        for entry in entries {
            if let Some(group) = groups.get_mut(slot(&entry.0, at)) {
                group.push(entry);
            }
        }
        // The branch separates keys: each group is smaller than the whole and fits into a bucket.
        let groups = groups.into_iter().enumerate().filter(|(_, group)| !group.is_empty());
        let children = groups.map(|(slot, group)| (slot, Arc::new(Self::Bucket(RadixBucket::of(group)))));
        Self::inner(at, &path, children)
    }

    /// Access for an edit in place. A node that another map reaches too is copied first. Only for a node
    /// that was reached from the root by this function: the nodes above it are not shared then.
    fn edit(node: &mut Arc<Self>) -> &mut Self {
        if cfg!(debug_assertions) {
            Arc::make_mut(node);
            debug_assert_eq!(Arc::strong_count(node), 1, "no other map reaches a node that is edited");
        }
        Arc::make_mut(node)
    }

    /// Sets `key` to `value` below `root`. Returns whether `key` was absent.
    fn insert(root: &mut Arc<Self>, key: Key, value: V) -> bool {
        let mut node = root;
        // The half bytes in which `key` agrees with all keys below `node`, as far as the path has shown.
        let mut agreed = 0;
        loop {
            if let Self::Inner { at, prefix, .. } = &**node {
                agreed = common_after(agreed, &key, prefix).min(*at);
                if agreed < *at {
                    // The key leaves the compressed path: a new node branches there, above this one. The
                    // old node moves without an edit, so that it need not be copied even if it is shared.
                    let old = (slot(prefix, agreed), Arc::clone(node));
                    let new = (slot(&key, agreed), Arc::new(Self::only(key.clone(), value)));
                    *node = Arc::new(Self::inner(agreed, &key, [old, new]));
                    return true;
                }
            }
            let edited = Self::edit(node);
            match edited {
                Self::Inner { at, children, .. } => match children.get_mut(slot(&key, *at)) {
                    Some(Some(child)) => node = child,
                    Some(absent) => {
                        *absent = Some(Arc::new(Self::only(key, value)));
                        return true;
                    }
                    None => {
                        debug_assert!(false, "a node has a child for each slot");
                        return false;
                    }
                },
                Self::Bucket(bucket) => {
                    if let Some(own) = bucket.value_mut(&key) {
                        *own = value;
                        return false;
                    }
                    if !bucket.is_full() {
                        bucket.push(key, value);
                    } else {
                        let mut entries = bucket.take_entries();
                        entries.push((key, value));
                        *edited = Self::split(entries);
                    }
                    return true;
                }
            }
        }
    }

    /// Whether this is a bucket that has `key` and no other entry.
    fn has_only(&self, key: &[u8]) -> bool {
        matches!(self, Self::Bucket(bucket) if bucket.has_only(key))
    }

    /// The child for `key` of an inner node, unless the remove of `key` empties it.
    fn child_after_remove(&mut self, key: &[u8]) -> Option<&mut Arc<Self>> {
        let Self::Inner { at, children, .. } = self else { return None };
        children.get_mut(slot(key, *at))?.as_mut().filter(|child| !child.has_only(key))
    }

    /// Removes `key`, which is present and not the only one, below `root`. The caller has looked the key up: this
    /// copies the shared nodes of the path.
    fn remove(root: &mut Arc<Self>, key: &[u8]) {
        let mut node = root;
        while Self::edit(node).child_after_remove(key).is_some() {
            let Some(child) = Self::edit(node).child_after_remove(key) else {
                debug_assert!(false, "a child that was there a moment ago is there");
                return;
            };
            node = child;
        }
        let last = Self::edit(node);
        match last {
            Self::Bucket(bucket) => {
                let found = bucket.find(key);
                debug_assert!(found.is_some(), "a remove finds what a lookup has found");
                if let Some(found) = found {
                    bucket.remove(found);
                }
            }
            Self::Inner { at, children, .. } => {
                debug_assert!(count(children) >= 2, "an inner node has at least two children");
                if let Some(child) = children.get_mut(slot(key, *at)) {
                    *child = None;
                }
                // A node with one child decides nothing: the child takes its place, and the path is
                // compressed again.
                let mut left = children.iter_mut().filter(|child| child.is_some());
                if let (Some(only), None) = (left.next(), left.next())
                    && let Some(only) = only.take()
                {
                    *last = Arc::unwrap_or_clone(only);
                }
            }
        }
    }

    /// Passes the entries with `from <= key < to` to `each` in ascending order, until `each` returns
    /// `true`. Returns whether it did. `None` means no bound on that side. Nodes outside of the bounds
    /// are not read, and each byte of a bound is compared once on the path to it.
    fn walk<'m>(
        &'m self,
        from: Option<&'m [u8]>,
        to: Option<&'m [u8]>,
        each: &mut impl FnMut(&Key, &V) -> bool,
    ) -> bool {
        let bound = |key| Bound { key, agreed: 0 };
        let mut from = from.map(bound);
        let mut to = to.map(bound);
        let mut node = self;
        // The nodes above `node` of which further children are wanted; none for most walks.
        let mut open: Vec<OpenNode<'m, V>> = Vec::new();
        loop {
            match node {
                Self::Bucket(bucket) => {
                    if bucket.walk(from.map(|from| from.key), to.map(|to| to.key), each) {
                        return true;
                    }
                }
                Self::Inner { at, prefix, children } => {
                    // A bound that leaves the common path has all keys of the node above it or all below.
                    let first = match from.as_mut().map(|from| from.place(prefix, *at)) {
                        Some(Ok(place)) => Some(place),
                        Some(Err(Ordering::Greater)) => None,
                        Some(Err(_)) | None => {
                            from = None;
                            Some(0)
                        }
                    };
                    let last = match to.as_mut().map(|to| to.place(prefix, *at)) {
                        Some(Ok(place)) => Some(place),
                        Some(Err(Ordering::Less)) => None,
                        Some(Err(_)) | None => {
                            to = None;
                            Some(SLOTS - 1)
                        }
                    };
                    if let (Some(first), Some(last)) = (first, last)
                        && first <= last
                    {
                        let child = children.get(first).and_then(|child| child.as_deref());
                        if first < last {
                            open.push(OpenNode { children, next: first + 1, last, to });
                            // The upper bound is that of a later child.
                            to = None;
                        }
                        if let Some(child) = child {
                            node = child;
                            continue;
                        }
                    }
                }
            }
            // The next child of the deepest open node; the lower bound is that of an earlier child.
            from = None;
            node = loop {
                let Some(top) = open.last_mut() else { return false };
                let place = top.next;
                top.next += 1;
                to = top.to.filter(|_| place == top.last);
                let child = top.children.get(place).and_then(|child| child.as_deref());
                if place >= top.last {
                    open.pop();
                }
                if let Some(child) = child {
                    break child;
                }
            };
        }
    }
}

impl<V> Drop for RadixMap<V> {
    /// Frees the nodes that no other map reaches, without recursion.
    fn drop(&mut self) {
        // An empty map has no root, and the root of a map with living clones stays with them.
        let Some(root) = self.root.take().and_then(Arc::into_inner) else { return };
        let mut unreachable = vec![root];
        while let Some(node) = unreachable.pop() {
            if let RadixNode::Inner { children, .. } = node {
                unreachable.extend(children.into_iter().flatten().filter_map(Arc::into_inner));
            }
        }
    }
}

impl<V> fmt::Debug for RadixMap<V> {
    /// The number of entries alone: the nodes may be deep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RadixMap").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The number of children that exist.
fn count<T>(children: &[Option<T>; SLOTS]) -> usize {
    children.iter().flatten().count()
}

/// Loads those of `nodes` that are buckets into the cache, with the entry that `find` selects in each,
/// and its value.
///
/// The loads are in three passes, so that those of one pass do not depend on each other and their cache
/// misses overlap. No branch depends on loaded data: a mispredicted branch would wait for its load, and
/// the misses would be one after another again.
fn prefetch_buckets<'m, V>(
    nodes: &[Option<&'m RadixNode<V>>; AT_ONCE],
    mut find: impl FnMut(&'m RadixBucket<V>, usize) -> Option<&'m (Key, V)>,
    touch: impl Fn(&V) -> u8,
) {
    let mut seen = 0;
    let mut found = [None; AT_ONCE];
    for node in nodes.iter().flatten() {
        if let RadixNode::Bucket(bucket) = node {
            seen ^= bucket.touch_heads();
        }
    }
    for (place, (found, node)) in found.iter_mut().zip(nodes).enumerate() {
        if let Some(RadixNode::Bucket(bucket)) = node {
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
    /// The number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The value under `key`. Compressed half bytes are skipped: the bucket compares the whole key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                RadixNode::Inner { at, children, .. } => node = children.get(slot(key, *at))?.as_ref()?,
                RadixNode::Bucket(bucket) => return bucket.value(key),
            }
        }
    }

    /// The entry whose key is a prefix of `key`, or `key` itself. For maps in which no key is a prefix
    /// of another: then there is at most one such entry, and it is on the path to `key`.
    pub(crate) fn covering(&self, key: &[u8]) -> Option<(&Key, &V)> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                // A key that begins otherwise than all keys below ends the search early. Only the whole
                // bytes before the branch are common to these keys.
                RadixNode::Inner { at, prefix, .. } if *at >= 2 && prefix.first() != key.first() => {
                    return None;
                }
                RadixNode::Inner { at, children, .. } => node = children.get(slot(key, *at))?.as_ref()?,
                RadixNode::Bucket(bucket) => {
                    let found = bucket.prefix_of(key)?;
                    return Some((&found.0, &found.1));
                }
            }
        }
    }

    /// The value under `key`, for an edit in place. Shared nodes on the path are copied first.
    pub(crate) fn value_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        // An absent key must not copy anything.
        self.get(key)?;
        let mut node = self.root.as_mut()?;
        loop {
            match RadixNode::edit(node) {
                RadixNode::Inner { at, children, .. } => node = children.get_mut(slot(key, *at))?.as_mut()?,
                RadixNode::Bucket(bucket) => return bucket.value_mut(key),
            }
        }
    }

    /// Loads the paths to up to [`AT_ONCE`] keys into the cache, level by level, so that the cache
    /// misses of one level overlap; then the place of each key in its bucket, the end of the bucket,
    /// where an insert would write, and with `touch` the value. Further keys are ignored. Nothing
    /// changes.
    pub(crate) fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k Key>, touch: impl Fn(&V) -> u8) {
        let mut nodes = [None; AT_ONCE];
        let mut wanted = [None; AT_ONCE];
        for ((node, wanted), key) in nodes.iter_mut().zip(&mut wanted).zip(keys) {
            *node = self.root.as_deref();
            *wanted = Some(key);
        }
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for (node, key) in nodes.iter_mut().zip(wanted) {
                if let (Some(RadixNode::Inner { at, children, .. }), Some(key)) = (*node, key) {
                    *node = children.get(slot(key, *at)).and_then(|child| child.as_deref());
                    moved = true;
                }
            }
        }
        let mut last = 0;
        prefetch_buckets(
            &nodes,
            |bucket, place| {
                last ^= bucket.touch_end();
                let key = wanted.get(place).copied().flatten()?;
                bucket.first_candidate(key, key)
            },
            touch,
        );
        std::hint::black_box(last);
    }

    /// Passes the entries of each of up to [`AT_ONCE`] ranges to `each` with the index of the range, as
    /// [`RadixMap::walk_between`] does for one range after another. Before the first entry, the paths
    /// to all ranges and with `touch` their likely first values are loaded together, so that cache
    /// misses overlap.
    pub(crate) fn walk_ranges(
        &self,
        ranges: &[(Key, Key)],
        touch: impl Fn(&V) -> u8,
        mut each: impl FnMut(usize, &Key, &V) -> bool,
    ) {
        debug_assert!(ranges.len() <= AT_ONCE, "ranges beyond those of one batch would be left out");
        let mut nodes = [None; AT_ONCE];
        let mut agreed = [0; AT_ONCE];
        for ((node, agreed), (from, to)) in nodes.iter_mut().zip(&mut agreed).zip(ranges) {
            *node = self.root.as_deref();
            *agreed = common(from, to);
        }
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for ((node, agreed), (from, _)) in nodes.iter_mut().zip(agreed).zip(ranges) {
                // While both bounds select the same child, all keys between them are below it.
                if let Some(RadixNode::Inner { at, children, .. }) = *node
                    && *at < agreed
                {
                    *node = children.get(slot(from, *at)).and_then(|child| child.as_deref());
                    moved = true;
                }
            }
        }
        prefetch_buckets(
            &nodes,
            |bucket, place| {
                let (from, to) = ranges.get(place)?;
                bucket.first_candidate(from, to)
            },
            touch,
        );
        for (number, (node, (from, to))) in nodes.iter().zip(ranges).enumerate() {
            if let Some(node) = node {
                node.walk(Some(from), Some(to), &mut |key, value| each(number, key, value));
            }
        }
    }

    /// Sets `key` to `value`. Shared nodes on the path are copied first.
    pub(crate) fn insert(&mut self, key: Key, value: V) {
        let absent = match &mut self.root {
            Some(root) => RadixNode::insert(root, key, value),
            empty => {
                *empty = Some(Arc::new(RadixNode::only(key, value)));
                true
            }
        };
        self.len += usize::from(absent);
        debug_assert!(self.len > 0, "the map is not empty after an insert");
    }

    /// Removes `key`, if it is present.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        // An absent key must not copy anything.
        if self.get(key).is_none() {
            return;
        }
        match &mut self.root {
            Some(root) if !root.has_only(key) => {
                RadixNode::remove(root, key);
                self.len -= 1;
            }
            only => {
                *only = None;
                self.len = 0;
            }
        }
        debug_assert_eq!(self.root.is_none(), self.len == 0, "a map without entries has no nodes");
    }

    /// Passes the entries with `from <= key` to `each` in ascending order, until `each` returns `true`.
    pub(crate) fn walk(&self, from: &[u8], mut each: impl FnMut(&Key, &V) -> bool) {
        if let Some(root) = &self.root {
            root.walk(Some(from), None, &mut each);
        }
    }

    /// Passes the entries with `from <= key < to` to `each` in ascending order, until `each` returns `true`.
    pub(crate) fn walk_between(&self, from: &[u8], to: &[u8], mut each: impl FnMut(&Key, &V) -> bool) {
        if let Some(root) = &self.root {
            root.walk(Some(from), Some(to), &mut each);
        }
    }
}
