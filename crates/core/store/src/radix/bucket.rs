//! The leaves of a [`RadixMap`](super::RadixMap); its module documentation states their invariants.

use crate::Key;
use std::cmp::Ordering;

/// The most entries of a bucket; one more splits it.
pub(super) const BUCKET: usize = 32;
/// The entries by which the capacity of a bucket grows. Doubling would waste half of the memory of a
/// full map.
const GROWTH: usize = 4;

/// A leaf: up to [`BUCKET`] entries in no order.
#[derive(Clone, Debug)]
pub(super) struct RadixBucket<V> {
    /// A number of leading bytes in which all keys agree. After a remove they may agree in more.
    shared: usize,
    /// For each entry, the [`head`] of its key after the shared bytes. Places after the last entry have
    /// no meaning.
    heads: [u16; BUCKET],
    entries: Vec<(Key, V)>,
}

/// The two bytes of `key` from `at` on, big endian, padded with zeros. Among keys with the same first
/// `at` bytes a smaller head means a smaller key; equal heads decide nothing.
fn head(key: &[u8], at: usize) -> u16 {
    let byte = |at| key.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(at), byte(at + 1)])
}

impl<V> RadixBucket<V> {
    /// A bucket with these entries, whose keys are distinct.
    pub(super) fn of(entries: Vec<(Key, V)>) -> Self {
        debug_assert!(entries.len() <= BUCKET, "a bucket has a head for each entry");
        let first = entries.first().map(|(key, _)| key);
        let common_with = |key: &Key| first.map_or(0, |first| common(first, key) / 2);
        let shared = entries.iter().map(|(key, _)| common_with(key)).min().unwrap_or(0);
        let mut heads = [0; BUCKET];
        for (to, (key, _)) in heads.iter_mut().zip(&entries) {
            *to = head(key, shared);
        }
        Self { shared, heads, entries }
    }

