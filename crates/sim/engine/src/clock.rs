//! The virtual clock of a run.

use syncline_types::SimTime;

/// Virtual time. It advances to the time of each event that is taken, and is monotone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimClock(SimTime);

impl SimClock {
    /// The current virtual time.
    pub const fn now(&self) -> SimTime {
        self.0
    }

    /// Advances the clock to `time`.
    ///
    /// # Panics
    ///
    /// If `time` is in the past: that would be a bug of the event queue.
    pub fn advance_to(&mut self, time: SimTime) {
        assert!(time >= self.0, "the clock stands at {} and cannot go back to {time}", self.0);
        self.0 = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "cannot go back")]
    fn never_goes_back() {
        let mut clock = SimClock::default();
        clock.advance_to(5.into());
        clock.advance_to(4.into());
    }
}
