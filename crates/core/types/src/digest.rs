//! SHA-256 digests, and hashers with domain separation.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest. All zeros stands for "no content": it is the root of an empty context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest that stands for no content.
    pub const ZERO: Self = Self([0; 32]);

    /// Whether this is [`Digest::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The first eight bytes as a little-endian number, for hash tables and short ids on the wire. Two
    /// digests may share it: equality is decided by the whole digest.
    pub fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The digest as four little-endian numbers.
    pub fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks::<8>();
        std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
    }

    /// SHA-256 of `tag` followed by `bytes`. The tag separates domains: hashes of different kinds of
    /// content never share an input.
    pub fn of(tag: u8, bytes: &[u8]) -> Self {
        Self::of_parts(tag, &[bytes])
    }

    /// [`Digest::of`] the concatenation of `parts`. All parts but the last must have fixed lengths;
    /// otherwise two different lists of parts could have the same concatenation.
    pub fn of_parts(tag: u8, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([tag]);
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl fmt::Display for Digest {
    /// The first eight bytes in hex; `{:#}` prints all of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { 32 } else { 8 };
        for byte in self.0.iter().take(shown) {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Encode for Digest {
    fn encode(&self, out: &mut Writer) {
        out.raw(&self.0);
    }
}

impl Decode for Digest {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.array()?))
    }
}

/// Hashes a list of parts. Each part is preceded by its length, so that two different lists never give
/// the same input to SHA-256.
#[derive(Clone, Debug)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher for one purpose; `domain` is its first part, and separates it from other purposes.
    pub fn new(domain: &[u8]) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.part(domain);
        hasher
    }

    /// Appends one part: its length as eight bytes, little endian, then its bytes.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Returns the digest of all parts.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_of_parts_change_the_digest() {
        let mut a = Hasher::new(b"x");
        a.part(b"ab");
        a.part(b"c");
        let mut b = Hasher::new(b"x");
        b.part(b"a");
        b.part(b"bc");
        assert_ne!(a.finish(), b.finish());
    }

    #[test]
    fn sha256_agrees_with_its_published_vector() {
        // FIPS 180-2: SHA-256("abc").
        assert!(format!("{:#}", Digest::of(b'a', b"bc")).starts_with("ba7816bf8f01cfea"));
    }
}
