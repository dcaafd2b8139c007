//! The keys of rows.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// The bytes of a key. Keys of up to 46 bytes are stored inline, so a comparison of two keys follows no
/// pointer. Nearly all keys are that short.
#[derive(Clone)]
pub struct Key(KeyRepr);

/// The most bytes of a key that is stored inline. With the length and the tag a [`Key`] has 48 bytes.
const INLINE: usize = 46;

#[derive(Clone)]
enum KeyRepr {
    /// The first `len` of `bytes`; the others are zero.
    Short { len: u8, bytes: [u8; INLINE] },
    /// More than [`INLINE`] bytes.
    Long(Box<[u8]>),
}

impl Key {
    /// The key whose bytes are the concatenation of `parts`.
    pub fn of(parts: &[&[u8]]) -> Self {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > INLINE {
            return Self(KeyRepr::Long(parts.concat().into()));
        }
        let mut bytes = [0; INLINE];
        let mut rest = &mut bytes[..];
        for part in parts {
            let (to, after) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = after;
        }
        debug_assert_eq!(rest.len(), INLINE - len, "the parts fill the key up to its length");
        Self(KeyRepr::Short { len: len as u8, bytes })
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            // The length is at most that of the array, so that the split is always possible.
            KeyRepr::Short { len, bytes } => bytes.split_at(usize::from(*len)).0,
            KeyRepr::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self::of(&[bytes])
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &**self {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_of_bytes() {
        let long = vec![7u8; 60];
        let mut keys: Vec<Key> =
            [&b"b"[..], b"", b"a\0", b"a", &long, &long[..47], &long[..46]].map(Key::from).to_vec();
        keys.sort();
        let bytes: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
        assert_eq!(bytes, [b"", &long[..46], &long[..47], &long, b"a", b"a\0", b"b"]);
        assert_eq!(&*Key::of(&[b"ab", b"", b"c"]), b"abc");
    }
}
