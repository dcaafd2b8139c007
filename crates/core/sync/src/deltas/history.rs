//! The history of one replica: what proves that its store does not hold all of it, or that two stores continue it.
//!
//! A replica numbers its deltas in order, and a number names one delta for ever. Both break if a store comes back
//! from a backup, is lost or copied: the replica then gives numbers to new deltas that others know for other deltas.
//! Others refuse those as duplicates, and what was acknowledged is lost without a trace. A replica therefore stops
//! as soon as a delta proves that it has another life.

use super::{DeltaRef, Dot};
use syncline_types::{Decode, DecodeError, DeltaId, Encode, Reader, ReplicaId, Writer};

/// The proof that a replica must not write any more under its id: a delta that it has made, with a valid signature,
/// and that its store does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HistoryConflict {
    /// Others have more of the replica's deltas than its own store.
    #[error(
        "the store holds {stored} deltas of replica {replica}, and others have its delta {found}: the store was \
         restored, copied or lost; bring the replica back under a new id, which keeps what only this store has"
    )]
    Behind {
        /// The replica.
        replica: ReplicaId,
        /// The number of its last delta in its own store.
        stored: u64,
        /// The number of a later delta that others have.
        found: u64,
    },
    /// One number names two deltas.
    #[error(
        "number {seq} of replica {replica} names delta {stored} in its store and delta {found} elsewhere: the store was \
         restored, copied or lost; bring the replica back under a new id, which keeps what only this store has"
    )]
    Forked {
        /// The replica.
        replica: ReplicaId,
        /// The number of both deltas.
        seq: u64,
        /// The delta in the replica's own store.
        stored: DeltaId,
        /// The delta that others have.
        found: DeltaId,
    },
}

impl HistoryConflict {
    /// The replica that must not write any more.
    pub const fn replica(&self) -> ReplicaId {
        match self {
            Self::Behind { replica, .. } | Self::Forked { replica, .. } => *replica,
        }
    }
}

/// A claim about a history that only a delta can prove. Anyone may claim anything, so a claim costs a request at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HistoryClaim {
    /// A peer claims to know a delta of this replica that the store does not hold.
    Own(Dot),
    /// A peer's own last delta is not the one that this replica has under its number.
    Peers(DeltaRef),
}

impl Encode for HistoryConflict {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Behind { replica, stored, found } => {
                out.u8(0);
                replica.encode(out);
                out.varint(*stored);
                out.varint(*found);
            }
            Self::Forked { replica, seq, stored, found } => {
                out.u8(1);
                replica.encode(out);
                out.varint(*seq);
                stored.encode(out);
                found.encode(out);
            }
        }
    }
}

impl Decode for HistoryConflict {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let replica = ReplicaId::decode(input)?;
        match tag {
            0 => Ok(Self::Behind { replica, stored: input.varint()?, found: input.varint()? }),
            1 => Ok(Self::Forked {
                replica,
                seq: input.varint()?,
                stored: DeltaId::decode(input)?,
                found: DeltaId::decode(input)?,
            }),
            _ => Err(DecodeError::UnknownTag { what: "history conflict", found: u64::from(tag) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_survive_the_codec_and_name_the_numbers() {
        let replica = ReplicaId::from_u64(3);
        let behind = HistoryConflict::Behind { replica, stored: 4, found: 9 };
        let forked =
            HistoryConflict::Forked { replica, seq: 5, stored: DeltaId([1; 32]), found: DeltaId([2; 32]) };
        for conflict in [behind, forked] {
            assert_eq!(HistoryConflict::from_bytes(&conflict.to_bytes()), Ok(conflict));
            assert_eq!(conflict.replica(), replica);
        }
        assert!(behind.to_string().contains("holds 4") && behind.to_string().contains("delta 9"), "{behind}");
        assert!(HistoryConflict::from_bytes(&[2; 17]).is_err());
    }
}