    /// The place of `key` among the entries. O(entries), nearly always with one comparison of keys at most.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let wanted = head(key, self.shared);
        let heads = self.heads.iter().take(self.entries.len()).enumerate();
        // The heads are sound for any key: if `key` is here, it has the shared bytes, and its head is equal.
        let mut places = heads.filter(|(_, own)| **own == wanted).map(|(place, _)| place);
        places.find(|place| self.entries.get(*place).is_some_and(|(own, _)| **own == *key))
    }

    /// Whether another entry needs a split.
    pub(super) const fn is_full(&self) -> bool {
        self.entries.len() >= BUCKET
    }

    /// Whether `key` is the key of the only entry. Without it the bucket is empty, and must leave the tree.
    pub(super) fn has_only(&self, key: &[u8]) -> bool {
        matches!(self.entries.as_slice(), [(only, _)] if **only == *key)
    }

    /// Takes all entries. The bucket must be replaced then.
    pub(super) fn take_entries(&mut self) -> Vec<(Key, V)> {
        std::mem::take(&mut self.entries)
    }

    /// The entry whose key is a prefix of `key`, or `key` itself.
    pub(super) fn prefix_of(&self, key: &[u8]) -> Option<&(Key, V)> {
        self.entries.iter().find(|(own, _)| key.starts_with(own))
    }

    /// Reads both ends of the heads, which loads them into the cache. The result has no meaning.
    pub(super) fn touch_heads(&self) -> u16 {
        self.heads.first().copied().unwrap_or(0) ^ self.heads.last().copied().unwrap_or(0)
    }

    /// Reads the last entry, which loads the place of an insert into the cache. The result has no meaning.
    pub(super) fn touch_end(&self) -> usize {
        self.entries.last().map_or(0, |(key, _)| key.len())
    }

    /// The value under `key`.
    pub(super) fn value(&self, key: &[u8]) -> Option<&V> {
        self.entries.get(self.find(key)?).map(|(_, value)| value)
    }

    /// The value under `key`, for an edit in place.
    pub(super) fn value_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let place = self.find(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// The shared bytes, with which all keys of the bucket begin.
    fn shared_bytes(&self) -> &[u8] {
        self.entries.last().and_then(|(key, _)| key.get(..self.shared)).unwrap_or_default()
    }

    /// Appends an entry. The bucket must not be full or contain `key`.
    pub(super) fn push(&mut self, key: Key, value: V) {
        debug_assert!(self.entries.len() < BUCKET, "a full bucket splits instead");
        debug_assert!(self.find(&key).is_none(), "the keys of a bucket are distinct");
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        if !key.starts_with(self.shared_bytes()) {
            // Fewer bytes are shared now, and all heads move.
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

    /// Removes the entry at `place`; the last entry takes its place.
    pub(super) fn remove(&mut self, place: usize) {
        debug_assert!(place < self.entries.len(), "the place comes from a search in this bucket");
        if let Some(last) = self.entries.len().checked_sub(1).filter(|last| place <= *last) {
            self.heads.swap(place, last);
            self.entries.swap_remove(place);
        }
    }

    /// The first entry whose head is within those of `from` and `to`, both included. If both bounds
    /// begin with the shared bytes, the entries before it are outside of the range. Used to prefetch:
    /// the entry itself may be outside too.
    pub(super) fn first_candidate(&self, from: &[u8], to: &[u8]) -> Option<&(Key, V)> {
        let heads = head(from, self.shared)..=head(to, self.shared);
        self.entries.get(self.heads.iter().take(self.entries.len()).position(|own| heads.contains(own))?)
    }

    /// Passes the entries with `from <= key < to` to `each` in ascending order, until `each` returns `true`.
    /// Returns whether it did.
    pub(super) fn walk(
        &self,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
        each: &mut impl FnMut(&Key, &V) -> bool,
    ) -> bool {
        // Short ranges, which are the most frequent, have no entry or one, and need no sort and no memory.
        let mut wanted = self.between(from, to);
        let Some(first) = wanted.next() else { return false };
        let Some(second) = wanted.next() else { return each(&first.0, &first.1) };
        let mut wanted: Vec<_> = [first, second].into_iter().chain(wanted).collect();
        wanted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        wanted.into_iter().any(|(key, value)| each(key, value))
    }

    /// The entries with `from <= key < to`, in no order. `None` means no bound on that side.
    fn between<'b>(
        &'b self,
        from: Option<&'b [u8]>,
        to: Option<&'b [u8]>,
    ) -> impl Iterator<Item = &'b (Key, V)> {
        // A bound that does not begin with the shared bytes has all keys above it or all below, and the
        // comparison of these bytes says which. That comparison reads a key, which is likely not in the
        // cache. It is skipped if both bounds begin alike: the filter then selects candidates by their
        // heads, even if the keys begin otherwise, and compares the whole key of each.
        let start = |bound: &'b [u8]| bound.get(..self.shared);
        let alike = from.and_then(start).is_some_and(|one| to.and_then(start) == Some(one));
        let order_of = |bound: &'b [u8]| match alike {
            true => Ordering::Equal,
            false => start(bound).unwrap_or(bound).cmp(self.shared_bytes()),
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
                // A head strictly within the bounds is decisive only if the bounds begin with the
                // shared bytes for certain.
                let sure = !alike;
                let own = **own;
                least.is_none_or(|(least, from)| own > least && sure || own >= least && **key >= *from)
                    && most.is_none_or(|(most, to)| own < most && sure || own <= most && **key < *to)
            })
            .map(|(_, entry)| entry)
    }
}

/// As [`common`], if `a` and `b` are known to agree in the first `agreed` half bytes, which are not compared again.
pub(super) fn common_after(agreed: usize, a: &[u8], b: &[u8]) -> usize {
    let whole = agreed / 2;
    2 * whole + common(a.get(whole..).unwrap_or_default(), b.get(whole..).unwrap_or_default())
}

/// The number of leading half bytes in which `a` and `b` agree.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    let bytes = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let half = matches!((a.get(bytes), b.get(bytes)), (Some(a), Some(b)) if a >> 4 == b >> 4);
    bytes * 2 + usize::from(half)
}
