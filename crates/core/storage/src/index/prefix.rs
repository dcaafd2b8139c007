//! The leading bits of an id, four at a time.

use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer};

/// The first `len` nibbles of an id: names one node of a trie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Prefix {
    // The order is by length first: it costs least to compare, and nothing needs another.
    len: u8,
    /// Nibbles beyond `len` are zero. An id, so that comparing it is cheap too.
    nibbles: EntityId,
}

impl Prefix {
    /// The prefix of every id.
    pub const EMPTY: Self = Self { len: 0, nibbles: EntityId::ROOT };
    /// The most nibbles an id has.
    pub const MAX_LEN: u8 = 64;

    /// How many nibbles.
    pub const fn len(self) -> u8 {
        self.len
    }

    /// The lowest prefix of `len` nibbles whose encoding is not below `bytes`, or one before it.
    pub(crate) fn beginning(len: u8, bytes: &[u8]) -> Self {
        let mut prefix = Self { len, nibbles: EntityId::ROOT };
        let places = usize::from(len / 2);
        for (to, from) in prefix.nibbles.0.iter_mut().take(places).zip(bytes.iter().skip(1)) {
            *to = *from;
        }
        prefix
    }

    /// Whether it is the prefix of every id.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes that hold the nibbles, two to a byte.
    pub(crate) fn packed(&self) -> &[u8] {
        self.nibbles.0.split_at(usize::from(self.len.div_ceil(2))).0
    }

    /// One nibble further. At full length there is nothing further: the prefix stays.
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

    /// The nibble of `id` that follows this prefix.
    pub fn next_nibble(self, id: EntityId) -> usize {
        Self::nibble(id, self.len)
    }

    /// The nibble of `id` that `at` others come before.
    pub(super) fn nibble(id: EntityId, at: u8) -> usize {
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
        fn a_prefix_contains_the_ids_it_leads_to_and_round_trips(bytes: [u8; 32], len in 0u8..=64) {
            let id = EntityId(bytes);
            let mut prefix = Prefix::EMPTY;
            for _ in 0..len {
                prefix = prefix.child(prefix.next_nibble(id) as u8);
            }
            prop_assert!(prefix.contains(id));
            prop_assert_eq!(Prefix::from_bytes(&prefix.to_bytes()), Ok(prefix));
            if len > 0 {
                let mut other = id;
                let at = usize::from(len - 1);
                other.0[at / 2] ^= if at % 2 == 0 { 0x10 } else { 0x01 };
                prop_assert!(!prefix.contains(other));
            }
        }
    }
}
