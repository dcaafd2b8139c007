//! A link's capacity: frames wait behind each other, exactly.

use syncline_types::{SimDuration, SimTime};

const SECOND_US: u128 = 1_000_000;

/// How a frame leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Departure {
    /// How long it waited for those before it.
    pub(super) waited: SimDuration,
    /// When its last byte is on its way.
    pub(super) at: SimTime,
}

/// One direction of a link that carries a bounded number of bytes per second. All in integers, without
/// any error that could add up: what is left of a microsecond is carried on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pipe {
    /// When it has carried all that it took, in whole microseconds…
    free_at: SimTime,
    /// … and this many of the `rate` parts of one more.
    parts: u64,
}

impl Pipe {
    /// Takes a frame. `None` if others wait or are being sent and there is no room left behind them.
    pub(super) fn take(&mut self, now: SimTime, bytes: u64, rate: u64, room: u64) -> Option<Departure> {
        if self.free_at < now {
            *self = Self { free_at: now, parts: 0 };
        }
        let waited = self.free_at.since(now);
        let backlog = u128::from(waited.as_micros()) * u128::from(rate) + u128::from(self.parts);
        if backlog > 0 && backlog + u128::from(bytes) * SECOND_US > u128::from(room) * SECOND_US {
            return None;
        }
        let parts = u128::from(bytes) * SECOND_US + u128::from(self.parts);
        let rate = u128::from(rate.max(1));
        let micros = u64::try_from(parts / rate).unwrap_or(u64::MAX);
        self.free_at += SimDuration::from_micros(micros);
        self.parts = (parts % rate) as u64;
        // The last byte leaves within a microsecond that is counted whole.
        let at = self.free_at + SimDuration::from_micros(u64::from(self.parts > 0));
        Some(Departure { waited, at })
    }

    /// Forgets the rest of a microsecond, which another rate would read otherwise.
    pub(super) fn round_up(&mut self) {
        self.free_at += SimDuration::from_micros(u64::from(self.parts > 0));
        self.parts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_that_finds_the_link_free_takes_as_long_as_its_bytes() {
        let mut pipe = Pipe::default();
        let sent = pipe.take(5.into(), 500, 1_000_000, 0).unwrap();
        assert_eq!((sent.waited, sent.at), (SimDuration::ZERO, SimTime::from_micros(5_500)));
        assert_eq!(pipe.take(5.into(), 1, 1_000_000, 500), None, "there is room for what is being sent");
        let next = pipe.take(5.into(), 500, 1_000_000, 1_000).unwrap();
        assert_eq!((next.waited, next.at), (SimDuration::from_micros(500), SimTime::from_micros(6_000)));
    }

    proptest! {
        /// However frames come, a full pipe carries exactly its rate, an idle one loses nothing, and one
        /// is refused only where bytes and backlog exceed the room.
        #[test]
        fn throughput_is_exact_and_only_a_full_queue_refuses(
            rate in 1_000..50_000_000u64,
            room in 0..20_000u64,
            frames in proptest::collection::vec((0..3_000u64, 1..2_000u64), 1..200),
        ) {
            let (mut pipe, mut now) = (Pipe::default(), SimTime::ZERO);
            // In byte-microseconds per second: when the pipe is free, reckoned without any rounding.
            let mut free = 0u128;
            for (pause, bytes) in frames {
                now += SimDuration::from_micros(pause);
                let at = u128::from(now.as_micros()) * u128::from(rate);
                let backlog = free.saturating_sub(at);
                let size = u128::from(bytes) * SECOND_US;
                let refused = backlog > 0 && backlog + size > u128::from(room) * SECOND_US;
                let sent = pipe.take(now, bytes, rate, room);
                prop_assert_eq!(sent.is_none(), refused);
                if let Some(sent) = sent {
                    free = free.max(at) + size;
                    prop_assert_eq!(u128::from(sent.at.as_micros()), free.div_ceil(u128::from(rate)));
                }
            }
        }
    }
}
