//! The responder's cache of the views that snapshots are read from.

use crate::messages::SyncHandshake;
use std::collections::VecDeque;
use syncline_types::{Digest, SimDuration, SimTime};

/// The bounds of a [`ViewCache`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewBounds {
    /// The most views; at least one.
    pub views: usize,
    /// How long a view is retained after it was last read.
    pub idle: SimDuration,
    /// How many bytes may be written to the store while a view is open. A store retains what a view shows, so this
    /// bounds the space that a view costs.
    pub bytes: u64,
}

impl Default for ViewBounds {
    fn default() -> Self {
        Self { views: 4, idle: SimDuration::from_secs(60), bytes: 64 << 20 }
    }
}

/// A bounded cache of views, so that new writes do not disturb a snapshot in progress. It is the only
/// thing that a responder stores between requests. A view that is evicted costs the initiator a
/// comparison with a later state, never correctness.
#[derive(Clone, Debug)]
pub struct ViewCache<V> {
    /// The most recently used last.
    views: VecDeque<CachedView<V>>,
    /// The handshake of the view that was inserted last, as long as that view is in the cache.
    newest: Option<SyncHandshake>,
    bounds: ViewBounds,
}

#[derive(Clone, Debug)]
struct CachedView<V> {
    /// The root of the state that the view shows.
    root: Digest,
    view: V,
    last_used: SimTime,
    /// The bytes that were written since the view was taken.
    written: u64,
}

impl<V: Clone> ViewCache<V> {
    /// A cache of up to `capacity` views, and at least one, with the other bounds at their defaults.
    pub fn new(capacity: usize) -> Self {
        Self::with(ViewBounds { views: capacity, ..ViewBounds::default() })
    }

    /// An empty cache with these bounds.
    pub const fn with(bounds: ViewBounds) -> Self {
        Self { views: VecDeque::new(), newest: None, bounds }
    }

    /// The cached views, the most recently used last: their roots, when they were last used, and how much was
    /// written since. Also the handshake of the newest one.
    pub fn cached(&self) -> (Vec<(Digest, SimTime, u64)>, Option<&SyncHandshake>) {
        let views = self.views.iter().map(|cached| (cached.root, cached.last_used, cached.written));
        (views.collect(), self.newest.as_ref())
    }

    /// The number of cached views.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether no view is cached.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Whether the view of the state with this root is cached. O(capacity).
    pub fn contains(&self, root: Digest) -> bool {
        self.views.iter().any(|cached| cached.root == root)
    }

    /// The most bytes that were written since one of the views was taken: what the cache may cost the store.
    pub fn written(&self) -> u64 {
        self.views.iter().map(|cached| cached.written).max().unwrap_or(0)
    }

    /// Records that a batch of this size was written to the store, and releases the views that have become too
    /// expensive.
    pub fn on_commit(&mut self, bytes: u64) {
        let most = self.bounds.bytes;
        self.retain(|cached| {
            cached.written = cached.written.saturating_add(bytes);
            cached.written <= most
        });
    }

    /// Releases the views that were not used for too long at `now`. The host calls it from time to time.
    pub fn expire(&mut self, now: SimTime) {
        let idle = self.bounds.idle;
        self.retain(|cached| now.since(cached.last_used) < idle);
    }

    fn retain(&mut self, keep: impl FnMut(&mut CachedView<V>) -> bool) {
        self.views.retain_mut(keep);
        if let Some(newest) = &self.newest
            && self.views.iter().all(|cached| cached.root != newest.root_hash)
        {
            self.newest = None;
        }
    }

    /// Inserts the view that `handshake` describes, and evicts the least recently used one if the cache is
    /// full. Returns whether it did.
    pub(crate) fn insert(&mut self, handshake: &SyncHandshake, view: &V, now: SimTime) -> bool {
        let mut evicted = false;
        if self.find(handshake.root_hash, now).is_none() {
            let root = handshake.root_hash;
            self.views.push_back(CachedView { root, view: view.clone(), last_used: now, written: 0 });
            self.newest = Some(handshake.clone());
            while self.views.len() > self.bounds.views.max(1) {
                evicted |= self.views.pop_front().is_some();
            }
        }
        debug_assert!(self.views.len() <= self.bounds.views.max(1), "the cache never exceeds its capacity");
        evicted
    }

    /// The view of the state with this root, which becomes the most recently used one. O(capacity).
    pub(crate) fn find(&mut self, root: Digest, now: SimTime) -> Option<&V> {
        let at = self.views.iter().position(|cached| cached.root == root)?;
        let mut found = self.views.remove(at)?;
        found.last_used = now;
        self.views.push_back(found);
        self.views.back().map(|cached| &cached.view)
    }

    /// The state that a transfer continues with when its view has been evicted: the present state, or
    /// the newest cached one if the cache is full. Offering the present state to everyone would let the
    /// readers of many states evict each other's views for ever (a livelock).
    pub(crate) fn replacement<'a>(&'a self, ours: &'a SyncHandshake) -> &'a SyncHandshake {
        let full = self.views.len() >= self.bounds.views.max(1);
        self.newest.as_ref().filter(|newest| full && newest.horizon == ours.horizon).unwrap_or(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Transaction;
    use crate::{DeltaLog, SyncProtocolKind, build_handshake};
    use syncline_storage::ApplyContext;
    use syncline_store::MemoryStore;
    use syncline_types::{ContextId, Moment, ReplicaId};

    fn handshake(root: u8) -> SyncHandshake {
        let context = ApplyContext::new(Moment::at(SimTime::ZERO));
        let mut work = Transaction::begin(MemoryStore::default(), DeltaLog::default(), context).unwrap();
        let protocols = SyncProtocolKind::EXECUTABLE;
        let described = work.describe(ContextId::default(), ReplicaId::from_u64(1), &protocols).unwrap();
        SyncHandshake { root_hash: Digest([root; 32]), ..build_handshake(&described) }
    }

    fn at(secs: u64) -> SimTime {
        SimTime::from_secs(secs)
    }

    /// Promises: G1
    #[test]
    fn unused_view_is_released() {
        let mut views = ViewCache::new(4);
        views.insert(&handshake(1), &(), at(10));
        views.insert(&handshake(2), &(), at(20));
        views.expire(at(69));
        assert!(views.find(Digest([1; 32]), at(69)).is_some());
        views.expire(at(80));
        assert_eq!((views.len(), views.cached().1), (1, None), "the newest was not used");
        views.expire(at(129));
        assert!(views.is_empty());
    }

    /// Promises: G1
    #[test]
    fn view_is_released_once_much_was_written() {
        let mut views = ViewCache::with(ViewBounds { bytes: 100, ..ViewBounds::default() });
        views.insert(&handshake(1), &(), at(1));
        views.on_commit(60);
        views.insert(&handshake(2), &(), at(1));
        views.on_commit(40);
        assert_eq!((views.len(), views.written()), (2, 100));
        views.on_commit(1);
        assert_eq!((views.len(), views.written()), (1, 41));
        assert_eq!(views.cached().1.map(|newest| newest.root_hash), Some(Digest([2; 32])));
    }
}
