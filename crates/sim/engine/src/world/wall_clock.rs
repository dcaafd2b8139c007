//! The wall clock of one node.

use syncline_types::{SimDuration, SimTime};

/// A time service brings a clock within this many microseconds of the right time.
const SYNCHRONISED_US: i64 = 500_000;

/// A wall clock that may be off, drift, jump and stand still.
///
/// The clock is represented by its offset at one instant, `since`, and by what changes the offset afterwards:
/// drift and freezes. [`WallClock::advance`] moves that instant forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct WallClock {
    /// What a right clock shows at the start of the run, in microseconds.
    epoch_us: u64,
    /// How far the clock was ahead at `since`, in microseconds; behind, if negative.
    offset_us: i64,
    since: SimTime,
    /// By how many parts per million the clock runs too fast.
    drift_ppm: i64,
    /// The clock stands still from the first time until the second.
    frozen: Option<(SimTime, SimTime)>,
    /// The clock is ahead by so many microseconds, beside its offset, until this time.
    surge: Option<(SimTime, i64)>,
    /// How far the clock may be off, in microseconds.
    bound_us: i64,
    /// Whether a time service corrects the clock once chaos is over.
    served: bool,
}

impl WallClock {
    /// A clock that is right until it is changed.
    pub(crate) fn new(epoch_us: u64) -> Self {
        Self { epoch_us, bound_us: i64::MAX, ..Self::default() }
    }

    /// A clock that is off and drifts by random amounts: never further than `bound_us`, and only during
    /// chaos.
    pub(super) fn randomly_wrong(mut self, offset_us: i64, drift_ppm: i64, bound_us: i64) -> Self {
        assert!(offset_us.unsigned_abs() <= bound_us.unsigned_abs(), "the bound covers the initial offset");
        self.offset_us = offset_us;
        self.drift_ppm = drift_ppm;
        self.bound_us = bound_us;
        self.served = true;
        self
    }

    /// How far the clock is ahead at `now`, in microseconds, if chaos lasts until `chaos_until`.
    pub(super) fn offset_us(&mut self, now: SimTime, chaos_until: SimTime) -> i64 {
        let offset_us = self.lasting_offset_us(now, chaos_until);
        match self.surge {
            Some((until, by_us)) if now < until => offset_us.saturating_add(by_us),
            _ => offset_us,
        }
    }

    /// The offset without what is over after a while.
    fn lasting_offset_us(&mut self, now: SimTime, chaos_until: SimTime) -> i64 {
        let served_from = if self.served { chaos_until } else { SimTime::MAX };
        if now >= served_from {
            // The time service corrects the clock once. Afterwards the clock keeps its remaining offset.
            if self.since < served_from {
                self.offset_us = self.advance(served_from).clamp(-SYNCHRONISED_US, SYNCHRONISED_US);
                self.drift_ppm = 0;
                self.frozen = None;
            }
            return self.offset_us;
        }
        self.advance(now)
    }

    /// What the clock shows at `now`, in milliseconds.
    pub(super) fn wall_ms(&mut self, now: SimTime, chaos_until: SimTime) -> u64 {
        let right = self.epoch_us.saturating_add(now.as_micros());
        right.saturating_add_signed(self.offset_us(now, chaos_until)) / 1_000
    }

    /// Moves the representation forward to `now`. Returns the offset then.
    fn advance(&mut self, now: SimTime) -> i64 {
        // A clock that stands still does not drift either: `ran` excludes the time for which it stood.
        let mut ran = now.since(self.since);
        let mut stood = SimDuration::ZERO;
        if let Some((from, until)) = self.frozen {
            stood = now.min(until).since(from.max(self.since));
            ran = ran - stood;
            if now >= until {
                self.frozen = None;
            }
        }
        let drifted = i128::from(ran.as_micros()) * i128::from(self.drift_ppm) / 1_000_000;
        let off = i128::from(self.offset_us) + drifted - i128::from(stood.as_micros());
        let bound = i128::from(self.bound_us);
        self.offset_us = i64::try_from(off.clamp(-bound, bound)).unwrap_or(i64::MAX);
        // While the drift is below a microsecond `since` stays, so that reading the clock often does not
        // round the drift away.
        if drifted != 0 || stood > SimDuration::ZERO || self.drift_ppm == 0 {
            self.since = now;
        }
        self.offset_us
    }

    /// Moves the clock by so many microseconds, within its bound.
    pub(super) fn jump(&mut self, now: SimTime, by_us: i64) {
        let off = self.advance(now).saturating_add(by_us);
        self.offset_us = off.clamp(-self.bound_us, self.bound_us);
        self.since = now;
    }

