//! A Bloom filter over records (Bloom, "Space/time trade-offs in hash coding with allowable
//! errors", 1970).

use crate::sketch::mix;
use syncline_storage::Entry;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer, limits};

/// Says of a record that it surely is not among those put in, or that it may be.
///
/// An element is the digest of a record, which commits to the entity's id. Its bits are found by
/// double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006) from two words
/// of the digest mixed with a salt, so that two sessions do not miss the same differences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    salt: u64,
    words: Vec<u64>,
}

/// Bits set for each element: near the optimum for [`Filter::BITS_PER_RECORD`].
const HASHES: u64 = 7;

impl Filter {
    /// Bits of a filter for each record in it: one record in 120 outside it seems to be in it.
    pub const BITS_PER_RECORD: u64 = 10;
    /// The largest filter, in bits.
    pub const MAX_BITS: u64 = limits::MAX_FILTER_BYTES as u64 * 8;

    /// An empty filter of `bits` bits, rounded up to words, at least one and at most
    /// [`Filter::MAX_BITS`].
    pub fn new(bits: u64, salt: u64) -> Self {
        let words = bits.clamp(64, Self::MAX_BITS).div_ceil(64);
        Self { salt, words: vec![0; words as usize] }
    }

    /// An empty filter for `records` records.
    pub fn for_records(records: u64, salt: u64) -> Self {
        Self::new(records.saturating_mul(Self::BITS_PER_RECORD), salt)
    }

    /// What it was salted with.
    pub const fn salt(&self) -> u64 {
        self.salt
    }

    fn bits(&self, entry: &Entry) -> impl Iterator<Item = (usize, u64)> + use<> {
        let [a, b, ..] = entry.own.words();
        let first = mix(a ^ self.salt);
        let step = mix(b.wrapping_add(self.salt)) | 1;
        let size = self.words.len() as u64 * 64;
        (0..HASHES).map(move |n| {
            let bit = first.wrapping_add(n.wrapping_mul(step)) % size;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    /// Puts a record in.
    pub fn insert(&mut self, entry: &Entry) {
        for (word, bit) in self.bits(entry) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// Whether the record may be in it. Never wrong when it says no.
    pub fn may_contain(&self, entry: &Entry) -> bool {
        self.bits(entry).all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }
}

impl Encode for Filter {
    fn encode(&self, out: &mut Writer) {
        out.u64_le(self.salt);
        out.varint(self.words.len() as u64);
        for word in &self.words {
            out.u64_le(*word);
        }
    }
}

impl Decode for Filter {
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
        fn a_filter_contains_all_that_was_put_in(count in 1u64..300, salt: u64) {
            let mut filter = Filter::for_records(count, salt);
            (0..count).for_each(|n| filter.insert(&entry(n)));
            prop_assert!((0..count).all(|n| filter.may_contain(&entry(n))));
            prop_assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter));
        }
    }

    #[test]
    fn about_one_outsider_in_120_seems_to_be_inside() {
        let mut filter = Filter::for_records(10_000, 7);
        (0..10_000).for_each(|n| filter.insert(&entry(n)));
        let wrong = (10_000..110_000).filter(|n| filter.may_contain(&entry(*n))).count();
        assert!((600..1_100).contains(&wrong), "{wrong} of 100,000");
    }
}
