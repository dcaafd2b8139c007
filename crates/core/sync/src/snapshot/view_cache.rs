//! The responder's cache of the views that snapshots are read from.

use crate::messages::SyncHandshake;
use std::collections::VecDeque;
use syncline_types::Digest;

/// A bounded cache of views, so that new writes do not disturb a snapshot in progress. It is the only
/// thing that a responder stores between requests. A view that is evicted costs the initiator a
/// comparison with a later state, never correctness.
#[derive(Clone, Debug)]
pub struct ViewCache<V> {
    /// Views by the root of their state, the most recently used last.
    views: VecDeque<(Digest, V)>,
    /// The handshake of the view that was inserted last. That view is always in the cache, because only
    /// a later insertion could evict it.
    newest: Option<SyncHandshake>,
    capacity: usize,
}

impl<V: Clone> ViewCache<V> {
    /// A cache of up to `capacity` views, and at least one.
    pub const fn new(capacity: usize) -> Self {
        Self { views: VecDeque::new(), newest: None, capacity: if capacity == 0 { 1 } else { capacity } }
    }

    /// The roots of the cached states, the most recently used last, and the handshake of the newest one.
    pub fn cached(&self) -> (Vec<Digest>, Option<&SyncHandshake>) {
        (self.views.iter().map(|(root, _)| *root).collect(), self.newest.as_ref())
    }

    /// Inserts the view that `handshake` describes, and evicts the least recently used one if the cache is
    /// full. Returns whether it did.
    pub(crate) fn insert(&mut self, handshake: &SyncHandshake, view: &V) -> bool {
        let mut evicted = false;
        if self.find(handshake.root_hash).is_none() {
            self.views.push_back((handshake.root_hash, view.clone()));
            self.newest = Some(handshake.clone());
            while self.views.len() > self.capacity {
                evicted |= self.views.pop_front().is_some();
            }
        }
        debug_assert!(self.views.len() <= self.capacity, "the cache never exceeds its capacity");
        evicted
    }

    /// The view of the state with this root, which becomes the most recently used one. O(capacity).
    pub(crate) fn find(&mut self, root: Digest) -> Option<&V> {
        let at = self.views.iter().position(|(own, _)| *own == root)?;
        let found = self.views.remove(at)?;
        self.views.push_back(found);
        self.views.back().map(|(_, view)| view)
    }

    /// The state that a transfer continues with when its view has been evicted: the present state, or
    /// the newest cached one if the cache is full. Offering the present state to everyone would let the
    /// readers of many states evict each other's views for ever (a livelock).
    pub(crate) fn replacement<'a>(&'a self, ours: &'a SyncHandshake) -> &'a SyncHandshake {
        let full = self.views.len() >= self.capacity;
        self.newest.as_ref().filter(|newest| full && newest.horizon == ours.horizon).unwrap_or(ours)
    }
}
