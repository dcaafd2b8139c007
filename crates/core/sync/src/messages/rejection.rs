//! Why a responder does not serve a session.

use super::{SYNC_PROTOCOL_VERSION, SyncHandshake};
use crate::deltas::DeltaRef;
use syncline_types::{Decode, DecodeError, Encode, Hlc, Reader, Writer};

/// Why a responder does not start a session, or does not continue one. Each reason ends the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// The responder speaks another version of the protocol.
    #[error(
        "the peer speaks sync version {theirs}, and this replica version {SYNC_PROTOCOL_VERSION}; run programs of \
         the same version on both, the older one first brought up to date"
    )]
    Version {
        /// The version of the responder.
        theirs: u32,
    },
    /// The responder replicates another context.
    #[error("the peer replicates another context")]
    Context,
    /// The responder is itself the initiator of a session with this replica, and its session goes
    /// first; or it is collecting tombstones in several steps, and compares its state with nobody until it is done.
    #[error("the peer is syncing with us already")]
    Yield,
    /// In the responder's view of the membership, the initiator is not a member of the context.
    #[error("the peer does not know us as a member")]
    NotAMember,
    /// The initiator's handshake cannot be true.
    #[error("the peer rejects our handshake as impossible")]
    Implausible,
    /// The responder has no handshake of the initiator: it has restarted since, or there was none.
    #[error("the peer has no handshake of ours")]
    NoHandshake,
    /// The responder has seen frames of a later incarnation of the initiator. The initiator, whose store may be an
    /// old one, goes on with an incarnation above that.
    #[error("the peer has seen our incarnation {newest}, and this one is not later")]
    StaleIncarnation {
        /// The latest incarnation of the initiator that the responder has seen.
        newest: u64,
    },
    /// The responder has another delta under the number of the initiator's last one, and sends it upon request. The
    /// delta proves that the initiator's id is used twice.
    #[error("the peer has another delta of ours under number {}: {}", delta.dot.seq, delta.id)]
    AnotherHistory {
        /// The delta of the initiator that the responder has.
        delta: DeltaRef,
    },
    /// The initiator claims to know a delta of the responder that the responder's store does not hold. The responder
    /// asks for that delta, and serves no session before it has seen it.
    #[error("the peer does not know a delta of its own that we claim to have, and asks for it")]
    UnprovenHistory,
}

/// How far ahead of the local clock a peer's horizon may be, in milliseconds: one day. A horizon lies
/// behind the clocks of all members, so a later one means that some clock is not set.
const MAX_HORIZON_LEAD_MS: u64 = 24 * 60 * 60 * 1_000;

impl SyncHandshake {
    /// Whether an honest replica could send this handshake when the local clock shows `wall_ms`. A
    /// clock that is merely inaccurate passes: the drift check judges its stamps record by record.
    pub(crate) fn is_plausible(&self, wall_ms: u64) -> bool {
        let latest_horizon_ms = wall_ms.saturating_add(MAX_HORIZON_LEAD_MS);
        let is_horizon = self.horizon == Hlc::last_at(self.horizon.time());
        self.covered.is_plausible() && is_horizon && self.horizon.physical_ms() <= latest_horizon_ms
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
            Self::StaleIncarnation { newest } => {
                out.u8(6);
                out.varint(*newest);
            }
            Self::AnotherHistory { delta } => {
                out.u8(7);
                delta.encode(out);
            }
            Self::UnprovenHistory => out.u8(8),
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
            6 => Ok(Self::StaleIncarnation { newest: input.varint()? }),
            7 => Ok(Self::AnotherHistory { delta: DeltaRef::decode(input)? }),
            8 => Ok(Self::UnprovenHistory),
            tag => Err(DecodeError::UnknownTag { what: "rejection", found: u64::from(tag) }),
        }
    }
}
