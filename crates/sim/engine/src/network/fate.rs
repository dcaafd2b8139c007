//! The fate of every frame.

use serde::{Deserialize, Serialize};
use syncline_types::canary;

/// Why a frame took no effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DropCause {
    /// The link lost it at random.
    Loss,
    /// A partition was up when it was sent.
    PartitionAtSend,
    /// A partition was up when it would have arrived.
    PartitionAtDelivery,
    /// Its receiver was down.
    ReceiverCrashed,
    /// There is no such receiver.
    ReceiverUnknown,
    /// It was sent before its sender's last restart.
    StaleIncarnation,
    /// It repeated what its receiver had, or answered a request that was over.
    DuplicateSuppressed,
    /// Its bytes do not decode as a frame.
    Corrupt,
    /// Its receiver had no room for it.
    BufferFull,
    /// It carried a timestamp too far in the future.
    ClockDrift,
    /// It violated the protocol.
    Malformed,
    /// There was no link to its receiver.
    NoLink,
    /// A [`Rule`](crate::network::Rule) dropped it.
    Rule,
    /// Its sender, or the author of what it carried, is not a member.
    NotAMember,
    /// It carried a delta that its author did not sign.
    BadSignature,
    /// It carried a delta from below the horizon that no member had seen.
    LeftBehind,
    /// The send queue of its link was full.
    QueueFull,
    /// Its link was down, when it was sent or would have arrived.
    LinkDown,
    /// The connection that carried it broke.
    ConnectionReset,
    /// It was for a context that its receiver does not store.
    OtherContext,
}

impl DropCause {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Loss,
        Self::PartitionAtSend,
        Self::PartitionAtDelivery,
        Self::ReceiverCrashed,
        Self::ReceiverUnknown,
        Self::StaleIncarnation,
        Self::DuplicateSuppressed,
        Self::Corrupt,
        Self::BufferFull,
        Self::ClockDrift,
        Self::Malformed,
        Self::NoLink,
        Self::Rule,
        Self::NotAMember,
        Self::BadSignature,
        Self::LeftBehind,
        Self::QueueFull,
        Self::LinkDown,
        Self::ConnectionReset,
        Self::OtherContext,
    ];

    /// A description for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Loss => "lost on the link",
            Self::PartitionAtSend => "partitioned when sent",
            Self::PartitionAtDelivery => "partitioned on arrival",
            Self::ReceiverCrashed => "receiver down",
            Self::ReceiverUnknown => "receiver unknown",
            Self::StaleIncarnation => "from before a restart",
            Self::DuplicateSuppressed => "duplicate suppressed",
            Self::Corrupt => "corrupt",
            Self::BufferFull => "buffer full",
            Self::ClockDrift => "clock drift",
            Self::Malformed => "malformed",
            Self::NoLink => "no link to the receiver",
            Self::Rule => "dropped by a rule",
            Self::NotAMember => "not a member",
            Self::BadSignature => "not signed by its author",
            Self::LeftBehind => "from before what is forgotten",
            Self::QueueFull => "no room in the link's queue",
            Self::LinkDown => "link down",
            Self::ConnectionReset => "connection broke",
            Self::OtherContext => "for another context",
        }
    }
}

/// The account of all frames. Each frame that was sent or duplicated has exactly one fate (**F1**), and the
/// sums agree (**F2**).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fates {
    /// Frames handed to the network.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Frames that took effect.
    pub delivered: u64,
    /// Frames that are in flight now.
    pub in_flight: u64,
    dropped: [u64; DropCause::ALL.len()],
}

impl Fates {
    /// Counts a frame as dropped.
    pub fn drop(&mut self, cause: DropCause) {
        if cause == DropCause::Loss && canary!(UncountedDrop) {
            return;
        }
        self.dropped[cause as usize] += 1;
    }

    /// How many frames were dropped for one cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped.get(cause as usize).copied().unwrap_or(0)
    }

    /// How many frames were dropped for any cause.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether sent + duplicated = delivered + dropped + in flight.
    pub fn is_balanced(&self) -> bool {
        self.sent + self.duplicated == self.delivered + self.dropped_total() + self.in_flight
    }

    /// Adds the account of another run.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.duplicated += other.duplicated;
        self.delivered += other.delivered;
        self.in_flight += other.in_flight;
        for (own, count) in self.dropped.iter_mut().zip(other.dropped) {
            *own += count;
        }
    }
}
