//! The hybrid logical clock: Kulkarni, Demirbas, Madeppa, Avva, Leone, "Logical Physical Clocks
//! and Consistent Snapshots in Globally Distributed Databases" (2014).

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::ids::ReplicaId;
use crate::time::Moment;
use std::fmt;

/// The low bits of [`Hlc::time`] that hold the logical counter.
const COUNTER_BITS: u32 = 16;

/// A hybrid logical timestamp, ordered by milliseconds, then counter, then replica. The order is total,
/// and stamps of different replicas are never equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc {
    /// 48 bits of milliseconds above 16 bits of logical counter.
    time: u64,
    /// The replica that made the stamp; breaks ties between equal times.
    replica: ReplicaId,
}

impl Hlc {
    /// The least stamp; stands for "never".
    pub const ZERO: Self = Self { time: 0, replica: ReplicaId([0; 16]) };
    /// The greatest stamp: the neutral element of a minimum. It stands for "not known yet" where the earliest
    /// stamp counts.
    pub const MAX: Self = Self { time: u64::MAX, replica: ReplicaId([0xff; 16]) };

    /// The last of all timestamps with this time; [`Hlc::ZERO`] for a time of zero. Tombstone horizons have
    /// this form.
    pub const fn last_at(time: u64) -> Self {
        if time == 0 { Self::ZERO } else { Self { time, replica: ReplicaId([0xff; 16]) } }
    }

    /// Builds a stamp from its parts. Milliseconds beyond 48 bits saturate.
    pub fn new(physical_ms: u64, counter: u16, replica: ReplicaId) -> Self {
        let physical = physical_ms.min((1 << (64 - COUNTER_BITS)) - 1);
        let time = physical << COUNTER_BITS | u64::from(counter);
        debug_assert!(time >> COUNTER_BITS == physical, "milliseconds and counter do not overlap");
        Self { time, replica }
    }

    /// The wall-clock part, in milliseconds.
    pub const fn physical_ms(&self) -> u64 {
        self.time >> COUNTER_BITS
    }

    /// The logical counter among stamps of one millisecond.
    pub const fn counter(&self) -> u16 {
        self.time as u16
    }

    /// Milliseconds and counter as one number, `milliseconds << 16 | counter`, which has the same order.
    pub const fn time(&self) -> u64 {
        self.time
    }

    /// The replica that made the stamp.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Rejects a stamp whose wall-clock part is more than `limit_ms` milliseconds ahead of the wall clock of
    /// `moment`.
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

/// A stamp is further in the future than the drift limit allows. Either the clock of its sender is fast
/// or the local clock is slow: retry later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("stamp {stamp} is {ahead_ms} ms ahead of the local clock; the limit is {limit_ms} ms")]
pub struct DriftError {
    /// The rejected stamp.
    pub stamp: Hlc,
    /// The milliseconds by which the stamp is ahead of the local wall clock.
    pub ahead_ms: u64,
    /// The greatest allowed value of `ahead_ms`.
    pub limit_ms: u64,
}

/// The clock of one replica. Its stamps are strictly monotone even if the wall clock stops or jumps back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HlcClock {
    last: u64,
    replica: ReplicaId,
    /// The counter with which a millisecond begins; 0 if none is set.
    phase: u16,
    /// Whether `last` is a stamp that this clock has made since the phase was set, and none of another replica or of an
    /// earlier start.
    is_own: bool,
}

impl HlcClock {
    /// The number of phases: see [`HlcClock::set_phase`].
    pub const PHASES: u64 = 1 << 15;

    /// A clock that has made and observed no stamp yet.
    pub const fn new(replica: ReplicaId) -> Self {
        Self { last: 0, replica, phase: 0, is_own: false }
    }

    /// A clock whose stamps are greater than `last`, an [`HlcClock::last`] persisted before a restart.
    pub const fn resume(replica: ReplicaId, last: u64) -> Self {
        Self { last, replica, phase: 0, is_own: false }
    }

