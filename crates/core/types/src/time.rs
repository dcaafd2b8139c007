//! Virtual time. Values are stored in microseconds; a bare integer converts as milliseconds.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

macro_rules! micros_type {
    ($name:ident) => {
        impl $name {
            /// Zero microseconds.
            pub const ZERO: Self = Self(0);
            /// The greatest value; sums saturate at it.
            pub const MAX: Self = Self(u64::MAX);

            /// Converts from microseconds.
            pub const fn from_micros(micros: u64) -> Self {
                Self(micros)
            }

            /// Converts from milliseconds; saturates at [`Self::MAX`].
            pub const fn from_millis(millis: u64) -> Self {
                Self(millis.saturating_mul(1_000))
            }

            /// Converts from seconds; saturates at [`Self::MAX`].
            pub const fn from_secs(secs: u64) -> Self {
                Self(secs.saturating_mul(1_000_000))
            }

            /// Returns the value in microseconds.
            pub const fn as_micros(self) -> u64 {
                self.0
            }

            /// Returns the value in whole milliseconds, rounded down.
            pub const fn as_millis(self) -> u64 {
                self.0 / 1_000
            }
        }

        /// Converts from milliseconds, the ticks of the simulator. There is no other conversion from an
        /// integer, so that `1000.into()` needs no type annotation.
        impl From<u64> for $name {
            fn from(millis: u64) -> Self {
                Self::from_millis(millis)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let millis = self.0 / 1_000;
                let micros = self.0 % 1_000;
                if millis >= 1_000 {
                    write!(f, "{}.{:03}s", millis / 1_000, millis % 1_000)
                } else if micros == 0 {
                    write!(f, "{millis}ms")
                } else {
                    write!(f, "{millis}.{micros:03}ms")
                }
            }
        }
    };
}

/// A point in virtual time, in microseconds since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SimTime(u64);

/// A length of virtual time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SimDuration(u64);

micros_type!(SimTime);
micros_type!(SimDuration);

impl SimTime {
    /// The time that has passed since `earlier`; zero if `earlier` is later than `self`.
    pub const fn since(self, earlier: Self) -> SimDuration {
        SimDuration(self.0.saturating_sub(earlier.0))
    }
}

impl SimDuration {
    /// `self * factor`; saturates at [`SimDuration::MAX`].
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add<SimDuration> for SimTime {
    type Output = Self;
    fn add(self, span: SimDuration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<SimDuration> for SimTime {
    fn add_assign(&mut self, span: SimDuration) {
        *self = *self + span;
    }
}

impl Add for SimDuration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for SimDuration {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// The time of one step, on two clocks: the monotonic clock, which timers use, and the wall clock, which
/// timestamps use. The wall clock may be wrong, because no timer depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// The monotonic time; it never goes back while the host runs.
    pub now: SimTime,
    /// The wall clock, in milliseconds; it may jump forward or back.
    pub wall_ms: u64,
}

impl Moment {
    /// A moment whose wall clock shows the monotonic time.
    pub const fn at(now: SimTime) -> Self {
        Self { now, wall_ms: now.as_millis() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_a_millisecond() {
        let later: SimTime = 1000.into();
        assert_eq!(later, SimTime::from_secs(1));
        assert!(SimTime::from_secs(2) > 1000.into());
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(SimTime::MAX + SimDuration::from_secs(1), SimTime::MAX);
        assert_eq!(SimTime::ZERO.since(SimTime::from_secs(1)), SimDuration::ZERO);
        assert_eq!(SimDuration::from_secs(u64::MAX), SimDuration::MAX);
    }

    #[test]
    fn display_picks_a_readable_unit() {
        assert_eq!(SimTime::from_micros(1_500).to_string(), "1.500ms");
        assert_eq!(SimTime::from_millis(12).to_string(), "12ms");
        assert_eq!(SimTime::from_millis(61_250).to_string(), "61.250s");
    }
}
