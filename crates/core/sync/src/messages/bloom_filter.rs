//! A Bloom filter over records (Bloom, "Space/time trade-offs in hash coding with allowable
//! errors", CACM 1970).

use crate::sketch::mix;
use syncline_storage::Entry;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer, limits};

/// A set of records with false positives and no false negatives: a record that is not found was
/// certainly not inserted.
///
/// An element is the digest of a record, which commits to the entity's id. Its bit positions come from
/// double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", ESA 2006) of two words of
/// the digest mixed with a salt. Two sessions use different salts, so that a difference hidden by a
/// false positive in one session is found in the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BloomFilter {
    salt: u64,
    words: Vec<u64>,
}

/// Bits set for each element: the optimum for [`BloomFilter::BITS_PER_RECORD`] is 10 ln 2 = 6.9.
const HASHES: u64 = 7;

impl BloomFilter {
    /// Bits of a filter for each record in it. The false-positive rate at this size is 1 in 120.
    pub const BITS_PER_RECORD: u64 = 10;
    /// The size of the largest filter, in bits.
    pub const MAX_BITS: u64 = limits::MAX_FILTER_BYTES as u64 * 8;

    /// An empty filter of `bits` bits, rounded up to words, at least one and at most
    /// [`BloomFilter::MAX_BITS`].
    pub fn new(bits: u64, salt: u64) -> Self {
        let words = bits.clamp(64, Self::MAX_BITS).div_ceil(64);
        Self { salt, words: vec![0; words as usize] }
    }

    /// An empty filter with room for `records` records.
    pub fn for_records(records: u64, salt: u64) -> Self {
        Self::new(records.saturating_mul(Self::BITS_PER_RECORD), salt)
    }

    /// The salt of the hash functions.
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    fn bits(&self, entry: &Entry) -> impl Iterator<Item = (usize, u64)> + use<> {
        debug_assert!(!self.words.is_empty(), "a filter has at least one word");
        let [a, b, ..] = entry.own.words();
        let first = mix(a ^ self.salt);
        // An odd step is coprime to a power of two, so that the seven positions rarely coincide.
        let step = mix(b.wrapping_add(self.salt)) | 1;
        let size = self.words.len() as u64 * 64;
        (0..HASHES).map(move |n| {
            let bit = first.wrapping_add(n.wrapping_mul(step)) % size;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    /// Inserts a record. O(1).
    pub fn insert(&mut self, entry: &Entry) {
        for (word, bit) in self.bits(entry) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
        debug_assert!(self.may_contain(entry), "a filter has no false negatives");
    }

    /// Whether the record may have been inserted. `true` may be a false positive; `false` is certain.
    pub fn may_contain(&self, entry: &Entry) -> bool {
        self.bits(entry).all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }
}

impl Encode for BloomFilter {
    fn encode(&self, out: &mut Writer) {
        out.u64_le(self.salt);
        out.varint(self.words.len() as u64);
        for word in &self.words {
            out.u64_le(*word);
        }
    }
}

impl Decode for BloomFilter {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let salt = input.u64_le()?;
        let len = input.length(limits::MAX_FILTER_BYTES / 8, "the words of a filter")?;
        if len == 0 {
            return Err(DecodeError::NotCanonical { what: "a filter" });
        }
        let words = (0..len).map(|_| input.u64_le()).collect::<Result<_, _>>()?;
        Ok(Self { salt, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use syncline_types::{Digest, EntityId};

    fn entry(n: u64) -> Entry {
        Entry { id: EntityId::from_u64(n), own: Digest::of(9, &n.to_le_bytes()), kids: Digest::ZERO }
    }

    proptest! {
        #[test]
        fn filter_has_no_false_negatives(count in 1u64..300, salt: u64) {
            let mut filter = BloomFilter::for_records(count, salt);
            (0..count).for_each(|n| filter.insert(&entry(n)));
            prop_assert!((0..count).all(|n| filter.may_contain(&entry(n))));
            prop_assert_eq!(BloomFilter::from_bytes(&filter.to_bytes()), Ok(filter));
        }
    }

    #[test]
    fn false_positive_rate_matches_design() {
        let mut filter = BloomFilter::for_records(10_000, 7);
        (0..10_000).for_each(|n| filter.insert(&entry(n)));
        let wrong = (10_000..110_000).filter(|n| filter.may_contain(&entry(*n))).count();
        assert!((600..1_100).contains(&wrong), "{wrong} of 100,000");
    }
}
