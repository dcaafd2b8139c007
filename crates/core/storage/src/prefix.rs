//! Prefixes of ids, in nibbles of four bits.

use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer};

/// The first `len` nibbles of an id: the position of a node in a trie. Prefixes order by length first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Prefix {
    // First in the order: comparing the length first costs least, and rows of nodes order the same way.
    len: u8,
    /// Nibbles beyond `len` are zero, so that this is the lowest id with the prefix. Also cheap to compare.
    nibbles: EntityId,
}

impl Prefix {
    /// The prefix of every id.
    pub const EMPTY: Self = Self { len: 0, nibbles: EntityId::ROOT };
    /// The nibbles of a whole id.
    pub const MAX_LEN: u8 = 64;

    /// The number of nibbles.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// A lower bound of the prefixes of `len` nibbles whose encodings are at least `bytes`. Only whole bytes
    /// of `bytes` are used, so that a scan from here may begin a few rows early and never late.
    pub(crate) fn beginning(len: u8, bytes: &[u8]) -> Self {
        let mut prefix = Self { len, nibbles: EntityId::ROOT };
        let whole_bytes = usize::from(len / 2);
        for (to, from) in prefix.nibbles.0.iter_mut().take(whole_bytes).zip(bytes.iter().skip(1)) {
            *to = *from;
        }
        prefix
    }

    /// Whether this is the prefix of every id.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The nibbles, two to a byte; the last byte of an odd number is padded with zero.
    pub(crate) fn packed(&self) -> &[u8] {
        debug_assert!(self.len <= Self::MAX_LEN, "a prefix is not longer than an id");
        self.nibbles.0.split_at(usize::from(self.len.div_ceil(2))).0
    }

    /// The prefix extended by one nibble. A prefix of [`Prefix::MAX_LEN`] nibbles stays as it is.
    pub fn child(mut self, nibble: u8) -> Self {
        if self.len < Self::MAX_LEN {
            let shift = if self.len.is_multiple_of(2) { 4 } else { 0 };
            if let Some(byte) = self.nibbles.0.get_mut(usize::from(self.len / 2)) {
                *byte |= (nibble & 15) << shift;
            }
            self.len += 1;
        }
        self
    }

    /// The prefix that continues with these nibbles; `None` if it would be longer than an id. O(nibbles).
    pub fn join(self, below: Self) -> Option<Self> {
        let fits = self.len.checked_add(below.len).is_some_and(|len| len <= Self::MAX_LEN);
        fits.then(|| (0..below.len).fold(self, |prefix, at| prefix.child(below.nibble_at(at))))
    }

    /// The nibbles that follow the prefix `above`, with which this prefix begins. O(nibbles).
    pub fn below(self, above: Self) -> Self {
        debug_assert!(above.is_beginning_of(self), "a prefix is below one that it begins with");
        (above.len..self.len).fold(Self::EMPTY, |prefix, at| prefix.child(self.nibble_at(at)))
    }

    /// Whether `longer` is this prefix or continues it.
    pub fn is_beginning_of(self, longer: Self) -> bool {
        self.len <= longer.len && self.contains(longer.nibbles)
    }

    /// The nibble at position `at`; zero behind the end.
    pub fn nibble_at(self, at: u8) -> u8 {
        Self::nibble(self.nibbles, at) as u8
    }

    /// The nibble of `id` at the position after this prefix; zero at full length.
    pub fn next_nibble(self, id: EntityId) -> usize {
        Self::nibble(id, self.len)
    }

    /// The nibble of `id` at position `at`; zero beyond the end of the id.
    pub(crate) fn nibble(id: EntityId, at: u8) -> usize {
        let byte = id.0.get(usize::from(at / 2)).copied().unwrap_or(0);
        usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
    }

    /// Whether `id` starts with this prefix.
    pub fn contains(self, id: EntityId) -> bool {
        self.first_id() <= id && id <= self.last_id()
    }

    /// The lowest id with this prefix.
    pub const fn first_id(self) -> EntityId {
        self.nibbles
    }

    /// The highest id with this prefix.
    pub fn last_id(self) -> EntityId {
        let mut bytes = self.nibbles.0;
        for (at, byte) in bytes.iter_mut().enumerate() {
            let nibbles_here = usize::from(self.len).saturating_sub(at * 2).min(2);
            *byte |= match nibbles_here {
                0 => 0xff,
                1 => 0x0f,
                _ => 0,
            };
        }
        EntityId(bytes)
    }
}

impl Encode for Prefix {
    fn encode(&self, out: &mut Writer) {
        out.u8(self.len);
        out.raw(self.packed());
    }
}

impl Decode for Prefix {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.u8()?;
        if len > Self::MAX_LEN {
            return Err(DecodeError::TooLarge {
                what: "the nibbles of a prefix",
                found: u64::from(len),
                limit: u64::from(Self::MAX_LEN),
            });
        }
        let mut prefix = Self { len, nibbles: EntityId::ROOT };
        let packed = input.raw(usize::from(len.div_ceil(2)), "a prefix")?;
        for (to, from) in prefix.nibbles.0.iter_mut().zip(packed) {
            *to = *from;
        }
        let padding = if len % 2 == 1 { packed.last().is_some_and(|byte| byte & 15 != 0) } else { false };
        if padding {
            return Err(DecodeError::NotCanonical { what: "a prefix" });
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn contains_its_ids_and_round_trips(bytes: [u8; 32], len in 0u8..=64) {
            let id = EntityId(bytes);
            let mut prefix = Prefix::EMPTY;
            for _ in 0..len {
                prefix = prefix.child(prefix.next_nibble(id) as u8);
            }
            prop_assert!(prefix.contains(id));
            prop_assert_eq!(Prefix::from_bytes(&prefix.to_bytes()), Ok(prefix));
            let (upper, lower) = (0..len).fold((Prefix::EMPTY, Prefix::EMPTY), |(upper, lower), at| {
                let nibble = prefix.nibble_at(at);
                if at < len / 3 { (upper.child(nibble), lower) } else { (upper, lower.child(nibble)) }
            });
            prop_assert!(upper.is_beginning_of(prefix) && (upper == prefix || !prefix.is_beginning_of(upper)));
            prop_assert_eq!(prefix.below(upper), lower);
            prop_assert_eq!(upper.join(lower), Some(prefix));
            let rest = (len..65).fold(Prefix::EMPTY, |rest, _| rest.child(1));
            prop_assert_eq!(prefix.join(rest).is_none(), len > 0, "an id has 64 nibbles");
            if len > 0 {
                let mut other = id;
                let at = usize::from(len - 1);
                other.0[at / 2] ^= if at % 2 == 0 { 0x10 } else { 0x01 };
                prop_assert!(!prefix.contains(other));
            }
        }
    }
}
