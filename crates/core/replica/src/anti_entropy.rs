//! The schedule of the heartbeats, which announce the root.
//!
//! The pause between heartbeats follows Trickle (RFC 6206): it is short after a change and doubles while all
//! peers agree, so a network without writes costs next to nothing.

use crate::peers::within;
use syncline_types::{Entropy, SimDuration, SimTime};

/// The pace of the heartbeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AntiEntropy {
    /// The longest time until the next heartbeat. The shortest time is half of it.
    pause: SimDuration,
    min: SimDuration,
    max: SimDuration,
}

impl AntiEntropy {
    /// Heartbeats at pauses between `min` and `max`, beginning with `min`.
    pub(crate) const fn new(min: SimDuration, max: SimDuration) -> Self {
        Self { pause: min, min, max }
    }

    pub(crate) const fn pause(&self) -> SimDuration {
        self.pause
    }

    /// The time of the first heartbeat. Replicas that start together spread theirs over one pause.
    pub(crate) fn first(&self, now: SimTime, entropy: &mut dyn Entropy) -> SimTime {
        within(now, SimDuration::ZERO, self.min, entropy)
    }

    /// The time of the next heartbeat after a heartbeat was sent. Each pause is twice the previous one.
    pub(crate) fn after_heartbeat(&mut self, now: SimTime, entropy: &mut dyn Entropy) -> SimTime {
        self.pause = self.pause.times(2).min(self.max);
        self.next(now, entropy)
    }

    /// Handles a change that peers should learn of soon. Returns the new time of the next heartbeat; `None`
    /// if the pause is minimal already, so that a stream of changes does not postpone the heartbeat.
    pub(crate) fn on_change(&mut self, now: SimTime, entropy: &mut dyn Entropy) -> Option<SimTime> {
        if self.pause <= self.min {
            return None;
        }
        self.pause = self.min;
        Some(self.next(now, entropy))
    }

    fn next(&self, now: SimTime, entropy: &mut dyn Entropy) -> SimTime {
        let half = SimDuration::from_micros(self.pause.as_micros() / 2);
        let at = within(now, half, self.pause, entropy);
        debug_assert!(at >= now + half, "a heartbeat comes after half a pause at the earliest");
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::Choice;

    /// Draws the highest number.
    struct Highest;

    impl Entropy for Highest {
        fn below(&mut self, _: Choice, bound: u64) -> u64 {
            bound.saturating_sub(1)
        }
    }

    const MIN: SimDuration = SimDuration::from_millis(100);
    const MAX: SimDuration = SimDuration::from_millis(350);

    fn pause(at: SimTime) -> u64 {
        at.since(SimTime::ZERO).as_millis()
    }

    #[test]
    fn pause_doubles_up_to_its_maximum() {
        let mut pace = AntiEntropy::new(MIN, MAX);
        assert_eq!(pause(pace.first(SimTime::ZERO, &mut Highest)), 100);
        let pauses = [(); 3].map(|()| pause(pace.after_heartbeat(SimTime::ZERO, &mut Highest)));
        assert_eq!(pauses, [200, 350, 350]);
    }

    #[test]
    fn change_shortens_only_long_pause() {
        let mut pace = AntiEntropy::new(MIN, MAX);
        assert_eq!(pace.on_change(SimTime::ZERO, &mut Highest), None);
        pace.after_heartbeat(SimTime::ZERO, &mut Highest);
        assert_eq!(pace.on_change(SimTime::ZERO, &mut Highest).map(pause), Some(100));
        assert_eq!(pace.on_change(SimTime::ZERO, &mut Highest), None, "it is not postponed again");
    }
}
