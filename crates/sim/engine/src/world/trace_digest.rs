//! The digest of everything that happened, in order.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A rolling digest over the events of a run. Always on: it costs about as much as one hash of each
/// frame. Two runs with equal digests did the same things at the same times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TraceDigest(u64);

impl TraceDigest {
    /// A digest that goes on from one that was written down.
    pub const fn resumed(value: u64) -> Self {
        Self(value)
    }

    /// Takes in one event.
    pub fn event(&mut self, words: [u64; 4]) {
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        self.0 = xxh3_64_with_seed(&bytes, self.0);
    }

    /// Takes in the bytes of a frame.
    pub fn payload(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// The digest so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for TraceDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
