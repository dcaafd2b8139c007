//! The last-writer-wins register.

use std::sync::Arc;
use syncline_types::{Hlc, canary};

/// A value and the stamp of the write that set it. The join is the maximum of `(stamp, bytes)`.
///
/// The semilattice laws hold because that order is *total*: `max` over a total order is idempotent,
/// commutative and associative. Stamps of honest replicas are unique, so that the bytes never matter
/// among them. Only a broken or hostile replica gives two values one stamp; then the bytes break the
/// tie, or the order of arrival would decide, and commutativity would be lost.
///
/// A join takes one comparison. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    stamp: Hlc,
    bytes: Arc<[u8]>,
}

impl Register {
    /// A register with the value of one write.
    pub fn new(stamp: Hlc, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { stamp, bytes: bytes.into() }
    }

    /// The stamp of the write that set the value.
    pub const fn stamp(&self) -> Hlc {
        self.stamp
    }

    /// The bytes of the value.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Replaces `self` by the greater of both. Returns whether `self` changed.
    pub fn join(&mut self, other: &Self) -> bool {
        if canary!(LwwTieByArrival) && other.stamp.time() == self.stamp.time() {
            self.clone_from(other);
            return true;
        }
        if canary!(LowerReplicaWins) && other.stamp.time() == self.stamp.time() {
            let wins = other.stamp < self.stamp;
            if wins {
                self.clone_from(other);
            }
            return wins;
        }
        let greater = (other.stamp, &other.bytes) > (self.stamp, &self.bytes);
        if greater {
            self.clone_from(other);
        }
        debug_assert!(self.stamp >= other.stamp, "the join is an upper bound of the incoming write");
        greater
    }
}
