//! The lines of a script: events at given times of a run.

use crate::case::host_line::HostLine;
use crate::case::serde_names::{maybe_time, name};
use crate::case::{Name, operations};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use sync_sim_cluster::hostile::Lie;
use sync_sim_engine::event::CrashPoint;
use sync_sim_engine::faults::time;
use syncline_replica::Operation;
use syncline_types::{SimDuration, SimTime};

/// An event at a given time: `{ at = "250ms", leave = { node = "bob", away_for = "2s" } }`.
#[derive(Clone, PartialEq, Debug)]
pub struct ScriptLine {
    /// The virtual time of the event.
    pub at: SimTime,
    /// The number of frames, timers and other events of the same instant that come first. A case that
    /// replays a recorded run needs it to keep the order of events; zero if not given.
    pub after: u32,
    /// The event that happens then.
    pub what: ScriptAction,
}

/// The kinds of events.
#[derive(Clone, PartialEq, Debug)]
pub enum ScriptAction {
    /// An application writes to a built-in replica.
    Write(ScriptedWrite),
    /// A custom replica executes an operation; see [`custom`](crate::custom).
    Op(CustomOp),
    /// A node crashes.
    Crash(Crash),
    /// A crashed node restarts.
    Restart(Name),
    /// Frames between some nodes are blocked.
    Partition(Partition),
    /// A node loses its links and keeps its memory.
    Leave(Leave),
    /// A node that left returns.
    Return(Name),
    /// A node with this name and no state joins. All members know from the beginning that it will.
    Join(Name),
    /// A node lies in the next frames that allow it. The node counts as hostile from the beginning.
    Lie(ScriptedLie),
    /// Some nodes learn that another one is a member. They do not know before.
    Name(NameMember),
    /// The host of a node has a fault.
    Host(HostLine),
}

/// A write of an application.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedWrite {
    /// The name of the node that writes.
    pub node: Name,
    /// The operations; together they form one delta.
    #[serde(with = "operations")]
    pub ops: Vec<Operation>,
    /// Whether positions beyond the end of a text or list wrap around.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wraps: bool,
    /// The context to write into, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub context: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_first(context: &usize) -> bool {
    *context == 0
}

/// An operation of a custom replica.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomOp {
    /// The name of the node.
    pub node: Name,
    /// The operation, in the format of the custom replica.
    pub ask: toml::Value,
}

/// A crash of a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// The name of the node.
    pub node: Name,
    /// The point of the crash within a step of the node.
    #[serde(default = "now", with = "name")]
    pub point: CrashPoint,
    /// How long the node stays down; until a restart if not given.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub down_for: Option<SimDuration>,
}

const fn now() -> CrashPoint {
    CrashPoint::Now
}

/// Nodes that cannot reach each other.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Partition {
    /// Nodes of different groups do not reach each other; a node of no group reaches all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<Name>>,
    /// Frames from the first nodes to the second are blocked; the other direction is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_way: Option<(Vec<Name>, Vec<Name>)>,
    /// How long the partition lasts; forever if not given.
    #[serde(with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<SimDuration>,
}

/// A departure of a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// The name of the node.
    pub node: Name,
    /// How long the node is away; until a return if not given.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub away_for: Option<SimDuration>,
}

/// A lie of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedLie {
    /// The name of the node.
    pub node: Name,
    /// The kind of lie.
    pub kind: Lie,
    /// The number of frames in which the node lies.
    #[serde(default = "once")]
    pub frames: u64,
}

/// A new member of which some nodes learn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameMember {
    /// The name of the new member.
    pub joiner: Name,
    /// The nodes that learn of it.
    pub by: Vec<Name>,
}

const fn once() -> u64 {
    1
}

