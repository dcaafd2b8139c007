//! SHA-256 digests and the one way they are made.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest. All zeros means "of nothing": the root of an empty context.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of nothing.
    pub const ZERO: Self = Self([0; 32]);

    /// Whether this is the digest of nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The first eight bytes as a number, for buckets and short forms on the wire. Only ever a
    /// hint: what decides is the whole digest.
    pub fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The digest as four numbers, little endian.
    pub fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks::<8>();
        std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
    }

    /// SHA-256 of `tag` followed by `bytes`. The tag keeps hashes of different things apart.
    pub fn of(tag: u8, bytes: &[u8]) -> Self {
        Self::of_parts(tag, &[bytes])
    }

    /// As [`Digest::of`] the concatenation of `parts`, which are of known lengths but for the last.
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

/// Hashes a list of parts so that no two different lists give the same input: each part is
/// preceded by its length.
#[derive(Clone, Debug)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher for one purpose, named by `domain`.
    pub fn new(domain: &[u8]) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.part(domain);
        hasher
    }

    /// Adds one part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The digest of all parts.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_run_into_each_other() {
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
