//! Identifiers. Each kind is a type of its own, so that the compiler rejects one in the place of another.

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::digest::{Digest, Hasher};
use std::fmt;

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        /// The lexicographic order of the bytes. The comparison takes eight bytes at a time, because ids are
        /// the keys of most maps and nearly always differ in the first eight.
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let words = self.0.as_chunks::<8>().0.iter().zip(other.0.as_chunks::<8>().0);
                for (own, other) in words {
                    // Big-endian numbers order as their bytes do.
                    let own = u64::from_be_bytes(*own);
                    let other = u64::from_be_bytes(*other);
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

            /// An id with `n` in its first eight bytes, little endian, and zeros after. For tests and
            /// scenarios: consecutive numbers differ in the first byte, so that the ids spread over the
            /// index as hashes do.
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
            /// Writes the first eight bytes in hex, which distinguish the ids of a report.
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
    /// The id of one entity of a context.
    EntityId, 32
);
byte_id!(
    /// The id of one context, the unit of replication.
    ContextId, 32
);
byte_id!(
    /// The id of one delta: the digest of its content.
    DeltaId, 32
);
byte_id!(
    /// The id of one replica: one copy of a context, with writes of its own.
    ReplicaId, 16
);

impl EntityId {
    /// The root entity of every context. It has no parent and is always at depth zero.
    pub const ROOT: Self = Self([0; 32]);

    /// The greatest id in the order of ids.
    pub const LAST: Self = Self([0xff; 32]);

    /// The next greater id; `None` for the greatest.
    pub fn successor(self) -> Option<Self> {
        let next = self.step(u8::MAX, |byte| byte.wrapping_add(1));
        debug_assert!(next.is_none_or(|next| self < next), "the successor is greater");
        next
    }

    /// The next smaller id; `None` for the smallest.
    pub fn predecessor(self) -> Option<Self> {
        let previous = self.step(0, |byte| byte.wrapping_sub(1));
        debug_assert!(previous.is_none_or(|previous| previous < self), "the predecessor is smaller");
        previous
    }

    /// Adds or subtracts one, as `next` does for a byte. A byte equal to `carry` wraps around and carries
    /// over to the byte before it. `None` if all bytes carry.
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

    /// The id of the child of `parent` under `key`. It is the same on every replica (I9), so that two
    /// replicas which create the same map entry concurrently create one entity.
    pub fn child_of(parent: Self, key: &[u8]) -> Self {
        let mut hasher = Hasher::new(b"syncline/entity/v1");
        hasher.part(&parent.0);
        hasher.part(key);
        Self(hasher.finish().0)
    }
}

impl ContextId {
    /// The first eight bytes. Each frame carries them, so that its receiver detects a misrouted frame.
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

/// The host's handle for the other end of a link. Only the host can interpret it: it is an index in the
/// simulator, and a connection or a libp2p peer in production.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u32);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}
