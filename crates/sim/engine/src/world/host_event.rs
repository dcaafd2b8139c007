//! The faults of a host as events: scripted, or by chance.

use crate::faults::{HostFaults, Rate};
use crate::node_id::NodeId;
use crate::random::Stream;
use syncline_types::{Choice, SimDuration};

/// A fault of a host, the end of one, or a wake-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostEvent {
    /// The wall clock is set ahead by so many microseconds (behind, if negative), and stays so.
    Clock(i64),
    /// The wall clock stands still for a while.
    Freeze(SimDuration),
    /// The node processes nothing for a while.
    Pause(SimDuration),
    /// The next write of a step fails.
    FailWrite,
    /// From now on the disk lies about every sync, or, with `false`, about none.
    Lying(bool),
    /// A bit of a stored row flips.
    Rot,
    /// The store verifies all its rows.
    Scrub,
    /// The node's disk is backed up; the backup replaces an earlier one.
    BackUp,
    /// The node goes down for so long and comes back with the backup of its disk; with its own disk,
    /// if there is none.
    Restore(SimDuration),
    /// The node goes down for so long and comes back with a copy of the disk of another node, and so under its name.
    Clone {
        /// The node whose disk is copied.
        from: NodeId,
        /// How long the node is down.
        down_for: SimDuration,
    },
    /// The node goes down for so long and comes back with an empty disk under its old name.
    LoseDisk {
        /// How long the node is down.
        down_for: SimDuration,
        /// Whether the host has counted the starts of the node elsewhere.
        counted: bool,
    },
    /// The wall clock is ahead by so many microseconds for a while (behind, if negative), and then as before.
    Ahead {
        /// How far it is ahead, in microseconds.
        by_us: i64,
        /// For how long.
        lasting: SimDuration,
    },
    /// The node is free for the next input in its inbox. Only the wake-up with the latest number counts.
    Wake(u64),
    /// A random fault of this kind happens.
    Chance(RandomHostFault),
}

/// A kind of random host fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RandomHostFault {
    /// The wall clock jumps, forward or back.
    ClockJump,
    /// The wall clock stands still.
    ClockFreeze,
    /// The node processes nothing for a while.
    Pause,
    /// Power fails within the node's next commit.
    TornWrite,
    /// A bit of a stored row flips.
    Rot,
    /// The disk is backed up, or an earlier backup comes back.
    Restore,
    /// The disk is replaced by a copy of another node's.
    Clone,
    /// The disk is lost, and the name is not.
    LoseDisk,
    /// The wall clock is far ahead for a while.
    ClockAhead,
}

impl RandomHostFault {
    pub(super) const ALL: [Self; 9] = [
        Self::ClockJump,
        Self::ClockFreeze,
        Self::Pause,
        Self::TornWrite,
        Self::Rot,
        Self::Restore,
        Self::Clone,
        Self::LoseDisk,
        Self::ClockAhead,
    ];

    pub(super) const fn rate(self, faults: &HostFaults) -> Rate {
        match self {
            Self::ClockJump => faults.clock_jump_probability,
            Self::ClockFreeze => faults.clock_freeze_probability,
            Self::Pause => faults.pause_probability,
            Self::TornWrite => faults.torn_write_probability,
            Self::Rot => faults.rot_probability,
            Self::Restore => faults.restore_probability,
            Self::Clone => faults.clone_probability,
            Self::LoseDisk => faults.lost_disk_probability,
            Self::ClockAhead => faults.clock_ahead_probability,
        }
    }

    pub(super) const fn draw(self, node: NodeId) -> (Stream, Choice) {
        match self {
            Self::ClockJump => (Stream::Clock(node.0), Choice::ClockJumpGap),
            Self::ClockFreeze => (Stream::Clock(node.0), Choice::ClockFreezeGap),
            Self::Pause => (Stream::Pause(node.0), Choice::PauseGap),
            Self::TornWrite => (Stream::Disk(node.0), Choice::TornWriteGap),
            Self::Rot => (Stream::Disk(node.0), Choice::RotGap),
            Self::Restore => (Stream::Disk(node.0), Choice::RestoreGap),
            Self::Clone => (Stream::Disk(node.0), Choice::CloneGap),
            Self::LoseDisk => (Stream::Disk(node.0), Choice::LoseDiskGap),
            Self::ClockAhead => (Stream::Clock(node.0), Choice::ClockAheadGap),
        }
    }

