//! Short ids: a few bits of a keyed hash of an id.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::digest::Digest;
use crate::ids::{ContextId, EntityId};

/// The key of the hash from which the short ids of one context are taken. All replicas of a context have the same
/// key.
///
/// The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). Short ids are spread
/// evenly whatever bits the ids have in common. Without the key nobody can choose ids whose short ids collide. A
/// member of the context has the key; what such ids cost is bounded where short ids are used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ShortIdKey([u64; 2]);

impl ShortIdKey {
    /// The number of bits of a short id.
    pub const BITS: u32 = 28;

    /// The key of a context.
    pub fn of(context: ContextId) -> Self {
        let [_, first, second, _] = Digest::of(12, context.as_bytes()).words();
        Self([first, second])
    }

    /// The short id of an entity, less than 2^[`Self::BITS`]: the first bits of its [`Self::locator`].
    pub fn short_id(self, id: EntityId) -> u32 {
        Self::short_id_of(self.locator(id))
    }

    /// The short id of an entity with this [`Self::locator`].
    pub const fn short_id_of(locator: u32) -> u32 {
        locator >> (u32::BITS - Self::BITS)
    }

    /// The least and the greatest locator of entities with this short id. Bits of `short_id` above the lowest
    /// [`Self::BITS`] are ignored.
    pub const fn locators_of(short_id: u32) -> (u32, u32) {
        let rest = u32::BITS - Self::BITS;
        (short_id << rest, short_id << rest | ((1 << rest) - 1))
    }

    /// The high half of the hash of an id, by which stores order records.
    pub fn locator(self, id: EntityId) -> u32 {
        let [k0, k1] = self.0;
        // The initial constants are those of the paper: "somepseudorandomlygeneratedbytes".
        let mut state = SipState([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]);
        for word in id.as_bytes().as_chunks::<8>().0 {
            state.absorb(u64::from_le_bytes(*word));
        }
        // The last word has the length of the input, and no bytes.
        state.absorb((id.as_bytes().len() as u64) << 56);
        (state.finish() >> 32) as u32
    }
}

/// The four words of SipHash.
struct SipState([u64; 4]);

impl SipState {
    const fn absorb(&mut self, word: u64) {
        let [_, _, _, v3] = &mut self.0;
        *v3 ^= word;
        self.round();
        let [v0, ..] = &mut self.0;
        *v0 ^= word;
    }

    const fn finish(mut self) -> u64 {
        let [_, _, v2, _] = &mut self.0;
        *v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        let [v0, v1, v2, v3] = self.0;
        v0 ^ v1 ^ v2 ^ v3
    }

    const fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v2 = v2.wrapping_add(v3);
        v1 = v1.rotate_left(13) ^ v0;
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v1);
        v0 = v0.wrapping_add(v3);
        v1 = v1.rotate_left(17) ^ v2;
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }
}

impl Encode for ShortIdKey {
    fn encode(&self, out: &mut Writer) {
        self.0.iter().for_each(|word| out.u64_le(*word));
    }
}

impl Decode for ShortIdKey {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self([input.u64_le()?, input.u64_le()?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::hash::Hasher;

    /// The hasher of the standard library is SipHash-1-3 with a key of zeros.
    #[test]
    fn hash_is_siphash() {
        for n in 0..200u64 {
            let id = EntityId(Digest::of(1, &n.to_le_bytes()).0);
            let mut standard = std::hash::DefaultHasher::new();
            standard.write(&id.0);
            assert_eq!(ShortIdKey::default().locator(id), (standard.finish() >> 32) as u32);
        }
    }

    #[test]
    fn locators_of_short_id_are_all_that_have_it() {
        let key = ShortIdKey::of(ContextId::from_u64(3));
        for n in 0..200 {
            let id = EntityId::from_u64(n);
            let (first, last) = ShortIdKey::locators_of(key.short_id(id));
            assert!((first..=last).contains(&key.locator(id)));
            assert_eq!(
                (ShortIdKey::short_id_of(first), ShortIdKey::short_id_of(last)),
                (key.short_id(id), key.short_id(id))
            );
            assert!(key.short_id(id) >> ShortIdKey::BITS == 0);
        }
    }

    /// Ids that differ in a few bits only, wherever those are, have short ids like random numbers; and another
    /// context has others.
    #[test]
    fn short_ids_are_spread_whatever_ids_have_in_common() {
        for (bit, context) in [(0, 1), (100, 1), (240, 1), (240, 2)] {
            let key = ShortIdKey::of(ContextId::from_u64(context));
            let mut groups = BTreeMap::<u32, u32>::new();
            for n in 0..16_000u32 {
                let mut id = [7; 32];
                id[bit / 8..][..2].copy_from_slice(&(n as u16).to_be_bytes());
                *groups.entry(key.short_id(EntityId(id)) >> (ShortIdKey::BITS - 4)).or_default() += 1;
            }
            // A thousand to each sixteenth, and a deviation of 31.
            assert!(
                groups.len() == 16 && groups.values().all(|count| (800..1_200).contains(count)),
                "{groups:?}"
            );
        }
        let short_id = |context| ShortIdKey::of(ContextId::from_u64(context)).short_id(EntityId::ROOT);
        assert_ne!(short_id(1), short_id(2));
    }
}
