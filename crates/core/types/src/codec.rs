//! The canonical codec: equal values have equal bytes, and no other bytes decode to them.
//!
//! Integers are LEB128 in their shortest form, fixed-width fields are little endian, lists carry
//! their length, maps are in key order without repeats. A decoder checks every bound before it
//! allocates and refuses what a canonical encoder would not have written.

/// Why bytes are not a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("truncated: {needed} more byte(s) needed for {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing.
        needed: usize,
    },
    /// Bytes follow the value.
    #[error("{extra} byte(s) follow the value")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A length is beyond its named bound.
    #[error("{what} holds {found}, the limit is {limit}")]
    TooLarge {
        /// Which list or field.
        what: &'static str,
        /// The length claimed.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A tag has no meaning.
    #[error("{found} is no {what}")]
    UnknownTag {
        /// Which tag.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// The bytes mean something, but a canonical encoder writes it otherwise.
    #[error("{what} is not in its canonical form")]
    NotCanonical {
        /// Which field.
        what: &'static str,
    },
    /// The frame was damaged on the way.
    #[error("checksum mismatch: the frame was damaged")]
    Checksum,
}

/// A value with a canonical encoding.
pub trait Encode {
    /// Appends the encoding.
    fn encode(&self, out: &mut Writer);

    /// The encoding alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.encode(&mut out);
        out.into_bytes()
    }
}

/// A value that can be read back from its canonical encoding.
pub trait Decode: Sized {
    /// Reads one value.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must fill `bytes` wholly.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Grows an encoding.
#[derive(Clone, Default, Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Forgets what was written and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The encoding.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// A flag.
    pub fn bool(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    /// Four bytes, little endian.
    pub fn u32_le(&mut self, n: u32) {
        self.raw(&n.to_le_bytes());
    }

    /// Eight bytes, little endian.
    pub fn u64_le(&mut self, n: u64) {
        self.raw(&n.to_le_bytes());
    }

    /// LEB128, shortest form.
    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    /// Length, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Length, then each item.
    pub fn list<T: Encode>(&mut self, items: &[T]) {
        self.varint(items.len() as u64);
        for item in items {
            item.encode(self);
        }
    }
}

/// Reads an encoding, checking bounds as it goes.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Ends the reading; bytes left over are an error.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    /// `len` bytes as they are.
    pub fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.0.split_at_checked(len) else {
            return Err(DecodeError::Truncated { what, needed: len - self.0.len() });
        };
        self.0 = tail;
        Ok(head)
    }

    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, "a fixed-width field")?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A flag: zero or one and nothing else.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::NotCanonical { what }),
        }
    }

    /// Four bytes, little endian.
    pub fn u32_le(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little endian.
    pub fn u64_le(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// LEB128; longer forms than needed are refused.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
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

    /// A length of at most `limit`. Each item takes at least one byte, so a length beyond what
    /// remains is refused too, before anything is allocated.
    pub fn length(&mut self, limit: usize, what: &'static str) -> Result<usize, DecodeError> {
        let found = self.varint()?;
        if found > limit as u64 {
            return Err(DecodeError::TooLarge { what, found, limit: limit as u64 });
        }
        let found = found as usize;
        if found > self.remaining() {
            return Err(DecodeError::Truncated { what, needed: found - self.remaining() });
        }
        Ok(found)
    }

    /// Length-prefixed bytes, at most `limit` of them.
    pub fn bytes(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.length(limit, what)?;
        self.raw(len, what)
    }

    /// A length-prefixed list of at most `limit` items.
    pub fn list<T: Decode>(&mut self, limit: usize, what: &'static str) -> Result<Vec<T>, DecodeError> {
        let len = self.length(limit, what)?;
        let mut items = Vec::with_capacity(len.min(1_024));
        for _ in 0..len {
            items.push(T::decode(self)?);
        }
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
        fn numbers_round_trip_and_have_one_form(n: u64) {
            let bytes = n.to_bytes();
            prop_assert_eq!(u64::from_bytes(&bytes), Ok(n));
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(n) = u64::from_bytes(&bytes) {
                prop_assert_eq!(n.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_left_is_refused_before_allocating() {
        let mut out = Writer::default();
        out.varint(1_000_000);
        let error = Reader::new(out.as_slice()).list::<u64>(usize::MAX, "things").unwrap_err();
        assert_eq!(error, DecodeError::Truncated { what: "things", needed: 1_000_000 });
    }

    #[test]
    fn a_length_beyond_its_bound_names_the_bound() {
        let mut out = Writer::default();
        out.varint(9);
        let error = Reader::new(out.as_slice()).length(8, "probes").unwrap_err();
        assert_eq!(error.to_string(), "probes holds 9, the limit is 8");
    }
}
