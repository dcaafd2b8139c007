//! Compressed lists of short ids.

use syncline_types::{Decode, DecodeError, Encode, Reader, ShortIdKey, Writer, limits};

const MAX: u32 = (1 << ShortIdKey::BITS) - 1;

/// A set of [short ids](ShortIdKey), ascending. Of a million ids one in 270 shares its short id with another;
/// requesting a short id therefore means all entities that have it.
///
/// On the wire the gaps are Golomb–Rice codes (Rice and Plaunt, "Adaptive Variable-Length Coding for
/// Efficient Compression of Spacecraft Television Data", 1971). In a list of half a million a short id
/// takes 1.5 bytes; in a list of fifty it takes three.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShortIds(Vec<u32>);

impl ShortIds {
    /// The set of these short ids, given in any order and possibly more than once.
    pub fn of(short_ids: impl IntoIterator<Item = u32>) -> Self {
        let mut short_ids: Vec<u32> = short_ids.into_iter().collect();
        short_ids.sort_unstable();
        short_ids.dedup();
        Self(short_ids)
    }

    /// The number of short ids.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set contains `short_id`. O(log n).
    pub fn contains(&self, short_id: u32) -> bool {
        self.0.binary_search(&short_id).is_ok()
    }

    /// The short ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// The parameter of the Rice code: how many low bits of a gap are written verbatim. The high part is
    /// written in unary. The logarithm of the average gap keeps the unary part near one bit.
    fn shift(first: u32, last: u32, gaps: usize) -> u32 {
        debug_assert!(first <= last, "short ids ascend");
        let span = u64::from(last - first);
        span.checked_div(gaps as u64).and_then(u64::checked_ilog2).unwrap_or(0)
    }

    /// Decodes a set of at most `limit` short ids.
    pub(super) fn decode_up_to(input: &mut Reader<'_>, limit: usize) -> Result<Self, DecodeError> {
        const WHAT: &str = "a list of short ids";
        let found = input.varint()?;
        let limit = limit as u64;
        if found > limit {
            return Err(DecodeError::TooLarge { what: WHAT, found, limit });
        }
        // A gap takes at least one bit, so the length of the input bounds the memory that is allocated here.
        let needed = (found as usize).div_ceil(8);
        if needed > input.remaining() {
            return Err(DecodeError::Truncated { what: WHAT, needed: needed - input.remaining() });
        }
        let mut short_ids = Vec::with_capacity(found as usize);
        if found == 0 {
            return Ok(Self(short_ids));
        }
        let first = input.u32_le()?;
        if first > MAX {
            return Err(DecodeError::NotCanonical { what: WHAT });
        }
        short_ids.push(first);
        if found == 1 {
            return Ok(Self(short_ids));
        }
        let malformed = DecodeError::NotCanonical { what: WHAT };
        let shift = u32::from(input.u8()?);
        if shift >= 32 {
            return Err(malformed);
        }
        let mut bits = BitReader::default();
        let mut last = first;
        for _ in 1..found {
            let mut gap = 0u64;
            // The unary part ends with the input at the latest, so it cannot overflow.
            while bits.next(input)? {
                gap += 1;
            }
            for _ in 0..shift {
                gap = gap << 1 | u64::from(bits.next(input)?);
            }
            let next = u64::from(last) + 1 + gap;
            last = u32::try_from(next).ok().filter(|next| *next <= MAX).ok_or(malformed)?;
            short_ids.push(last);
        }
        // The encoding is canonical: zero padding, and the parameter that an encoder computes.
        if !bits.is_spent() || shift != Self::shift(first, last, short_ids.len() - 1) {
            return Err(malformed);
        }
        debug_assert!(short_ids.is_sorted_by(|a, b| a < b), "decoded short ids ascend");
        Ok(Self(short_ids))
    }
}

impl Encode for ShortIds {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.0.len() as u64);
        // Of no ids the length alone is written.
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return };
        out.u32_le(*first);
        if self.0.len() == 1 {
            return;
        }
        let shift = Self::shift(*first, *last, self.0.len() - 1);
        out.u8(shift as u8);
        let mut bits = BitWriter::default();
        for (before, short_id) in self.0.iter().zip(self.0.iter().skip(1)) {
            // Short ids are distinct, so the smallest gap is encoded as zero.
            let gap = short_id - before - 1;
            (0..gap >> shift).for_each(|_| bits.put(true, out));
            bits.put(false, out);
            (0..shift).rev().for_each(|at| bits.put(gap >> at & 1 == 1, out));
        }
        bits.finish(out);
    }
}

impl Decode for ShortIds {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_up_to(input, limits::MAX_RECORDS_PER_FRAME)
    }
}

/// Collects bits into bytes, the highest bit first.
#[derive(Default)]
struct BitWriter {
    byte: u8,
    count: u32,
}

impl BitWriter {
    fn put(&mut self, bit: bool, out: &mut Writer) {
        self.byte = self.byte << 1 | u8::from(bit);
        self.count += 1;
        if self.count == 8 {
            out.u8(self.byte);
            *self = Self::default();
        }
    }

    fn finish(self, out: &mut Writer) {
        if self.count > 0 {
            out.u8(self.byte << (8 - self.count));
        }
    }
}

/// Reads the bits of a [`BitWriter`].
#[derive(Default)]
struct BitReader {
    byte: u8,
    left: u32,
}

impl BitReader {
    fn next(&mut self, input: &mut Reader<'_>) -> Result<bool, DecodeError> {
        if self.left == 0 {
            self.byte = input.u8()?;
            self.left = 8;
        }
        self.left -= 1;
        Ok(self.byte >> self.left & 1 == 1)
    }

    /// Whether the unread bits of the current byte are zeros.
    const fn is_spent(&self) -> bool {
        self.byte & ((1u8 << self.left) - 1) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(short_ids: Vec<u32>, dense in 0u32..500) {
            let short_ids: Vec<u32> = short_ids.into_iter().map(|short_id| short_id & MAX).collect();
            for short_ids in [ShortIds::of(short_ids.clone()), ShortIds::of(short_ids.iter().map(|short_id| short_id % (dense + 1)))] {
                prop_assert_eq!(ShortIds::from_bytes(&short_ids.to_bytes()), Ok(short_ids));
            }
        }

        #[test]
        fn encoding_is_canonical(bytes: Vec<u8>) {
            if let Ok(short_ids) = ShortIds::from_bytes(&bytes) {
                prop_assert_eq!(short_ids.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn encoding_is_compact() {
        for (count, most) in [(50u32, 175), (1_000, 20 * 125)] {
            let spread = (0..count).map(|n| n.wrapping_mul(2_654_435_769) >> 4);
            let bytes = ShortIds::of(spread).to_bytes().len();
            assert!(bytes <= most as usize, "{bytes} bytes for {count} short ids");
        }
    }
}
