//! The history of one replica: what proves that its store does not hold all of it, or that two stores continue it.
//!
//! A replica numbers its deltas in order, and a number names one delta for ever. Both break if a store comes back
//! from a backup, is lost or copied: the replica then gives numbers to new deltas that others know for other deltas.
//! Others refuse those as duplicates, and what was acknowledged is lost without a trace. A replica therefore stops
//! as soon as a delta proves that it has another life.
//!
//! Two other histories cannot go on either: one that is from before what all others have forgotten, and one that is so
//! far ahead of time that nobody takes it.

use super::{DeltaRef, Dot};
use syncline_types::{Decode, DecodeError, DeltaId, Encode, Hlc, Reader, ReplicaId, Writer};

/// Why a replica must not go on with its store: its id has another life, others have forgotten what it has yet to see,
/// or nobody takes its history before a time that is far away.
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
    /// Others have collected tombstones of deletes that this replica has never seen, and do not store these deltas any
    /// more: its records could bring back what was deleted.
    #[error(
        "replica {replica} is left behind: it has seen everything up to {}, others have forgotten what was deleted up \
         to {}, and it lacks some of that; bring the replica back under a new id, which keeps what only it has",
        own.physical_ms(),
        theirs.physical_ms()
    )]
    LeftBehind {
        /// The replica.
        replica: ReplicaId,
        /// The horizon of its state.
        own: Hlc,
        /// The horizon of the others.
        theirs: Hlc,
    },
    /// The history is so far ahead of time that no peer takes it.
    #[error(
        "the history of replica {replica} ends at {latest_ms} ms, and the clocks of the others show {others_ms} ms: none of \
         them takes it before that time; bring the replica back under a new id, which writes it again in time"
    )]
    Ahead {
        /// The replica.
        replica: ReplicaId,
        /// Its latest stamp, in milliseconds.
        latest_ms: u64,
        /// What the clocks of most peers show at least, in milliseconds.
        others_ms: u64,
    },
}

impl HistoryConflict {
    /// The replica that must not write any more.
    pub const fn replica(&self) -> ReplicaId {
        match self {
            Self::Behind { replica, .. }
            | Self::Forked { replica, .. }
            | Self::LeftBehind { replica, .. }
            | Self::Ahead { replica, .. } => *replica,
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
            Self::LeftBehind { replica, own, theirs } => {
                out.u8(2);
                replica.encode(out);
                own.encode(out);
                theirs.encode(out);
            }
            Self::Ahead { replica, latest_ms, others_ms } => {
                out.u8(3);
                replica.encode(out);
                out.varint(*latest_ms);
                out.varint(*others_ms);
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
            2 => Ok(Self::LeftBehind { replica, own: Hlc::decode(input)?, theirs: Hlc::decode(input)? }),
            3 => Ok(Self::Ahead { replica, latest_ms: input.varint()?, others_ms: input.varint()? }),
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
        let left_behind =
            HistoryConflict::LeftBehind { replica, own: Hlc::ZERO, theirs: Hlc::last_at(7 << 16) };
        let ahead = HistoryConflict::Ahead { replica, latest_ms: 90_000, others_ms: 5 };
        for conflict in [behind, forked, left_behind, ahead] {
            assert_eq!(HistoryConflict::from_bytes(&conflict.to_bytes()), Ok(conflict));
            assert_eq!(conflict.replica(), replica);
        }
        assert!(behind.to_string().contains("holds 4") && behind.to_string().contains("delta 9"), "{behind}");
        assert!(left_behind.to_string().contains("up to 7,"), "{left_behind}");
        assert!(ahead.to_string().contains("90000 ms, and the clocks of the others show 5 ms"), "{ahead}");
        assert!(HistoryConflict::from_bytes(&[4; 17]).is_err());
    }
}