    /// Sets the clock ahead by so much, whatever the bound. Drift and time service end.
    pub(super) const fn set(&mut self, now: SimTime, offset_us: i64) {
        self.offset_us = offset_us;
        self.since = now;
        self.drift_ppm = 0;
        self.frozen = None;
        self.surge = None;
        self.bound_us = i64::MAX;
        self.served = false;
    }

    /// Sets the clock ahead by so many microseconds for a while; behind, if negative. Then it is as it would have been.
    pub(super) fn run_ahead(&mut self, now: SimTime, by_us: i64, lasting: SimDuration) {
        self.surge = Some((now + lasting, by_us));
    }

    /// Stops the clock for a while, or for as long as an earlier freeze still lasts, if that is longer. It then
    /// continues from where it stood.
    pub(super) fn freeze(&mut self, now: SimTime, lasting: SimDuration) {
        // Settled first: the part of an earlier freeze until now must count.
        self.advance(now);
        self.since = now;
        let until = self.frozen.map_or(SimTime::ZERO, |(_, until)| until);
        self.frozen = Some((now, until.max(now + lasting)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: u64 = 86_400_000_000;

    fn shown(clock: &mut WallClock, now_ms: u64) -> u64 {
        clock.wall_ms(now_ms.into(), 10_000.into()) - DAY_US / 1_000
    }

    #[test]
    fn an_unchanged_clock_is_right() {
        assert_eq!(WallClock::new(0).wall_ms(1_234.into(), SimTime::ZERO), 1_234);
    }

    #[test]
    fn drifts_within_its_bound_during_chaos() {
        let mut clock = WallClock::new(DAY_US).randomly_wrong(2_000_000, 100_000, 2_500_000);
        assert_eq!((shown(&mut clock, 0), shown(&mut clock, 1_000)), (2_000, 3_100));
        assert_eq!(shown(&mut clock, 9_000), 11_500, "the bound");
        assert_eq!(shown(&mut clock, 10_000), 10_500, "a time service corrects it");
        assert_eq!(shown(&mut clock, 60_000), 60_500);
    }

    #[test]
    fn reading_often_changes_nothing() {
        let drifting = WallClock::new(DAY_US).randomly_wrong(0, 70, i64::MAX);
        let mut often = drifting;
        let mut once = drifting;
        let chaos = SimTime::MAX;
        for us in (0..2_000_000).step_by(37) {
            often.offset_us(SimTime::from_micros(us), chaos);
        }
        let end = SimTime::from_secs(2);
        assert!(often.offset_us(end, chaos).abs_diff(once.offset_us(end, chaos)) <= 2);
        assert_eq!(once.offset_us(end, chaos), 140);
    }

    #[test]
    fn continues_where_it_stood_still() {
        let mut clock = WallClock::new(DAY_US);
        clock.freeze(1_000.into(), 500.into());
        assert_eq!(
            [1_000, 1_200, 1_499, 1_500, 1_700].map(|now| shown(&mut clock, now)),
            [1_000, 1_000, 1_000, 1_000, 1_200]
        );
    }

    #[test]
    fn shorter_freeze_does_not_end_a_longer_one() {
        let mut clock = WallClock::new(DAY_US);
        clock.freeze(1_000.into(), 500.into());
        clock.freeze(1_100.into(), 50.into());
        assert_eq!(
            [1_100, 1_200, 1_500, 1_700].map(|now| shown(&mut clock, now)),
            [1_000, 1_000, 1_000, 1_200]
        );
    }

    #[test]
    fn is_right_after_running_ahead() {
        let mut clock = WallClock::new(DAY_US);
        clock.run_ahead(1_000.into(), 3_600_000_000, 500.into());
        assert_eq!([1_000, 1_499, 1_500].map(|now| shown(&mut clock, now)), [3_601_000, 3_601_499, 1_500]);
    }

    #[test]
    fn jumps_and_stays_where_it_is_set() {
        let mut clock = WallClock::new(DAY_US).randomly_wrong(0, 0, 3_000_000);
        clock.jump(1_000.into(), -800_000);
        assert_eq!(shown(&mut clock, 1_000), 200);
        clock.jump(1_000.into(), 9_000_000);
        assert_eq!(shown(&mut clock, 1_000), 4_000);
        clock.set(2_000.into(), -7_000_000);
        assert_eq!(shown(&mut clock, 20_000), 13_000);
    }
}
