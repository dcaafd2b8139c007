//! The digest of everything that happened in a run, in order.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The kinds of events that enter the trace digest.
///
/// The numbers are part of every published digest: they must not change, and a number must not be reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(super) enum TraceEvent {
    FrameArrived = 1,
    TimerFired = 2,
    Crash = 3,
    Restart = 4,
    RandomPartition = 5,
    PartitionEnd = 6,
    RandomCrash = 7,
    Op = 8,
    StepEnd = 9,
    Leave = 10,
    Return = 11,
    Join = 12,
    ReachChanged = 13,
    Retire = 14,
    ScriptedPartition = 16,
    FrameDeferred = 20,
    FrameReset = 21,
    LinkChanged = 22,
    /// Its number in the digest is 14, see [`TraceEvent::number`].
    HostEvent = 114,
}

impl TraceEvent {
    /// The number that enters the digest.
    ///
    /// Retirements and host events share 14: both got it when they were added, and the golden digests hold it
    /// for both. Their records in the digest still differ, since the detail of a retirement is zero and that
    /// of a host event never is.
    #[inline]
    const fn number(self) -> u64 {
        match self {
            Self::HostEvent => Self::Retire as u64,
            other => other as u64,
        }
    }

    /// Whether the event comes from outside the nodes: a write, a fault, a change of membership. What becomes of
    /// frames, timers and steps is the nodes' own activity.
    #[inline]
    pub(super) const fn is_external(self) -> bool {
        !matches!(
            self,
            Self::FrameArrived | Self::FrameDeferred | Self::FrameReset | Self::TimerFired | Self::StepEnd
        )
    }
}

/// A rolling digest over the events of a run. It is always on and costs about as much as one hash of each
/// frame. Two runs with equal digests did the same things at the same times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TraceDigest(u64);

impl TraceDigest {
    /// Continues from a digest that was stored.
    pub const fn resumed(value: u64) -> Self {
        Self(value)
    }

    /// Adds one event of the world: its time in microseconds, kind, node and detail.
    #[inline]
    pub(super) fn record(&mut self, at_us: u64, kind: TraceEvent, node: u64, detail: u64) {
        self.event([at_us, kind.number(), node, detail]);
    }

    /// Adds one event, as four numbers.
    pub fn event(&mut self, words: [u64; 4]) {
        let mut bytes = [0; 32];
        // Little-endian on every platform, so that different machines get equal digests.
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        // The digest so far is the seed, so that the order of events matters.
        self.0 = xxh3_64_with_seed(&bytes, self.0);
    }

    /// Adds the bytes of a frame.
    pub fn payload(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// The digest so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for TraceDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_numbers_hold() {
        assert_eq!(TraceEvent::Retire.number(), 14);
        assert_eq!(TraceEvent::HostEvent.number(), 14);
        assert_eq!(TraceEvent::LinkChanged.number(), 22);
    }

    #[test]
    fn retirements_and_host_events_differ() {
        let mut retired = TraceDigest::default();
        let mut host = TraceDigest::default();
        retired.record(5, TraceEvent::Retire, 1, 0);
        host.record(5, TraceEvent::HostEvent, 1, 6 << 56);
        assert_ne!(retired, host);
    }
}
