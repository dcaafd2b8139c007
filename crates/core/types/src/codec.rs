//! The canonical codec: a value has exactly one encoding, and a decoder accepts no other bytes for it.
//! Therefore equal values have equal hashes.
//!
//! Variable-width integers are LEB128 in their shortest form. Fixed-width integers are little endian.
//! Lists start with their length. Maps are in ascending key order without duplicate keys. A decoder
//! checks every bound before it allocates, and rejects bytes that a canonical encoder does not write.

/// The reason why bytes do not decode to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("truncated: {needed} more byte(s) needed for {what}")]
    Truncated {
        /// The field or list that the decoder was reading.
        what: &'static str,
        /// The number of bytes that are missing.
        needed: usize,
    },
    /// The input continues after the end of the value.
    #[error("{extra} byte(s) follow the value")]
    Trailing {
        /// The number of bytes after the end of the value.
        extra: usize,
    },
    /// A length prefix exceeds the bound of its field.
    #[error("{what} holds {found}, the limit is {limit}")]
    TooLarge {
        /// The list or field.
        what: &'static str,
        /// The length that the input claims, in items or bytes.
        found: u64,
        /// The greatest length that is allowed, in the same unit.
        limit: u64,
    },
    /// A tag byte selects no known variant.
    #[error("{found} is not a valid {what}")]
    UnknownTag {
        /// The kind of tag.
        what: &'static str,
        /// The value of the tag.
        found: u64,
    },
    /// The bytes have a meaning, but are not the canonical encoding of it.
    #[error("{what} is not in its canonical form")]
    NotCanonical {
        /// The field whose encoding is not canonical.
        what: &'static str,
    },
    /// The checksum of a frame does not match: the frame was damaged in transit.
    #[error("checksum mismatch: the frame was damaged")]
    Checksum,
}

/// A value with a canonical encoding.
pub trait Encode {
    /// Appends the canonical encoding of `self` to `out`.
    fn encode(&self, out: &mut Writer);

    /// Returns the canonical encoding of `self` as a new vector.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.encode(&mut out);
        out.into_bytes()
    }
}

/// A value that can be read back from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value from the front of `input` and leaves the rest.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must take up all of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// A growing buffer that an encoder appends to.
#[derive(Clone, Default, Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty writer with capacity for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The number of bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Discards the bytes written so far and retains the capacity.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Consumes the writer and returns its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Appends `bytes` unchanged, without a length prefix.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a single byte.
    pub fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends a flag as one byte, zero or one.
    pub fn bool(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    /// Appends four bytes, little endian.
    pub fn u32_le(&mut self, n: u32) {
        self.raw(&n.to_le_bytes());
    }

    /// Appends eight bytes, little endian.
    pub fn u64_le(&mut self, n: u64) {
        self.raw(&n.to_le_bytes());
    }

    /// Appends `n` as LEB128 in its shortest form: one to ten bytes, seven bits in each, the least
    /// significant first.
    pub fn varint(&mut self, mut n: u64) {
        let start = self.0.len();
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
        debug_assert!(self.0.len() - start <= 10, "64 bits take at most ten groups of seven");
    }

    /// Appends the length as a varint, then `bytes`.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Appends the number of items as a varint, then each item.
    pub fn list<T: Encode>(&mut self, items: &[T]) {
        self.varint(items.len() as u64);
        for item in items {
            item.encode(self);
        }
    }
}

/// A cursor over an encoding. Each read checks its bounds first; after an error the position of the
/// cursor is unspecified.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The number of bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Ends the reading. Unread bytes are an error.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    /// Reads `len` bytes unchanged.
    pub fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.0.split_at_checked(len) else {
            return Err(DecodeError::Truncated { what, needed: len - self.0.len() });
        };
        debug_assert_eq!(head.len(), len, "a read returns as many bytes as were asked for");
        self.0 = tail;
        Ok(head)
    }

    /// Reads `N` bytes into an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, "a fixed-width field")?);
        Ok(array)
    }

    /// Reads a single byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Reads a flag: zero or one, any other byte is rejected.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::NotCanonical { what }),
        }
    }

    /// Reads four bytes, little endian.
    pub fn u32_le(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads eight bytes, little endian.
    pub fn u64_le(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a LEB128 number. Any form but the shortest is rejected.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds bit 63 alone: higher bits would be shifted out. A zero byte at the
            // end adds nothing, so the same number has a shorter form.
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(DecodeError::NotCanonical { what: "a number" });
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::NotCanonical { what: "a number" })
    }

    /// Reads a length of at most `limit`. Each item takes at least one byte, so a length greater than
    /// [`Reader::remaining`] is rejected too, before anything is allocated.
    pub fn length(&mut self, limit: usize, what: &'static str) -> Result<usize, DecodeError> {
        let found = self.varint()?;
        if found > limit as u64 {
            return Err(DecodeError::TooLarge { what, found, limit: limit as u64 });
        }
        // The cast cannot truncate: `found` is at most `limit`, which is a `usize`.
        let found = found as usize;
        if found > self.remaining() {
            return Err(DecodeError::Truncated { what, needed: found - self.remaining() });
        }
        debug_assert!(
            found <= limit && found <= self.remaining(),
            "an accepted length is within both bounds"
        );
        Ok(found)
    }

    /// Reads a length prefix and that many bytes, at most `limit`.
    pub fn bytes(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.length(limit, what)?;
        self.raw(len, what)
    }

    /// Reads a length prefix and that many items, at most `limit`.
    pub fn list<T: Decode>(&mut self, limit: usize, what: &'static str) -> Result<Vec<T>, DecodeError> {
        let len = self.length(limit, what)?;
        // An item may be far larger in memory than its one byte in the input: a hostile length must not
        // reserve memory that the input does not pay for.
        let mut items = Vec::with_capacity(len.min(1_024));
        for _ in 0..len {
            items.push(T::decode(self)?);
        }
        debug_assert_eq!(items.len(), len, "a list has as many items as its length says");
        Ok(items)
    }
}

impl Encode for u64 {
    fn encode(&self, out: &mut Writer) {
        out.varint(*self);
    }
}

impl Decode for u64 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.varint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(n: u64) {
            let bytes = n.to_bytes();
            prop_assert_eq!(u64::from_bytes(&bytes), Ok(n));
        }

        #[test]
        fn decoded_numbers_reencode_identically(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(n) = u64::from_bytes(&bytes) {
                prop_assert_eq!(n.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn rejects_length_beyond_remaining_bytes() {
        let mut out = Writer::default();
        out.varint(1_000_000);
        let error = Reader::new(out.as_slice()).list::<u64>(usize::MAX, "things").unwrap_err();
        assert_eq!(error, DecodeError::Truncated { what: "things", needed: 1_000_000 });
    }

    #[test]
    fn error_of_length_names_its_limit() {
        let mut out = Writer::default();
        out.varint(9);
        let error = Reader::new(out.as_slice()).length(8, "probes").unwrap_err();
        assert_eq!(error.to_string(), "probes holds 9, the limit is 8");
    }
}