    /// Whether the fault is written down with all that was drawn, so that a script can repeat it.
    pub(super) const fn is_logged(self) -> bool {
        matches!(self, Self::Restore | Self::Clone | Self::LoseDisk | Self::ClockAhead)
    }
}

impl HostEvent {
    /// The event as a clause about the node.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Clock(ahead_us) => format!("its clock is set to be {ahead_us} us ahead"),
            Self::Freeze(lasting) => format!("its clock stands still for {} ms", lasting.as_millis()),
            Self::Pause(lasting) => format!("it pauses for {} ms", lasting.as_millis()),
            Self::FailWrite => "its next write to disk fails".to_owned(),
            Self::Lying(true) => "its disk lies about syncs from now on".to_owned(),
            Self::Lying(false) => "its disk is honest again".to_owned(),
            Self::Rot => "a bit on its disk flips".to_owned(),
            Self::Scrub => "its store looks through all rows".to_owned(),
            Self::BackUp => "its disk is backed up".to_owned(),
            Self::Restore(_) => "its disk is restored from the backup".to_owned(),
            Self::Clone { from, .. } => format!("its disk becomes a copy of the one of node {}", from.0),
            Self::LoseDisk { counted: true, .. } => {
                "its disk is lost, its name and its starts are not".to_owned()
            }
            Self::LoseDisk { counted: false, .. } => "its disk is lost, and its name is not".to_owned(),
            Self::Ahead { by_us, lasting } => {
                format!("its clock is {} ms ahead for {} ms", by_us / 1_000, lasting.as_millis())
            }
            Self::Wake(_) => "it may take its next input".to_owned(),
            Self::Chance(RandomHostFault::ClockJump) => "its clock jumps by chance".to_owned(),
            Self::Chance(RandomHostFault::ClockFreeze) => "its clock stands still by chance".to_owned(),
            Self::Chance(RandomHostFault::Pause) => "it pauses by chance".to_owned(),
            Self::Chance(RandomHostFault::TornWrite) => "power fails in its next commit by chance".to_owned(),
            Self::Chance(RandomHostFault::Rot) => "a bit on its disk flips by chance".to_owned(),
            Self::Chance(RandomHostFault::Restore) => {
                "its disk is backed up or restored by chance".to_owned()
            }
            Self::Chance(RandomHostFault::Clone) => "its disk is replaced by a copy by chance".to_owned(),
            Self::Chance(RandomHostFault::LoseDisk) => "its disk is lost by chance".to_owned(),
            Self::Chance(RandomHostFault::ClockAhead) => "its clock is far ahead by chance".to_owned(),
        }
    }
}

/// The detail of a host event in the trace digest. It is never zero.
pub(super) const fn host_event_number(what: HostEvent) -> u64 {
    match what {
        HostEvent::Clock(offset) => 1 << 56 | (offset as u64 & ((1 << 56) - 1)),
        HostEvent::Freeze(lasting) => 2 << 56 | lasting.as_micros(),
        HostEvent::Pause(lasting) => 3 << 56 | lasting.as_micros(),
        HostEvent::FailWrite => 4 << 56,
        HostEvent::Lying(lying) => 5 << 56 | lying as u64,
        HostEvent::Rot => 6 << 56,
        HostEvent::Scrub => 7 << 56,
        HostEvent::Wake(_) => 8 << 56,
        HostEvent::Chance(fault) => 9 << 56 | fault as u64,
        HostEvent::BackUp => 10 << 56,
        HostEvent::Restore(down_for) => 11 << 56 | down_for.as_micros(),
        HostEvent::Clone { from, .. } => 12 << 56 | from.0 as u64,
        HostEvent::LoseDisk { counted, .. } => 13 << 56 | counted as u64,
        HostEvent::Ahead { by_us, .. } => 14 << 56 | (by_us as u64 & ((1 << 56) - 1)),
    }
}
