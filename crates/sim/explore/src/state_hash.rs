//! Hashes of states, and the table of the states that were visited.

use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// Collects the bytes of a state and computes their 128-bit hash (XXH3). By the birthday bound, a billion
/// distinct states contain a collision with a probability below 1 in 10²⁰.
#[derive(Clone, Debug, Default)]
pub struct StateHasher(Vec<u8>);

impl StateHasher {
    /// Appends the length of a byte string and the string itself.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Appends a number, as eight bytes.
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// The hash of all that was appended since the last call. The buffer is empty afterwards.
    pub fn finish(&mut self) -> u128 {
        let digest = xxh3_128(&self.0);
        self.0.clear();
        digest
    }
}

/// Appends text without its length: the caller must separate adjacent parts.
impl fmt::Write for StateHasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A map from hashes to numbers: open addressing with linear probing, at most three quarters full. The keys are
/// uniformly distributed, so their low bits serve as the index. Nothing is ever removed, so no slot needs a
/// deletion mark.
#[derive(Clone, Debug, Default)]
pub(super) struct HashIndex {
    slots: Vec<([u64; 2], u32)>,
    len: usize,
}

const EMPTY: u32 = u32::MAX;
const MIN_SLOTS: usize = 1_024;

impl HashIndex {
    /// The slot of a key, or the empty slot where it belongs.
    fn slot(&self, key: [u64; 2]) -> usize {
        // The number of slots is a power of two, and at least one slot is empty, so that the probe ends.
        let mask = self.slots.len() - 1;
        let mut at = key[0] as usize & mask;
        while self.slots[at].1 != EMPTY && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// The number of a hash, if it has one.
    pub(super) fn find(&self, digest: u128) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let number = self.slots[self.slot(split(digest))].1;
        (number != EMPTY).then_some(number)
    }

    /// Gives a hash a number, unless it already has one. Returns whether it had none. O(1) amortized.
    pub(super) fn insert(&mut self, digest: u128, number: u32) -> bool {
        assert!(number != EMPTY, "numbers stay below the mark of an empty slot");
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![([0; 2], EMPTY); (self.slots.len() * 2).max(MIN_SLOTS)];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.1 != EMPTY {
                    let at = self.slot(slot.0);
                    self.slots[at] = slot;
                }
            }
            assert!(self.slots.len().is_power_of_two(), "the index is a mask of the key's low bits");
        }
        let key = split(digest);
        let at = self.slot(key);
        let new = self.slots[at].1 == EMPTY;
        if new {
            self.slots[at] = (key, number);
            self.len += 1;
        }
        new
    }
}

const fn split(digest: u128) -> [u64; 2] {
    [digest as u64, (digest >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exactly_what_was_inserted() {
        let digest = |n: u64| xxh3_128(&n.to_le_bytes());
        let mut table = HashIndex::default();
        assert_eq!(table.find(digest(0)), None);
        for n in 0..10_000 {
            assert!(table.insert(digest(n), n as u32));
        }
        for n in 0..10_000 {
            assert!(!table.insert(digest(n), 0), "{n} is there already");
            assert_eq!(table.find(digest(n)), Some(n as u32));
            assert_eq!(table.find(digest(n + 10_000)), None);
        }
    }
}
