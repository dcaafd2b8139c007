//! Why a responder will not serve a session.

use crate::handshake::SyncHandshake;
use syncline_types::{Decode, DecodeError, Encode, Reader, Writer};

/// Why a responder will not start a session, or go on with one. Each is final for this session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// It speaks another version.
    #[error("the peer speaks sync version {theirs}")]
    Version {
        /// Which.
        theirs: u32,
    },
    /// It holds another context.
    #[error("the peer holds another context")]
    Context,
    /// It is syncing with us already, as the initiator.
    #[error("the peer is syncing with us already")]
    Yield,
    /// We are no member of the context, as it knows membership.
    #[error("the peer does not know us as a member")]
    NotAMember,
    /// What we said of ourselves cannot be true.
    #[error("the peer does not believe what we say of ourselves")]
    Implausible,
    /// It does not know who asks: it has restarted since the handshake, or never had one.
    #[error("the peer knows of no handshake with us")]
    NoHandshake,
}

/// How far ahead of our clock a peer may say that all clocks are. Whoever is further ahead than a day
/// has no clock at all.
const BELIEVABLE_MS: u64 = 24 * 60 * 60 * 1_000;

impl SyncHandshake {
    /// Whether an honest replica could say this of itself, at a time of `wall_ms` here. A clock that is
    /// merely wrong passes: what it stamps is judged record by record.
    pub(crate) fn is_plausible(&self, wall_ms: u64) -> bool {
        self.covered.is_plausible() && self.horizon.physical_ms() <= wall_ms.saturating_add(BELIEVABLE_MS)
    }
}

impl Encode for Rejection {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Version { theirs } => {
                out.u8(0);
                out.u32_le(*theirs);
            }
            Self::Context => out.u8(1),
            Self::Yield => out.u8(2),
            Self::NotAMember => out.u8(3),
            Self::Implausible => out.u8(4),
            Self::NoHandshake => out.u8(5),
        }
    }
}

impl Decode for Rejection {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Version { theirs: input.u32_le()? }),
            1 => Ok(Self::Context),
            2 => Ok(Self::Yield),
            3 => Ok(Self::NotAMember),
            4 => Ok(Self::Implausible),
            5 => Ok(Self::NoHandshake),
            tag => Err(DecodeError::UnknownTag { what: "rejection", found: u64::from(tag) }),
        }
    }
}
