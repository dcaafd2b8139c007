//! What the wall clock of one node shows.

use syncline_types::{SimDuration, SimTime};

/// A time service brings a clock within this, in microseconds.
const SYNCHRONISED_US: i64 = 500_000;

/// A wall clock that may be off, drift, jump and stand still.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct WallClock {
    /// What a right clock shows at the start of the run, in microseconds.
    epoch_us: u64,
    /// How far it was ahead at `since`, in microseconds.
    offset_us: i64,
    since: SimTime,
    /// How many parts per million it runs fast.
    drift_ppm: i64,
    /// It stands still from then, until then.
    frozen: Option<(SimTime, SimTime)>,
    /// How far it may be off, in microseconds.
    bound_us: i64,
    /// A time service cares for it once chaos is over.
    served: bool,
}

impl WallClock {
    /// A clock that is right until it is told otherwise.
    pub(crate) fn new(epoch_us: u64) -> Self {
        Self { epoch_us, bound_us: i64::MAX, ..Self::default() }
    }

    /// One that is off, and drifts, by chance: never further than `bound_us`, and only during chaos.
    pub(super) const fn wrong_by_chance(mut self, offset_us: i64, drift_ppm: i64, bound_us: i64) -> Self {
        (self.offset_us, self.drift_ppm, self.bound_us, self.served) = (offset_us, drift_ppm, bound_us, true);
        self
    }

    /// How far it is ahead at `now`, in microseconds, if chaos lasts until `chaos_until`.
    pub(super) fn offset_us(&mut self, now: SimTime, chaos_until: SimTime) -> i64 {
        let served_from = if self.served { chaos_until } else { SimTime::MAX };
        if now >= served_from {
            if self.since < served_from {
                let off = self.settle(served_from).clamp(-SYNCHRONISED_US, SYNCHRONISED_US);
                (self.offset_us, self.drift_ppm, self.frozen) = (off, 0, None);
            }
            return self.offset_us;
        }
        self.settle(now)
    }

    /// What it shows at `now`, in milliseconds.
    pub(super) fn wall_ms(&mut self, now: SimTime, chaos_until: SimTime) -> u64 {
        let right = self.epoch_us.saturating_add(now.as_micros());
        right.saturating_add_signed(self.offset_us(now, chaos_until)) / 1_000
    }

    /// Brings its account up to `now`.
    fn settle(&mut self, now: SimTime) -> i64 {
        let (mut ran, mut stood) = (now.since(self.since), SimDuration::ZERO);
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
        // Less than a microsecond of drift is kept for later, so that asking often changes nothing.
        if drifted != 0 || stood > SimDuration::ZERO || self.drift_ppm == 0 {
            self.since = now;
        }
        self.offset_us
    }

    /// Jumps by so many microseconds.
    pub(super) fn jump(&mut self, now: SimTime, by_us: i64) {
        let off = self.settle(now).saturating_add(by_us);
        (self.offset_us, self.since) = (off.clamp(-self.bound_us, self.bound_us), now);
    }

    /// Is set to be ahead by so much, whatever the bounds of chance, and left alone from then on.
    pub(super) const fn set(&mut self, now: SimTime, offset_us: i64) {
        (self.offset_us, self.since, self.drift_ppm, self.frozen) = (offset_us, now, 0, None);
        (self.bound_us, self.served) = (i64::MAX, false);
    }

    /// Stands still for a while.
    pub(super) fn freeze(&mut self, now: SimTime, lasting: SimDuration) {
        self.settle(now);
        self.since = now;
        self.frozen = Some((now, now + lasting));
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
    fn a_clock_left_alone_is_right() {
        assert_eq!(WallClock::new(0).wall_ms(1_234.into(), SimTime::ZERO), 1_234);
    }

    #[test]
    fn it_is_off_and_drifts_until_chaos_ends_and_never_beyond_its_bound() {
        let mut clock = WallClock::new(DAY_US).wrong_by_chance(2_000_000, 100_000, 2_500_000);
        assert_eq!((shown(&mut clock, 0), shown(&mut clock, 1_000)), (2_000, 3_100));
        assert_eq!(shown(&mut clock, 9_000), 11_500, "the bound");
        assert_eq!(shown(&mut clock, 10_000), 10_500, "a time service has come");
        assert_eq!(shown(&mut clock, 60_000), 60_500);
    }

    #[test]
    fn asking_often_changes_nothing() {
        let drifting = WallClock::new(DAY_US).wrong_by_chance(0, 70, i64::MAX);
        let (mut often, mut once) = (drifting, drifting);
        let chaos = SimTime::MAX;
        for us in (0..2_000_000).step_by(37) {
            often.offset_us(SimTime::from_micros(us), chaos);
        }
        let end = SimTime::from_secs(2);
        assert!(often.offset_us(end, chaos).abs_diff(once.offset_us(end, chaos)) <= 2);
        assert_eq!(once.offset_us(end, chaos), 140);
    }

    #[test]
    fn it_stands_still_and_goes_on_from_where_it_stood() {
        let mut clock = WallClock::new(DAY_US);
        clock.freeze(1_000.into(), 500.into());
        assert_eq!(
            [1_000, 1_200, 1_499, 1_500, 1_700].map(|now| shown(&mut clock, now)),
            [1_000, 1_000, 1_000, 1_000, 1_200]
        );
    }

    #[test]
    fn it_jumps_either_way_and_what_it_is_set_to_stays() {
        let mut clock = WallClock::new(DAY_US).wrong_by_chance(0, 0, 3_000_000);
        clock.jump(1_000.into(), -800_000);
        assert_eq!(shown(&mut clock, 1_000), 200);
        clock.jump(1_000.into(), 9_000_000);
        assert_eq!(shown(&mut clock, 1_000), 4_000);
        clock.set(2_000.into(), -7_000_000);
        assert_eq!(shown(&mut clock, 20_000), 13_000);
    }
}
