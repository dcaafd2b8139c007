//! The hybrid logical clock: Kulkarni, Demirbas, Madeppa, Avva, Leone, "Logical Physical Clocks
//! and Consistent Snapshots in Globally Distributed Databases" (2014).

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::ids::ReplicaId;
use crate::time::Moment;
use std::fmt;

const COUNTER_BITS: u32 = 16;

/// A hybrid logical timestamp. Ordered by time, then counter, then replica, so that no two stamps
/// of different replicas are ever equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc {
    /// 48 bits of milliseconds above 16 bits of logical counter.
    time: u64,
    /// Who made the stamp.
    replica: ReplicaId,
}

impl Hlc {
    /// Before every stamp: "never".
    pub const ZERO: Self = Self { time: 0, replica: ReplicaId([0; 16]) };
    /// After every stamp: "not yet known" where the earliest counts.
    pub const MAX: Self = Self { time: u64::MAX, replica: ReplicaId([0xff; 16]) };

    /// A stamp from its parts. Milliseconds beyond 48 bits saturate.
    pub fn new(physical_ms: u64, counter: u16, replica: ReplicaId) -> Self {
        let physical = physical_ms.min((1 << (64 - COUNTER_BITS)) - 1);
        Self { time: physical << COUNTER_BITS | u64::from(counter), replica }
    }

    /// The wall-clock part, in milliseconds.
    pub const fn physical_ms(&self) -> u64 {
        self.time >> COUNTER_BITS
    }

    /// The logical part.
    pub const fn counter(&self) -> u16 {
        self.time as u16
    }

    /// Milliseconds and counter in one number that orders as they do.
    pub const fn time(&self) -> u64 {
        self.time
    }

    /// Who made the stamp.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Refuses a stamp whose wall-clock part lies more than `limit_ms` ahead of `moment`.
    pub fn check_drift(&self, moment: Moment, limit_ms: u64) -> Result<(), DriftError> {
        let ahead_ms = self.physical_ms().saturating_sub(moment.wall_ms);
        if ahead_ms > limit_ms {
            return Err(DriftError { stamp: *self, ahead_ms, limit_ms });
        }
        Ok(())
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hlc({self})")
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZERO => write!(f, "never"),
            Self::MAX => write!(f, "unknown"),
            _ => write!(f, "{}ms+{}@{}", self.physical_ms(), self.counter(), self.replica),
        }
    }
}

impl Encode for Hlc {
    fn encode(&self, out: &mut Writer) {
        out.u64_le(self.time);
        self.replica.encode(out);
    }
}

impl Decode for Hlc {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { time: input.u64_le()?, replica: ReplicaId::decode(input)? })
    }
}

/// A stamp from further in the future than the drift limit allows. Whoever sent it has a wrong
/// clock, or ours is behind: retry later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("stamp {stamp} is {ahead_ms} ms ahead of the local clock; the limit is {limit_ms} ms")]
pub struct DriftError {
    /// The stamp.
    pub stamp: Hlc,
    /// How far ahead it is.
    pub ahead_ms: u64,
    /// What is allowed.
    pub limit_ms: u64,
}

/// Makes stamps that always grow, whatever the wall clock does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HlcClock {
    last: u64,
    replica: ReplicaId,
}

impl HlcClock {
    /// A clock that has seen nothing yet.
    pub const fn new(replica: ReplicaId) -> Self {
        Self { last: 0, replica }
    }

    /// A clock that goes on after `last`, as after a restart.
    pub const fn resume(replica: ReplicaId, last: u64) -> Self {
        Self { last, replica }
    }

    /// Whose stamps it makes.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The highest time seen so far; what a restart must not fall behind.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The next stamp: at least the wall clock, and greater than every stamp made or observed.
    /// A counter that overflows carries into the milliseconds.
    pub fn tick(&mut self, moment: Moment) -> Hlc {
        let wall = Hlc::new(moment.wall_ms, 0, self.replica).time;
        self.last = wall.max(self.last.saturating_add(1));
        Hlc { time: self.last, replica: self.replica }
    }

    /// Takes note of a remote stamp, so that later stamps exceed it. The stamp must have passed
    /// [`Hlc::check_drift`].
    pub fn observe(&mut self, remote: Hlc) {
        self.last = self.last.max(remote.time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SimTime;

    fn at(ms: u64) -> Moment {
        Moment::at(SimTime::from_millis(ms))
    }

    #[test]
    fn stamps_grow_when_the_wall_clock_goes_back() {
        let mut clock = HlcClock::new(ReplicaId::from_u64(1));
        let early = clock.tick(at(1_000));
        let late = clock.tick(at(10));
        assert!(late > early);
        assert_eq!(late.physical_ms(), 1_000);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock =
            HlcClock::resume(ReplicaId::from_u64(1), Hlc::new(5, u16::MAX, ReplicaId::default()).time());
        let next = clock.tick(at(0));
        assert_eq!((next.physical_ms(), next.counter()), (6, 0));
    }

    #[test]
    fn a_stamp_beyond_the_drift_limit_is_refused_and_one_at_it_is_not() {
        let stamp = Hlc::new(6_000, 0, ReplicaId::from_u64(1));
        assert!(stamp.check_drift(at(1_000), 5_000).is_ok());
        assert_eq!(stamp.check_drift(at(999), 5_000).unwrap_err().ahead_ms, 5_001);
    }

    #[test]
    fn observed_stamps_are_exceeded() {
        let mut clock = HlcClock::new(ReplicaId::from_u64(1));
        let seen = Hlc::new(50, 3, ReplicaId::from_u64(2));
        clock.observe(seen);
        assert!(clock.tick(at(10)) > seen);
    }
}
