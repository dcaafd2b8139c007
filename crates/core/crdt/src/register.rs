//! Last-writer-wins register.

use std::sync::Arc;
use syncline_types::{Hlc, canary};

/// A value and the stamp of the write that set it. The join keeps the later stamp; between equal
/// stamps, which only a broken or hostile replica can make, the greater bytes.
///
/// Cost: one comparison. Copies share the bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Register {
    stamp: Hlc,
    bytes: Arc<[u8]>,
}

impl Register {
    /// A register as one write leaves it.
    pub fn new(stamp: Hlc, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { stamp, bytes: bytes.into() }
    }

    /// When the value was written.
    pub const fn stamp(&self) -> Hlc {
        self.stamp
    }

    /// The value.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Joins `other` in. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let tie_by_arrival = canary!(LwwTieByArrival) && other.stamp.time() == self.stamp.time();
        if canary!(LowerReplicaWins) && other.stamp.time() == self.stamp.time() {
            let wins = other.stamp < self.stamp;
            if wins {
                self.clone_from(other);
            }
            return wins;
        }
        if (other.stamp, &other.bytes) <= (self.stamp, &self.bytes) && !tie_by_arrival {
            return false;
        }
        self.clone_from(other);
        true
    }
}
