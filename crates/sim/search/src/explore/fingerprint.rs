//! Digests of states, and a table of what has been seen.

use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// Takes in a state and gives its digest of 128 bits: of a billion different states, two have the same with
/// a chance of one in 10²⁰.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Takes in bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// The digest of what was taken in; begins anew.
    pub fn finish(&mut self) -> u128 {
        let digest = xxh3_128(&self.0);
        self.0.clear();
        digest
    }
}

/// What is written is taken in as it is: whoever writes sees to it that parts cannot run into each other.
impl fmt::Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Numbers by digest: an open table with linear probing, at most three quarters full. The digests are
/// spread evenly already, and nothing is ever taken out.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    slots: Vec<([u64; 2], u32)>,
    len: usize,
}

const EMPTY: u32 = u32::MAX;
const FEWEST: usize = 1_024;

impl Table {
    fn place(&self, key: [u64; 2]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = key[0] as usize & mask;
        while self.slots[at].1 != EMPTY && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// The number of a digest, if it has one.
    pub(super) fn find(&self, digest: u128) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let number = self.slots[self.place(split(digest))].1;
        (number != EMPTY).then_some(number)
    }

    /// Gives a digest a number, unless it has one. Says whether it had none.
    pub(super) fn insert(&mut self, digest: u128, number: u32) -> bool {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![([0; 2], EMPTY); (self.slots.len() * 2).max(FEWEST)];
            for slot in std::mem::replace(&mut self.slots, larger) {
                if slot.1 != EMPTY {
                    let at = self.place(slot.0);
                    self.slots[at] = slot;
                }
            }
        }
        let key = split(digest);
        let at = self.place(key);
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
    fn a_table_finds_what_it_was_given_and_nothing_else() {
        let digest = |n: u64| xxh3_128(&n.to_le_bytes());
        let mut table = Table::default();
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