impl ScriptLine {
    /// The name of the node that the event concerns, if there is exactly one.
    pub fn node(&self) -> Option<&Name> {
        match &self.what {
            ScriptAction::Write(ScriptedWrite { node, .. })
            | ScriptAction::Op(CustomOp { node, .. })
            | ScriptAction::Crash(Crash { node, .. })
            | ScriptAction::Leave(Leave { node, .. })
            | ScriptAction::Lie(ScriptedLie { node, .. })
            | ScriptAction::Restart(node)
            | ScriptAction::Return(node)
            | ScriptAction::Join(node) => Some(node),
            ScriptAction::Host(host) => Some(host.node()),
            ScriptAction::Partition(_) | ScriptAction::Name(_) => None,
        }
    }

    /// Whether the event is an operation of a replica.
    pub const fn is_operation(&self) -> bool {
        matches!(self.what, ScriptAction::Write(_) | ScriptAction::Op(_))
    }

    /// Whether the event ends a fault. Shrinking keeps such lines: a run could fail merely because a node
    /// never returns, which is a different failure.
    pub const fn is_recovery(&self) -> bool {
        matches!(self.what, ScriptAction::Restart(_) | ScriptAction::Return(_))
    }

    /// The duration of the event, if it has one.
    pub fn duration_mut(&mut self) -> Option<&mut SimDuration> {
        match &mut self.what {
            ScriptAction::Crash(Crash { down_for: span, .. })
            | ScriptAction::Partition(Partition { lasting: span, .. })
            | ScriptAction::Leave(Leave { away_for: span, .. }) => span.as_mut(),
            ScriptAction::Host(host) => host.duration_mut(),
            ScriptAction::Write(_)
            | ScriptAction::Op(_)
            | ScriptAction::Restart(_)
            | ScriptAction::Return(_)
            | ScriptAction::Join(_)
            | ScriptAction::Name(_)
            | ScriptAction::Lie(_) => None,
        }
    }
}

/// The keys of a line: `at`, `after`, and one kind of event.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum ScriptKey {
    At,
    After,
    Write,
    Op,
    Crash,
    Restart,
    Partition,
    Leave,
    Return,
    Join,
    Lie,
    Name,
    Pause,
    Clock,
    FreezeClock,
    FailWrite,
    LyingDisk,
    Rot,
    BackUp,
    Restore,
    CloneDisk,
    LoseDisk,
}

