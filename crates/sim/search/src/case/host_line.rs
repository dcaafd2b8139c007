//! Script lines about the host of a node: its clock, its disk and its pace.

use crate::case::serde_names::maybe_time;
use crate::case::{CaseError, Name};
use serde::{Deserialize, Serialize};
use sync_sim_engine::faults::time;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::HostEvent;
use syncline_types::SimDuration;

/// A fault of the host of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostLine {
    /// The node processes nothing for a while.
    Pause(Pause),
    /// The wall clock of the node is wrong, for a while or for good.
    Clock(Clock),
    /// The wall clock of the node stands still for a while.
    FreezeClock(Pause),
    /// The next write of the node to its disk fails: the node crashes, and restarts.
    FailWrite(Name),
    /// From now on the disk of the node lies about syncs, or no longer.
    LyingDisk(LyingDisk),
    /// A bit of a row on the disk of the node flips.
    Rot(Name),
    /// The node's disk is backed up.
    BackUp(Name),
    /// The node comes back with the backup of its disk.
    Restore(Restore),
    /// The node comes back with a copy of the disk of another node, and under its name.
    Clone(CloneDisk),
    /// The node comes back with an empty disk, and under its name.
    LoseDisk(LoseDisk),
}

/// A pause of a node, in which what arrives waits, or of its wall clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The name of the node.
    pub node: Name,
    /// The length of the pause.
    #[serde(with = "time")]
    pub lasting: SimDuration,
}

/// A wall clock that is wrong: `{ node = "alice", ahead = "1h", lasting = "2s" }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The name of the node.
    pub node: Name,
    /// How far the clock is ahead; right, if neither this nor `behind` is given.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub ahead: Option<SimDuration>,
    /// How far the clock is behind.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub behind: Option<SimDuration>,
    /// For how long; until it is set again, if not given.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<SimDuration>,
}

/// A disk that says that it has written what a crash can still undo: `{ node = "alice", lies = true }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LyingDisk {
    /// The name of the node.
    pub node: Name,
    /// Whether the disk lies from now on; with `false`, it no longer does.
    pub lies: bool,
}

/// A disk that comes back from a copy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The name of the node.
    pub node: Name,
    /// How long the node is down meanwhile.
    #[serde(with = "time")]
    pub down_for: SimDuration,
}

/// A disk that is copied to another node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneDisk {
    /// The node whose disk is copied.
    pub from: Name,
    /// The node that gets the copy instead of its own disk.
    pub to: Name,
    /// How long that node is down meanwhile.
    #[serde(with = "time")]
    pub down_for: SimDuration,
}

/// A disk that is lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoseDisk {
    /// The name of the node.
    pub node: Name,
    /// How long the node is down meanwhile.
    #[serde(with = "time")]
    pub down_for: SimDuration,
    /// Whether the host has counted the starts of the node elsewhere.
    #[serde(default)]
    pub counted: bool,
}

impl HostLine {
    /// The name of the node that the fault happens to.
    pub const fn node(&self) -> &Name {
        match self {
            Self::Pause(Pause { node, .. })
            | Self::FreezeClock(Pause { node, .. })
            | Self::FailWrite(node)
            | Self::LyingDisk(LyingDisk { node, .. })
            | Self::Rot(node)
            | Self::Clock(Clock { node, .. })
            | Self::BackUp(node)
            | Self::Restore(Restore { node, .. })
            | Self::Clone(CloneDisk { to: node, .. })
            | Self::LoseDisk(LoseDisk { node, .. }) => node,
        }
    }

    /// The length of the fault, if it has one.
    pub(super) const fn duration_mut(&mut self) -> Option<&mut SimDuration> {
        match self {
            Self::Pause(Pause { lasting: span, .. })
            | Self::FreezeClock(Pause { lasting: span, .. })
            | Self::Restore(Restore { down_for: span, .. })
            | Self::Clone(CloneDisk { down_for: span, .. })
            | Self::LoseDisk(LoseDisk { down_for: span, .. }) => Some(span),
            Self::Clock(Clock { lasting, .. }) => lasting.as_mut(),
            Self::BackUp(_) | Self::FailWrite(_) | Self::LyingDisk(_) | Self::Rot(_) => None,
        }
    }