    /// Sets the counter with which each further millisecond begins: a random number for each start, so that two
    /// replicas that share an id by mistake do not make equal stamps in the same millisecond, nor after they have observed
    /// equal stamps of others or have started from equal stores. At most [`HlcClock::PHASES`] - 1, which leaves as many
    /// counts within a millisecond.
    pub const fn set_phase(&mut self, phase: u16) {
        debug_assert!((phase as u64) < Self::PHASES, "a phase leaves room for counts");
        self.phase = phase;
        self.is_own = false;
    }

    /// The least time after `last` that this clock may give: the next one after an own stamp, and otherwise the next one
    /// whose counter is the phase.
    const fn successor(&self) -> u64 {
        let last = self.last;
        if self.is_own || self.phase == 0 {
            return last.saturating_add(1);
        }
        let in_same_ms = last >> 16 << 16 | self.phase as u64;
        if in_same_ms > last { in_same_ms } else { in_same_ms.saturating_add(1 << 16) }
    }

    /// The replica in whose name the clock makes stamps.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The greatest [`Hlc::time`] made or observed so far. A replica persists it, because a restart must not
    /// reuse a stamp.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Makes the next stamp: not less than the wall clock, and greater than every stamp made or observed.
    /// A counter that overflows carries into the milliseconds.
    pub fn tick(&mut self, moment: Moment) -> Hlc {
        let previous = self.last;
        let wall = Hlc::new(moment.wall_ms, self.phase, self.replica).time;
        self.last = wall.max(self.successor());
        self.is_own = true;
        // 2^48 milliseconds are 8,900 years: only a stamp that skipped the drift check can exhaust the clock.
        debug_assert!(
            self.last > previous || previous == u64::MAX,
            "stamps of one replica are strictly monotone"
        );
        Hlc { time: self.last, replica: self.replica }
    }

    /// Observes a stamp of another replica, so that later stamps of this one exceed it. The stamp must have
    /// passed [`Hlc::check_drift`]; otherwise one wrong clock would carry all others into the future.
    pub fn observe(&mut self, remote: Hlc) {
        if remote.time > self.last {
            self.last = remote.time;
            self.is_own = false;
        }
        debug_assert!(self.last >= remote.time, "the clock is not behind a stamp that it observed");
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
    fn stamps_grow_despite_clock_jump_back() {
        let mut clock = HlcClock::new(ReplicaId::from_u64(1));
        let early = clock.tick(at(1_000));
        let late = clock.tick(at(10));
        assert!(late > early);
        assert_eq!(late.physical_ms(), 1_000);
    }

    #[test]
    fn phases_keep_clocks_of_one_id_apart() {
        let mut clocks = [3, 9].map(|phase| {
            let mut clock = HlcClock::new(ReplicaId::from_u64(1));
            clock.set_phase(phase);
            clock
        });
        let stamps = clocks.each_mut().map(|clock| clock.tick(at(7)));
        assert_eq!(stamps.map(|stamp| (stamp.physical_ms(), stamp.counter())), [(7, 3), (7, 9)]);
    }

    #[test]
    fn lives_of_one_id_give_different_stamps_after_equal_ones() {
        let seen = Hlc::new(50, 6, ReplicaId::from_u64(2));
        let mut lives = [3, 9].map(|phase| {
            let mut clock = HlcClock::resume(ReplicaId::from_u64(1), seen.time());
            clock.set_phase(phase);
            clock
        });
        let counts = |lives: &mut [HlcClock; 2]| {
            lives.each_mut().map(|clock| clock.tick(at(10))).map(|stamp| (stamp.physical_ms(), stamp.counter()))
        };
        assert_eq!(counts(&mut lives), [(51, 3), (50, 9)], "both started from one store");
        assert_eq!(counts(&mut lives), [(51, 4), (50, 10)]);
        lives.each_mut().map(|clock| clock.observe(Hlc::new(60, 0, ReplicaId::from_u64(2))));
        assert_eq!(counts(&mut lives), [(60, 3), (60, 9)], "both observed one stamp");
    }

    #[test]
    fn full_counter_carries_into_milliseconds() {
        let mut clock =
            HlcClock::resume(ReplicaId::from_u64(1), Hlc::new(5, u16::MAX, ReplicaId::default()).time());
        let next = clock.tick(at(0));
        assert_eq!((next.physical_ms(), next.counter()), (6, 0));
    }

    #[test]
    fn rejects_only_stamps_beyond_drift_limit() {
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
