//! Cases: everything that decides a run, as a file that people read, write and cut down.
//!
//! A case says where a run begins, what goes wrong by chance, and, in its script, what happens when. The same
//! format serves scenarios written by hand and failures that were found; whatever is left out has the
//! default of [`SimConfig`].
//!
//! ```
//! use sync_sim::prelude::*;
//!
//! let case: Case = r#"
//!     seed = 7
//!     nodes = [{ name = "alice", entities = ["page/0..10"] }, { name = "bob" }]
//!     script = [
//!         { at = "20ms", write = { node = "bob", ops = [{ increment = { target = "likes", by = 2 } }] } },
//!         { at = "30ms", crash = { node = "alice", point = "after_commit", down_for = "1s" } },
//!     ]
//!     frames = [{ from = "bob", to = "alice", frame = 1, lost = true }]
//!
//!     [faults]
//!     message_loss_rate = 0.05
//! "#.parse()?;
//! assert!(case.run()?.class.is_converged());
//! # Ok::<(), sync_sim::case::CaseError>(())
//! ```

mod build;
mod entities;
mod entity_path;
mod error;
mod external_nodes;
mod failure_class;
mod frame_line;
mod hostile;
pub(crate) mod operations;
mod script_line;
mod serde_names;
mod toml;

pub use entities::Entities;
pub use error::CaseError;
pub use failure_class::{Class, Ended};
pub use frame_line::{Done, Frame, RuleLine};
pub use script_line::{Asked, Crash, Happening, Leave, Lying, Partition, What, Write};
pub(crate) use serde_names::rounder;

use crate::case::serde_names::{maybe_name, maybe_time, name, whole};
use serde::{Deserialize, Serialize};
use std::fmt;
use sync_sim_cluster::hostile::Lies;
use sync_sim_cluster::runtime::SimConfig;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::{FaultConfig, time};
use sync_sim_engine::network::Topology;
use syncline_replica::Operation;
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime};

/// The format that this build reads and writes.
pub const FORMAT: u32 = 1;

/// The name of a node.
pub type Name = String;

/// Everything that decides a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Case {
    /// The format: [`FORMAT`].
    pub version: u32,
    /// How a run of it ended when it was written down, if it was found and not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Class>,
    /// Decides all that is left to chance.
    #[serde(with = "whole")]
    pub seed: u64,
    /// When the run stops, converged or not.
    #[serde(with = "time")]
    pub max_time: SimTime,
    /// After how many events it stops.
    #[serde(with = "whole")]
    pub max_events: u64,
    /// For how long partitions, crashes, departures and writes during syncs happen by chance.
    #[serde(with = "time")]
    pub chaos_for: SimDuration,
    /// When the network calms, after the run began: nothing goes wrong from then on, and who is down or away
    /// comes back. Never, if not said.
    #[serde(with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub calm_after: Option<SimDuration>,
    /// How many contexts each node keeps.
    pub contexts: usize,
    /// Which nodes have a link to each other.
    #[serde(with = "name")]
    pub topology: Topology,
    /// How sessions choose their protocol.
    #[serde(with = "name")]
    pub selection: Selection,
    /// The protocol that sessions run wherever it can be run.
    #[serde(with = "maybe_name", skip_serializing_if = "Option::is_none")]
    pub protocol: Option<SyncProtocolKind>,
    /// Deltas of each author that a node keeps for those who lack them.
    #[serde(with = "whole")]
    pub delta_retention: u64,
    /// Deltas a node may keep waiting.
    pub buffer_capacity: usize,
    /// Whether tombstones are forgotten once every node has seen what they delete.
    pub forget_tombstones: bool,
    /// What all nodes begin with in their first context, unless one says otherwise. Goes with [`Case::nodes`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Entities>,
    /// The nodes, if they are not those of a scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// What is done to frames, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleLine>,
    /// What happens when. The run is not over before all of it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Happening>,
    /// What links do to single frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// A scenario by its name, if the nodes are not told one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Beginning>,
    /// What goes wrong by chance.
    pub faults: FaultConfig,
    /// What is written by chance.
    pub workload: Workload,
}

/// A scenario by its name; see [`NAMED`](sync_sim_cluster::scenarios::NAMED).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Beginning {
    /// Its name.
    pub name: String,
    /// For how many nodes.
    pub nodes: usize,
    /// With how many entities on each; what that means exactly is the scenario's to say.
    pub entities: usize,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { name: "diverged".into(), nodes: 3, entities: 10 }
    }
}

