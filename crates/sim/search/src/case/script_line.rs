//! Things that happen at a time of a run, one line each.

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

/// Something that happens at a time: `{ at = "250ms", leave = { node = "bob", away_for = "2s" } }`.
#[derive(Clone, PartialEq, Debug)]
pub struct Happening {
    /// When.
    pub at: SimTime,
    /// After how many of the frames that arrive, the timers and the like of that very instant: a case that
    /// was made of a run must say so to do the same. Before all of them, if not said.
    pub after: u32,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// An application writes.
    Write(Write),
    /// A replica of one's own is asked for something; see [`own`](crate::custom).
    Op(Asked),
    /// A node goes down.
    Crash(Crash),
    /// A node that is down comes back.
    Restart(Name),
    /// Frames between some nodes are stopped.
    Partition(Partition),
    /// A node loses its links; its memory stays.
    Leave(Leave),
    /// A node that left comes back.
    Return(Name),
    /// A node of this name, with nothing in it, comes up. All know from the beginning that it will.
    Join(Name),
    /// A node lies in the next frames that give it a chance to. It is a hostile one from the beginning.
    Lie(Lying),
}

/// An application writes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// Where.
    pub node: Name,
    /// What: one delta.
    #[serde(with = "operations")]
    pub ops: Vec<Operation>,
    /// Whether positions beyond the end of a text or a list count on from its beginning.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wraps: bool,
    /// Into which of the contexts of the node, from 0.
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

/// A replica of one's own is asked for something.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Which.
    pub node: Name,
    /// For what, in its own words.
    pub ask: toml::Value,
}

/// A node goes down.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Which.
    pub node: Name,
    /// Where in its work.
    #[serde(default = "now", with = "name")]
    pub point: CrashPoint,
    /// For how long; until it is restarted if not said.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub down_for: Option<SimDuration>,
}

const fn now() -> CrashPoint {
    CrashPoint::Now
}

/// Frames between some nodes are stopped.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Partition {
    /// Nodes of different groups do not reach each other; a node of no group reaches all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<Name>>,
    /// Frames from the first nodes do not reach the second; the other way is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_way: Option<(Vec<Name>, Vec<Name>)>,
    /// For how long; for good if not said.
    #[serde(with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<SimDuration>,
}

/// A node loses its links.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Which.
    pub node: Name,
    /// For how long; until it returns if not said.
    #[serde(default, with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub away_for: Option<SimDuration>,
}

/// A node lies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lying {
    /// Which.
    pub node: Name,
    /// How.
    pub kind: Lie,
    /// In how many frames.
    #[serde(default = "once")]
    pub frames: u64,
}

const fn once() -> u64 {
    1
}

impl Happening {
    /// The node that it happens to, if it is one alone.
    pub fn node(&self) -> Option<&Name> {
        match &self.what {
            What::Write(Write { node, .. })
            | What::Op(Asked { node, .. })
            | What::Crash(Crash { node, .. })
            | What::Leave(Leave { node, .. })
            | What::Lie(Lying { node, .. })
            | What::Restart(node)
            | What::Return(node)
            | What::Join(node) => Some(node),
            What::Partition(_) => None,
        }
    }

    /// Whether it asks a replica for something.
    pub const fn asks(&self) -> bool {
        matches!(self.what, What::Write(_) | What::Op(_))
    }

    /// Whether it undoes something: without it a run may fail for no better reason than that.
    pub const fn mends(&self) -> bool {
        matches!(self.what, What::Restart(_) | What::Return(_))
    }

    /// How long it lasts, if that is said.
    pub fn lasting(&mut self) -> Option<&mut SimDuration> {
        match &mut self.what {
            What::Crash(Crash { down_for: span, .. })
            | What::Partition(Partition { lasting: span, .. })
            | What::Leave(Leave { away_for: span, .. }) => span.as_mut(),
            What::Write(_)
            | What::Op(_)
            | What::Restart(_)
            | What::Return(_)
            | What::Join(_)
            | What::Lie(_) => None,
        }
    }
}

/// The keys of a happening: `at`, and one of the others.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
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
}

#[derive(Deserialize)]
struct At(#[serde(with = "time")] SimTime);

struct HappeningVisitor;

impl<'de> Visitor<'de> for HappeningVisitor {
    type Value = Happening;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time and what happens then, as in { at = \"1s\", crash = { node = \"bob\" } }")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Happening, M::Error> {
        let (mut at, mut after, mut what) = (None, 0, None);
        while let Some(key) = map.next_key::<Key>()? {
            let found = match key {
                Key::At => {
                    at = Some(map.next_value::<At>()?.0);
                    continue;
                }
                Key::After => {
                    after = map.next_value()?;
                    continue;
                }
                Key::Write => What::Write(map.next_value()?),
                Key::Op => What::Op(map.next_value()?),
                Key::Crash => What::Crash(map.next_value()?),
                Key::Restart => What::Restart(map.next_value()?),
                Key::Partition => What::Partition(map.next_value()?),
                Key::Leave => What::Leave(map.next_value()?),
                Key::Return => What::Return(map.next_value()?),
                Key::Join => What::Join(map.next_value()?),
                Key::Lie => What::Lie(map.next_value()?),
            };
            if what.replace(found).is_some() {
                return Err(M::Error::custom("two things in one line of the script; give each its own"));
            }
        }
        match (at, what) {
            (Some(at), Some(what)) => Ok(Happening { at, after, what }),
            (None, _) => Err(M::Error::missing_field("at")),
            (_, None) => Err(M::Error::custom(
                "nothing happens here; expected one of write, op, crash, restart, partition, leave, return, join",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Happening {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const KEYS: &[&str] =
            &["at", "after", "write", "op", "crash", "restart", "partition", "leave", "return", "join"];
        from.deserialize_struct("Happening", KEYS, HappeningVisitor)
    }
}

impl Serialize for Happening {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut line = to.serialize_struct("Happening", 3)?;
        line.serialize_field("at", &time::write(self.at.as_micros()))?;
        if self.after > 0 {
            line.serialize_field("after", &self.after)?;
        }
        match &self.what {
            What::Write(write) => line.serialize_field("write", write)?,
            What::Op(asked) => line.serialize_field("op", asked)?,
            What::Crash(crash) => line.serialize_field("crash", crash)?,
            What::Restart(node) => line.serialize_field("restart", node)?,
            What::Partition(partition) => line.serialize_field("partition", partition)?,
            What::Leave(leave) => line.serialize_field("leave", leave)?,
            What::Return(node) => line.serialize_field("return", node)?,
            What::Join(node) => line.serialize_field("join", node)?,
            What::Lie(lying) => line.serialize_field("lie", lying)?,
        }
        line.end()
    }
}