#[derive(Deserialize)]
struct At(#[serde(with = "time")] SimTime);

struct ScriptLineVisitor;

impl<'de> Visitor<'de> for ScriptLineVisitor {
    type Value = ScriptLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time and what happens then, as in { at = \"1s\", crash = { node = \"bob\" } }")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ScriptLine, M::Error> {
        let mut at = None;
        let mut after = 0;
        let mut what = None;
        while let Some(key) = map.next_key::<ScriptKey>()? {
            let found = match key {
                ScriptKey::At => {
                    at = Some(map.next_value::<At>()?.0);
                    continue;
                }
                ScriptKey::After => {
                    after = map.next_value()?;
                    continue;
                }
                ScriptKey::Write => ScriptAction::Write(map.next_value()?),
                ScriptKey::Op => ScriptAction::Op(map.next_value()?),
                ScriptKey::Crash => ScriptAction::Crash(map.next_value()?),
                ScriptKey::Restart => ScriptAction::Restart(map.next_value()?),
                ScriptKey::Partition => ScriptAction::Partition(map.next_value()?),
                ScriptKey::Leave => ScriptAction::Leave(map.next_value()?),
                ScriptKey::Return => ScriptAction::Return(map.next_value()?),
                ScriptKey::Join => ScriptAction::Join(map.next_value()?),
                ScriptKey::Lie => ScriptAction::Lie(map.next_value()?),
                ScriptKey::Name => ScriptAction::Name(map.next_value()?),
                ScriptKey::Pause => ScriptAction::Host(HostLine::Pause(map.next_value()?)),
                ScriptKey::Clock => ScriptAction::Host(HostLine::Clock(map.next_value()?)),
                ScriptKey::FreezeClock => ScriptAction::Host(HostLine::FreezeClock(map.next_value()?)),
                ScriptKey::FailWrite => ScriptAction::Host(HostLine::FailWrite(map.next_value()?)),
                ScriptKey::LyingDisk => ScriptAction::Host(HostLine::LyingDisk(map.next_value()?)),
                ScriptKey::Rot => ScriptAction::Host(HostLine::Rot(map.next_value()?)),
                ScriptKey::BackUp => ScriptAction::Host(HostLine::BackUp(map.next_value()?)),
                ScriptKey::Restore => ScriptAction::Host(HostLine::Restore(map.next_value()?)),
                ScriptKey::CloneDisk => ScriptAction::Host(HostLine::Clone(map.next_value()?)),
                ScriptKey::LoseDisk => ScriptAction::Host(HostLine::LoseDisk(map.next_value()?)),
            };
            // One event per line, so that shrinking can remove each of them alone.
            if what.replace(found).is_some() {
                return Err(M::Error::custom("two things in one line of the script; give each its own"));
            }
        }
        match (at, what) {
            (Some(at), Some(what)) => Ok(ScriptLine { at, after, what }),
            (None, _) => Err(M::Error::missing_field("at")),
            (_, None) => Err(M::Error::custom(
                "nothing happens here; expected one of write, op, crash, restart, partition, leave, return, join, name, lie, pause, clock, freeze_clock, fail_write, lying_disk, rot, back_up, restore, clone_disk, lose_disk",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for ScriptLine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const KEYS: &[&str] = &[
            "at",
            "after",
            "write",
            "op",
            "crash",
            "restart",
            "partition",
            "leave",
            "return",
            "join",
            "name",
            "lie",
            "pause",
            "clock",
            "freeze_clock",
            "fail_write",
            "lying_disk",
            "rot",
            "back_up",
            "restore",
            "clone_disk",
            "lose_disk",
        ];
        from.deserialize_struct("Happening", KEYS, ScriptLineVisitor)
    }
}

impl Serialize for ScriptLine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut line = to.serialize_struct("Happening", 3)?;
        line.serialize_field("at", &time::write(self.at.as_micros()))?;
        if self.after > 0 {
            line.serialize_field("after", &self.after)?;
        }
        match &self.what {
            ScriptAction::Write(write) => line.serialize_field("write", write)?,
            ScriptAction::Op(op) => line.serialize_field("op", op)?,
            ScriptAction::Crash(crash) => line.serialize_field("crash", crash)?,
            ScriptAction::Restart(node) => line.serialize_field("restart", node)?,
            ScriptAction::Partition(partition) => line.serialize_field("partition", partition)?,
            ScriptAction::Leave(leave) => line.serialize_field("leave", leave)?,
            ScriptAction::Return(node) => line.serialize_field("return", node)?,
            ScriptAction::Join(node) => line.serialize_field("join", node)?,
            ScriptAction::Lie(lie) => line.serialize_field("lie", lie)?,
            ScriptAction::Name(naming) => line.serialize_field("name", naming)?,
            ScriptAction::Host(HostLine::Pause(pause)) => line.serialize_field("pause", pause)?,
            ScriptAction::Host(HostLine::Clock(clock)) => line.serialize_field("clock", clock)?,
            ScriptAction::Host(HostLine::FreezeClock(pause)) => {
                line.serialize_field("freeze_clock", pause)?;
            }
            ScriptAction::Host(HostLine::FailWrite(node)) => line.serialize_field("fail_write", node)?,
            ScriptAction::Host(HostLine::LyingDisk(disk)) => line.serialize_field("lying_disk", disk)?,
            ScriptAction::Host(HostLine::Rot(node)) => line.serialize_field("rot", node)?,
            ScriptAction::Host(HostLine::BackUp(node)) => line.serialize_field("back_up", node)?,
            ScriptAction::Host(HostLine::Restore(restore)) => line.serialize_field("restore", restore)?,
            ScriptAction::Host(HostLine::Clone(clone)) => line.serialize_field("clone_disk", clone)?,
            ScriptAction::Host(HostLine::LoseDisk(lose)) => line.serialize_field("lose_disk", lose)?,
        }
        line.end()
    }
}
