//! What became of every frame.

use serde::{Deserialize, Serialize};
use syncline_types::canary;

/// Why a frame did not take effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DropCause {
    /// Lost on the link.
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
    /// It said what was known, or answered what was not asked any more.
    DuplicateSuppressed,
    /// Its bytes were no frame.
    Corrupt,
    /// Its receiver had no room for it.
    BufferFull,
    /// It carried a stamp too far in the future.
    ClockDrift,
    /// It held a value that its receiver cannot merge.
    NoMerge,
    /// It broke a rule.
    Malformed,
    /// There was no link to its receiver.
    NoLink,
    /// A rule dropped it.
    Rule,
    /// Whoever sent it, or wrote what it carried, is no member.
    NotAMember,
    /// It carried a delta that its author did not sign.
    BadSignature,
    /// It carried a delta from before what every member had seen, which nobody had seen.
    LeftBehind,
    /// There was no room for it to wait for the link's bandwidth.
    QueueFull,
    /// Its link was down, when it was sent or would have arrived.
    LinkDown,
    /// The connection that carried it broke.
    ConnectionReset,
    /// It was for a context that its receiver does not keep, or was handed to another one's replica.
    OtherContext,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 21] = [
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
        Self::NoMerge,
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

    /// The cause in words.
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
            Self::NoMerge => "no merge function",
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

/// The account of all frames: each that was sent or doubled ends in exactly one place (**F1**), and
/// the sums agree (**F2**).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fates {
    /// Frames handed to the network.
    pub sent: u64,
    /// Copies that the network made.
    pub duplicated: u64,
    /// Frames that took effect.
    pub delivered: u64,
    /// Frames on their way.
    pub in_flight: u64,
    dropped: [u64; DropCause::ALL.len()],
}

impl Fates {
    /// Records that a frame was dropped.
    pub fn drop(&mut self, cause: DropCause) {
        if cause == DropCause::Loss && canary!(UncountedDrop) {
            return;
        }
        if let Some(count) = self.dropped.get_mut(cause as usize) {
            *count += 1;
        }
    }

    /// Frames dropped for one cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped.get(cause as usize).copied().unwrap_or(0)
    }

    /// Frames dropped for any cause.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether sent + duplicated = delivered + dropped + in flight.
    pub fn is_balanced(&self) -> bool {
        self.sent + self.duplicated == self.delivered + self.dropped_total() + self.in_flight
    }

    /// Adds another account.
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
