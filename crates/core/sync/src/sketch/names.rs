//! Entities named by the beginnings of their ids: lists of such names, in few bits.

use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

const MAX: u32 = (1 << EntityId::PREFIX_BITS) - 1;

/// Names, ascending, each once. Of a million random ids one in 270 shares its name with another,
/// so that a name is a wish for all entities that have it.
///
/// On the wire the gaps between them are Golomb–Rice codes (Rice, Plaunt, 1971): a list of half a million
/// names takes a byte and a half each, one of fifty three.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names(Vec<u32>);

impl Names {
    /// These names, in whatever order and however often they come.
    pub fn of(names: impl IntoIterator<Item = u32>) -> Self {
        let mut names: Vec<u32> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is among them. O(log n).
    pub fn contains(&self, name: u32) -> bool {
        self.0.binary_search(&name).is_ok()
    }

    /// The names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// How many bits of a gap are written as they are; what is above them is counted in ones.
    fn shift(first: u32, last: u32, gaps: usize) -> u32 {
        let span = u64::from(last - first);
        span.checked_div(gaps as u64).and_then(u64::checked_ilog2).unwrap_or(0)
    }

    /// At most `limit` names.
    pub(crate) fn decode_up_to(input: &mut Reader<'_>, limit: usize) -> Result<Self, DecodeError> {
        const WHAT: &str = "a list of names";
        let found = input.varint()?;
        let limit = limit as u64;
        if found > limit {
            return Err(DecodeError::TooLarge { what: WHAT, found, limit });
        }
        // A gap takes a bit at least.
        let needed = (found as usize).div_ceil(8);
        if needed > input.remaining() {
            return Err(DecodeError::Truncated { what: WHAT, needed: needed - input.remaining() });
        }
        let mut names = Vec::with_capacity(found as usize);
        if found == 0 {
            return Ok(Self(names));
        }
        let first = input.u32_le()?;
        if first > MAX {
            return Err(DecodeError::NotCanonical { what: WHAT });
        }
        names.push(first);
        if found == 1 {
            return Ok(Self(names));
        }
        let malformed = DecodeError::NotCanonical { what: WHAT };
        let shift = u32::from(input.u8()?);
        if shift >= 32 {
            return Err(malformed);
        }
        let (mut bits, mut last) = (BitReader::default(), first);
        for _ in 1..found {
            let mut gap = 0;
            while bits.next(input)? {
                gap += 1u64;
            }
            for _ in 0..shift {
                gap = gap << 1 | u64::from(bits.next(input)?);
            }
            let name = u64::from(last) + 1 + gap;
            last = u32::try_from(name).ok().filter(|name| *name <= MAX).ok_or(malformed)?;
            names.push(last);
        }
        if !bits.is_spent() || shift != Self::shift(first, last, names.len() - 1) {
            return Err(malformed);
        }
        Ok(Self(names))
    }
}

impl Encode for Names {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.0.len() as u64);
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return };
        out.u32_le(*first);
        if self.0.len() == 1 {
            return;
        }
        let shift = Self::shift(*first, *last, self.0.len() - 1);
        out.u8(shift as u8);
        let mut bits = BitWriter::default();
        for (before, name) in self.0.iter().zip(self.0.iter().skip(1)) {
            let gap = name - before - 1;
            (0..gap >> shift).for_each(|_| bits.put(true, out));
            bits.put(false, out);
            (0..shift).rev().for_each(|at| bits.put(gap >> at & 1 == 1, out));
        }
        bits.finish(out);
    }
}

impl Decode for Names {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode_up_to(input, limits::MAX_RECORDS_PER_FRAME)
    }
}

/// Bits of a byte, the highest first.
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

/// See [`BitWriter`].
#[derive(Default)]
struct BitReader {
    byte: u8,
    left: u32,
}

impl BitReader {
    fn next(&mut self, input: &mut Reader<'_>) -> Result<bool, DecodeError> {
        if self.left == 0 {
            (self.byte, self.left) = (input.u8()?, 8);
        }
        self.left -= 1;
        Ok(self.byte >> self.left & 1 == 1)
    }

    /// Whether nothing but zeros is left of the byte.
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
        fn names_come_back_as_they_were(names: Vec<u32>, dense in 0u32..500) {
            let names: Vec<u32> = names.into_iter().map(|name| name & MAX).collect();
            for names in [Names::of(names.clone()), Names::of(names.iter().map(|name| name % (dense + 1)))] {
                prop_assert_eq!(Names::from_bytes(&names.to_bytes()), Ok(names));
            }
        }

        #[test]
        fn bytes_mean_one_list_or_none(bytes: Vec<u8>) {
            if let Ok(names) = Names::from_bytes(&bytes) {
                prop_assert_eq!(names.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_name_takes_little_more_than_its_gap() {
        for (count, most) in [(50u32, 175), (1_000, 20 * 125)] {
            let spread = (0..count).map(|n| n.wrapping_mul(2_654_435_769) >> 4);
            let bytes = Names::of(spread).to_bytes().len();
            assert!(bytes <= most as usize, "{bytes} bytes for {count} names");
        }
    }
}
