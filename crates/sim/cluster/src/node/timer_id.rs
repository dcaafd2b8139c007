//! The timers of a node as numbers of the engine.

use sync_sim_engine::node_id::NodeId;
use syncline_replica::Timer;
use syncline_types::PeerId;

/// Timers of sessions: this bit, and the peer in the lower 32 bits.
const SESSION: u64 = 1 << 32;
/// The context of a timer is in the bits from here on, above all that the timers of one replica use.
const CONTEXT_SHIFT: u32 = 40;

/// A timer of one context of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerId {
    /// The heartbeat of the replica.
    Heartbeat,
    /// The next pending sync of the replica.
    PendingSync,
    /// The next request for missing deltas.
    Fetch,
    /// The next step of the recovery of a former id's writes.
    Recovery,
    /// The next page of a collection of tombstones.
    Collection,
    /// The next delayed frame of an adversary. Honest replicas do not have it.
    DelayedFrame,
    /// The timeout of the session with this peer.
    Session(PeerId),
}

impl TimerId {
    /// The number of the timer within its context.
    pub const fn number(self) -> u64 {
        match self {
            Self::Heartbeat => 0,
            Self::PendingSync => 1,
            Self::Fetch => 2,
            Self::DelayedFrame => 3,
            Self::Recovery => 4,
            Self::Collection => 5,
            Self::Session(peer) => SESSION | peer.0 as u64,
        }
    }

    /// The number of the timer of a context among the timers of its node.
    pub(crate) const fn number_in(self, context: u8) -> u64 {
        in_context(self.number(), context)
    }

    /// The timer with this number, whichever its context.
    ///
    /// # Panics
    ///
    /// If no timer has the number.
    pub const fn from_number(number: u64) -> Self {
        match number & ((1 << CONTEXT_SHIFT) - 1) {
            0 => Self::Heartbeat,
            1 => Self::PendingSync,
            2 => Self::Fetch,
            3 => Self::DelayedFrame,
            4 => Self::Recovery,
            5 => Self::Collection,
            number => {
                assert!(number & SESSION != 0, "every other timer is that of a session");
                Self::Session(PeerId(number as u32))
            }
        }
    }

    /// What the timer is for, to follow "the timer".
    pub fn words(self) -> String {
        match self {
            Self::Heartbeat => "of the heartbeat".to_owned(),
            Self::PendingSync => "of the next pending sync".to_owned(),
            Self::Fetch => "of a request for missing deltas".to_owned(),
            Self::Recovery => "of the recovery of former writes".to_owned(),
            Self::Collection => "of the collection of tombstones".to_owned(),
            Self::DelayedFrame => "of a delayed frame".to_owned(),
            Self::Session(peer) => format!("of the session with {}", NodeId::from(peer)),
        }
    }

    /// The timer of the real replica; `None` for the timer of an adversary.
    pub(super) const fn timer(self) -> Option<Timer> {
        match self {
            Self::Heartbeat => Some(Timer::Heartbeat),
            Self::PendingSync => Some(Timer::PendingSync),
            Self::Fetch => Some(Timer::Fetch),
            Self::Recovery => Some(Timer::Recovery),
            Self::Collection => Some(Timer::Collection),
            Self::DelayedFrame => None,
            Self::Session(peer) => Some(Timer::Session(peer)),
        }
    }
}

impl From<Timer> for TimerId {
    fn from(timer: Timer) -> Self {
        match timer {
            Timer::Heartbeat => Self::Heartbeat,
            Timer::PendingSync => Self::PendingSync,
            Timer::Fetch => Self::Fetch,
            Timer::Recovery => Self::Recovery,
            Timer::Collection => Self::Collection,
            Timer::Session(peer) => Self::Session(peer),
        }
    }
}

/// The number of a timer of one context among the timers of its node.
pub(super) const fn in_context(number: u64, context: u8) -> u64 {
    assert!(number >> CONTEXT_SHIFT == 0, "the bits of the context are free");
    number | (context as u64) << CONTEXT_SHIFT
}

/// The context of a timer, and the number of the timer within it.
pub(super) const fn split(number: u64) -> (u8, u64) {
    ((number >> CONTEXT_SHIFT) as u8, number & ((1 << CONTEXT_SHIFT) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back() {
        let session = TimerId::Session(PeerId(u32::MAX));
        let others = [TimerId::Fetch, TimerId::DelayedFrame, TimerId::Recovery, session];
        for id in [TimerId::Heartbeat, TimerId::PendingSync].into_iter().chain(others) {
            for context in 0..8 {
                let number = in_context(id.number(), context);
                assert_eq!(TimerId::from_number(number), id);
                assert_eq!(split(number), (context, id.number()));
            }
        }
    }
}