/// One node at the beginning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// Whether it has what all share.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub shared: bool,
    /// What it has besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entities>,
    /// What its application wrote before the run, each write a delta that nobody else has. In a file, one of
    /// a single operation is that operation, and one of several a list of them.
    #[serde(default, with = "operations::writes", skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<Vec<Operation>>,
    /// What it has and wrote in its contexts after the first, in order; nothing in those that are not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<Held>,
    /// What it says by chance that is not so; a node that says anything of that kind is hostile. How often, the
    /// [faults](sync_sim_cluster::hostile::HostileFaults::rate) say.
    #[serde(default, skip_serializing_if = "Lies::is_none")]
    pub hostile: Lies,
    /// Whether nobody takes it for a member. Goes with `hostile`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outsider: bool,
}

impl Node {
    /// One with nothing.
    pub fn empty(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            shared: true,
            entities: Vec::new(),
            writes: Vec::new(),
            contexts: Vec::new(),
            hostile: Lies::NONE,
            outsider: false,
        }
    }

    /// What its application wrote before the run into the context of this number, if anything is told of that.
    pub(crate) fn writes_in(&self, context: usize) -> &[Vec<Operation>] {
        match context.checked_sub(1) {
            None => &self.writes,
            Some(other) => self.contexts.get(other).map_or(&[], |held| &held.writes),
        }
    }

    pub(crate) fn writes_in_mut(&mut self, context: usize) -> &mut Vec<Vec<Operation>> {
        match context.checked_sub(1) {
            None => &mut self.writes,
            Some(other) => &mut self.held_mut(other).writes,
        }
    }

    /// What it begins with in the context of this number, beside what all share.
    pub(crate) fn entities_in_mut(&mut self, context: usize) -> &mut Vec<Entities> {
        match context.checked_sub(1) {
            None => &mut self.entities,
            Some(other) => &mut self.held_mut(other).entities,
        }
    }

    fn held_mut(&mut self, other: usize) -> &mut Held {
        if self.contexts.len() <= other {
            self.contexts.resize_with(other + 1, Held::default);
        }
        &mut self.contexts[other]
    }
}

/// What a node has in one of its contexts after the first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Held {
    /// What it begins with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entities>,
    /// What its application wrote before the run; see [`Node::writes`].
    #[serde(with = "operations::writes", skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<Vec<Operation>>,
}

const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for Case {
    /// No nodes, no writes, a network with distance and no faults: what a file leaves out.
    fn default() -> Self {
        let SimConfig {
            max_time,
            max_events,
            chaos_for,
            delta_retention,
            buffer_capacity,
            forget_tombstones,
            contexts,
            ..
        } = SimConfig::with_seed(0);
        Self {
            version: FORMAT,
            found: None,
            seed: 0,
            max_time,
            max_events,
            chaos_for,
            calm_after: None,
            contexts,
            topology: Topology::default(),
            selection: Selection::default(),
            protocol: None,
            delta_retention,
            buffer_capacity,
            forget_tombstones,
            shared: Vec::new(),
            nodes: Vec::new(),
            rules: Vec::new(),
            script: Vec::new(),
            frames: Vec::new(),
            scenario: None,
            faults: FaultConfig::default(),
            workload: Workload { writes: 0, ..Workload::default() },
        }
    }
}

/// What a case holds of each thing that can bring a failure about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Size {
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Contexts of each node.
    pub contexts: usize,
    /// What they begin with, in lines: a run of entities, as in `alice/0..300`, is one.
    pub entities: usize,
    /// Writes, by script or by chance.
    pub writes: usize,
    /// Crashes, partitions, departures, late joiners and rules, and kinds of chance that are not off.
    pub faults: usize,
    /// Frames that something is done to, thing by thing.
    pub frames: usize,
}

impl Size {
    /// Events of cause: all but the nodes and their contexts.
    pub const fn causes(&self) -> usize {
        self.entities + self.writes + self.faults + self.frames
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, contexts, entities, writes, faults, frames } = self;
        let counted = [
            (*nodes, "node", "nodes"),
            // One goes without saying.
            (if *contexts > 1 { *contexts } else { 0 }, "context", "contexts"),
            (*entities, "line of initial entities", "lines of initial entities"),
            (*writes, "write", "writes"),
            (*faults, "fault", "faults"),
            (*frames, "frame fault", "frame faults"),
        ];
        let said = counted
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}
