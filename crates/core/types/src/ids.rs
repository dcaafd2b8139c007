//! Identifiers. Each is a newtype, so that one cannot stand in for another.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::digest::{Digest, Hasher};
use std::fmt;

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        /// By the bytes, compared eight at a time: ids are the keys of most maps here, and nearly
        /// always differ in the first eight.
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let words = self.0.as_chunks::<8>().0.iter().zip(other.0.as_chunks::<8>().0);
                for (own, other) in words {
                    let (own, other) = (u64::from_be_bytes(*own), u64::from_be_bytes(*other));
                    if own != other {
                        return own.cmp(&other);
                    }
                }
                std::cmp::Ordering::Equal
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// An id with `n` in its first eight bytes, little endian, and zeros after. For tests
            /// and scenarios; the bytes of consecutive numbers differ in the first byte, so they
            /// spread over the index.
            pub fn from_u64(n: u64) -> Self {
                let mut bytes = [0; $len];
                for (to, from) in bytes.iter_mut().zip(n.to_le_bytes()) {
                    *to = from;
                }
                Self(bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl fmt::Display for $name {
            /// The first eight bytes in hex: enough to tell ids apart in a report.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0.iter().take(8) {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Writer) {
                out.raw(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(input.array()?))
            }
        }
    };
}

byte_id!(
    /// Names one entity of a context.
    EntityId, 32
);
byte_id!(
    /// Names one context: the unit of replication.
    ContextId, 32
);
byte_id!(
    /// Names one delta: the digest of its content.
    DeltaId, 32
);
byte_id!(
    /// Names one replica: one copy of a context that writes under its own name.
    ReplicaId, 16
);

impl EntityId {
    /// The root of every context. It has no parent and always sits at depth zero.
    pub const ROOT: Self = Self([0; 32]);

    /// The highest id.
    pub const LAST: Self = Self([0xff; 32]);

    /// How many of an id's first bits are its [`EntityId::beginning`].
    pub const BEGINNING_BITS: u32 = 28;

    /// The first 28 bits as a number, ordered as ids are.
    pub const fn beginning(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) >> (u32::BITS - Self::BEGINNING_BITS)
    }

    /// The first and the last id with this [`EntityId::beginning`]; what is above its bits does not count.
    pub fn range_beginning(beginning: u32) -> (Self, Self) {
        let rest = u32::BITS - Self::BEGINNING_BITS;
        let [mut first, mut last] = [Self::ROOT, Self::LAST];
        for (id, low) in [(&mut first, 0), (&mut last, (1 << rest) - 1)] {
            for (byte, given) in id.0.iter_mut().zip((beginning << rest | low).to_be_bytes()) {
                *byte = given;
            }
        }
        (first, last)
    }

    /// The id after this one; `None` for the last.
    pub fn successor(self) -> Option<Self> {
        self.step(u8::MAX, |byte| byte.wrapping_add(1))
    }

    /// The id before this one; `None` for the first.
    pub fn predecessor(self) -> Option<Self> {
        self.step(0, |byte| byte.wrapping_sub(1))
    }

    /// Moves by one, carrying over bytes that hold `carry`.
    fn step(mut self, carry: u8, next: impl Fn(u8) -> u8) -> Option<Self> {
        for byte in self.0.iter_mut().rev() {
            let carries = *byte == carry;
            *byte = next(*byte);
            if !carries {
                return Some(self);
            }
        }
        None
    }

    /// The id of the child of `parent` that is called `key`: the same on every replica (I9), so
    /// that two replicas which create the same map entry create the same entity.
    pub fn child_of(parent: Self, key: &[u8]) -> Self {
        let mut hasher = Hasher::new(b"syncline/entity/v1");
        hasher.part(&parent.0);
        hasher.part(key);
        Self(hasher.finish().0)
    }
}

impl ContextId {
    /// The first eight bytes, carried by each frame so that a misrouted one is noticed.
    pub fn tag(&self) -> [u8; 8] {
        let mut tag = [0; 8];
        for (to, from) in tag.iter_mut().zip(self.0) {
            *to = from;
        }
        tag
    }
}

impl From<Digest> for DeltaId {
    fn from(digest: Digest) -> Self {
        Self(digest.0)
    }
}

/// The host's handle for the other end of a link. The host gives it out and alone knows what it
/// stands for: an index in the simulator, a libp2p peer in production.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u32);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}
