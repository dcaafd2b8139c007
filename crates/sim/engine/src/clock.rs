//! The clock of a run.

use syncline_types::SimTime;

/// Virtual time. It moves only when an event is taken, and never back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimClock(SimTime);

impl SimClock {
    /// The time.
    pub const fn now(&self) -> SimTime {
        self.0
    }

    /// Moves on to `time`.
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
    fn the_clock_never_goes_back() {
        let mut clock = SimClock::default();
        clock.advance_to(5.into());
        clock.advance_to(4.into());
    }
}