    /// The event of the line. `resolve` gives the number of a node of this name.
    pub(super) fn event(
        &self,
        place: &str,
        resolve: impl Fn(&Name) -> Result<NodeId, CaseError>,
    ) -> Result<HostEvent, CaseError> {
        Ok(match self {
            Self::Pause(Pause { lasting, .. }) => HostEvent::Pause(*lasting),
            Self::Clock(clock) => clock.event(place)?,
            Self::FreezeClock(Pause { lasting, .. }) => HostEvent::Freeze(*lasting),
            Self::FailWrite(_) => HostEvent::FailWrite,
            Self::LyingDisk(LyingDisk { lies, .. }) => HostEvent::Lying(*lies),
            Self::Rot(_) => HostEvent::Rot,
            Self::BackUp(_) => HostEvent::BackUp,
            Self::Restore(Restore { down_for, .. }) => HostEvent::Restore(*down_for),
            Self::Clone(CloneDisk { from, to, .. }) if from == to => {
                return Err(CaseError::impossible(place, "a disk is cloned to another node; name two nodes"));
            }
            Self::Clone(CloneDisk { from, down_for, .. }) => {
                HostEvent::Clone { from: resolve(from)?, down_for: *down_for }
            }
            Self::LoseDisk(LoseDisk { down_for, counted, .. }) => {
                HostEvent::LoseDisk { down_for: *down_for, counted: *counted }
            }
        })
    }

    /// The line of an event of `node`; `None` if no line says it. `name` gives the name of a node.
    pub(crate) fn of(node: Name, event: HostEvent, name: impl Fn(NodeId) -> Name) -> Option<Self> {
        Some(match event {
            HostEvent::Pause(lasting) => Self::Pause(Pause { node, lasting }),
            HostEvent::Clock(by_us) => Self::Clock(Clock::of(node, by_us, None)),
            HostEvent::Ahead { by_us, lasting } => Self::Clock(Clock::of(node, by_us, Some(lasting))),
            HostEvent::Freeze(lasting) => Self::FreezeClock(Pause { node, lasting }),
            HostEvent::FailWrite => Self::FailWrite(node),
            HostEvent::Lying(lies) => Self::LyingDisk(LyingDisk { node, lies }),
            HostEvent::Rot => Self::Rot(node),
            HostEvent::BackUp => Self::BackUp(node),
            HostEvent::Restore(down_for) => Self::Restore(Restore { node, down_for }),
            HostEvent::Clone { from, down_for } => {
                Self::Clone(CloneDisk { from: name(from), to: node, down_for })
            }
            HostEvent::LoseDisk { down_for, counted } => Self::LoseDisk(LoseDisk { node, down_for, counted }),
            // Scrubs and wake-ups follow from other events, and chance is drawn again.
            HostEvent::Scrub | HostEvent::Wake(_) | HostEvent::Chance(_) => return None,
        })
    }
}

impl Clock {
    fn event(&self, place: &str) -> Result<HostEvent, CaseError> {
        let refuse = |problem: &str| {
            Err(CaseError::Impossible { place: place.to_owned(), problem: problem.to_owned() })
        };
        let by_us = match (self.ahead, self.behind) {
            (Some(_), Some(_)) => return refuse("a clock is either ahead or behind"),
            (Some(by), None) => i64::try_from(by.as_micros()),
            (None, Some(by)) => i64::try_from(by.as_micros()).map(|by_us| -by_us),
            (None, None) => Ok(0),
        };
        let Ok(by_us) = by_us else { return refuse("the clock is off by more than 292,000 years") };
        Ok(match self.lasting {
            Some(lasting) => HostEvent::Ahead { by_us, lasting },
            None => HostEvent::Clock(by_us),
        })
    }

    fn of(node: Name, by_us: i64, lasting: Option<SimDuration>) -> Self {
        let by = SimDuration::from_micros(by_us.unsigned_abs());
        Self { node, ahead: (by_us > 0).then_some(by), behind: (by_us < 0).then_some(by), lasting }
    }
}
