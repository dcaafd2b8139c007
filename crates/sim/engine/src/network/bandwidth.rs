//! The capacity of a link: frames wait behind each other, without rounding errors.

use syncline_types::{SimDuration, SimTime};

const SECOND_US: u128 = 1_000_000;

/// How a frame leaves its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Departure {
    /// How long it waited for the frames before it.
    pub(super) waited: SimDuration,
    /// When its last byte has left.
    pub(super) at: SimTime,
}

/// One direction of a link that carries a bounded number of bytes per second.
///
/// The state is the time at which the link is free. A frame of `bytes` bytes moves it by
/// `bytes / rate` seconds. The computation uses integers only and carries the remainder of each division over
/// to the next frame: rounding each frame to a microsecond would make a link of small frames up to several
/// times too slow or too fast.
///
/// Invariant: `parts < rate` of the last frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct BandwidthQueue {
    /// When all accepted frames have left, in whole microseconds…
    free_at: SimTime,
    /// … plus this many of the `rate` parts of one more microsecond.
    parts: u64,
}

impl BandwidthQueue {
    /// Accepts a frame. `rate` is in bytes per second. Returns `None` if frames wait or are being sent, and
    /// those with this one exceed `room`, in bytes. A frame that finds the link free is always accepted:
    /// otherwise one that is larger than the room could never pass.
    pub(super) fn accept(&mut self, now: SimTime, bytes: u64, rate: u64, room: u64) -> Option<Departure> {
        if self.free_at < now {
            *self = Self { free_at: now, parts: 0 };
        }
        let waited = self.free_at.since(now);
        // In byte-microseconds per second, so that no division is needed to compare.
        let backlog = u128::from(waited.as_micros()) * u128::from(rate) + u128::from(self.parts);
        if backlog > 0 && backlog + u128::from(bytes) * SECOND_US > u128::from(room) * SECOND_US {
            return None;
        }
        let parts = u128::from(bytes) * SECOND_US + u128::from(self.parts);
        let rate = u128::from(rate.max(1));
        let micros = u64::try_from(parts / rate).unwrap_or(u64::MAX);
        self.free_at += SimDuration::from_micros(micros);
        self.parts = (parts % rate) as u64;
        // Virtual time has whole microseconds: the last byte has left at the end of the one that it is in.
        let at = self.free_at + SimDuration::from_micros(u64::from(self.parts > 0));
        assert!(at >= now, "a frame leaves after it was sent");
        Some(Departure { waited, at })
    }

    /// Rounds up to a whole microsecond. Call it before the rate changes: the parts are parts of the old
    /// rate.
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
    fn an_idle_link_takes_bytes_over_rate() {
        let mut queue = BandwidthQueue::default();
        let sent = queue.accept(5.into(), 500, 1_000_000, 0).unwrap();
        assert_eq!((sent.waited, sent.at), (SimDuration::ZERO, SimTime::from_micros(5_500)));
        assert_eq!(queue.accept(5.into(), 1, 1_000_000, 500), None, "there is room for what is being sent");
        let next = queue.accept(5.into(), 500, 1_000_000, 1_000).unwrap();
        assert_eq!((next.waited, next.at), (SimDuration::from_micros(500), SimTime::from_micros(6_000)));
    }

    proptest! {
        /// However frames come, a busy link carries exactly its rate, and a frame is refused only if it and
        /// the backlog exceed the room.
        #[test]
        fn throughput_is_exact(
            rate in 1_000..50_000_000u64,
            room in 0..20_000u64,
            frames in proptest::collection::vec((0..3_000u64, 1..2_000u64), 1..200),
        ) {
            let mut queue = BandwidthQueue::default();
            let mut now = SimTime::ZERO;
            // In byte-microseconds per second: when the link is free, computed without rounding.
            let mut free = 0u128;
            for (pause, bytes) in frames {
                now += SimDuration::from_micros(pause);
                let at = u128::from(now.as_micros()) * u128::from(rate);
                let backlog = free.saturating_sub(at);
                let size = u128::from(bytes) * SECOND_US;
                let refused = backlog > 0 && backlog + size > u128::from(room) * SECOND_US;
                let sent = queue.accept(now, bytes, rate, room);
                prop_assert_eq!(sent.is_none(), refused);
                if let Some(sent) = sent {
                    free = free.max(at) + size;
                    prop_assert_eq!(u128::from(sent.at.as_micros()), free.div_ceil(u128::from(rate)));
                }
            }
        }
    }
}
