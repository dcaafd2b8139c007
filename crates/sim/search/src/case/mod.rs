//! Cases: everything that determines a run, in a TOML file that people read, write and reduce.
//!
//! A case contains the initial state of a run, the random faults, and, in its script, explicit events with
//! their times. The same format serves scenarios written by hand and failures found by a search. A setting
//! that is left out has the default of [`SimConfig`].
//!
//! A file has a version, [`FORMAT`]. A build reads exactly that version and refuses an older or newer one
//! with [`CaseError::Version`]; a file without a version has the current one. An unknown key or name is
//! refused too. Adding a key or a name leaves the version as it is, since stored files stay readable;
//! removing or renaming one, or changing a meaning, requires a new version.
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
mod cause;
mod entities;
mod entity_path;
mod error;
mod external_nodes;
mod failure_class;
mod frame_line;
mod host_line;
mod hostile;
mod limits;
pub(crate) mod operations;
mod rename;
mod replica_setting;
mod script_line;
mod serde_names;
mod toml;

pub use cause::Cause;
pub use entities::Entities;
pub use error::CaseError;
pub(crate) use failure_class::run_while;
pub use failure_class::{AbnormalEnd, Class, RunResult};
pub use frame_line::{FrameLine, RuleAction, RuleLine};
pub use host_line::{Clock, CloneDisk, HostLine, LoseDisk, LyingDisk, Pause, Restore};
pub use limits::{MOST_ENTITIES, MOST_NODES};
pub use script_line::{
    Crash, CustomOp, Leave, NameMember, Partition, ScriptAction, ScriptLine, ScriptedLie, ScriptedWrite,
};
pub(crate) use serde_names::rounded_down;

use crate::case::serde_names::{maybe_name, maybe_time, name, whole};
use serde::{Deserialize, Serialize};
use std::fmt;
use sync_sim_cluster::hostile::Lies;
use sync_sim_cluster::runtime::{ReplicaSettings, SimConfig};
use sync_sim_cluster::workload::{MergeFaults, Workload};
use sync_sim_engine::faults::{FaultConfig, time};
use sync_sim_engine::network::Topology;
use sync_sim_engine::random::Splice;
use syncline_replica::Operation;
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::{SimDuration, SimTime};

/// The version of the format that this build reads and writes.
pub const FORMAT: u32 = 1;

/// The name of a node.
pub type Name = String;

/// Everything that determines a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Case {
    /// The version of the format: [`FORMAT`].
    pub version: u32,
    /// The class of the failure for which a search stored the case; `None` for a case written by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Class>,
    /// The seed of all random decisions.
    #[serde(with = "whole")]
    pub seed: u64,
    /// Where the run continues with the draws of other seeds: `{ after_draws = 700, seed = 3 }`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub splices: Vec<SpliceLine>,
    /// The virtual time at which the run stops, converged or not.
    #[serde(with = "time")]
    pub max_time: SimTime,
    /// The number of events after which the run stops.
    #[serde(with = "whole")]
    pub max_events: u64,
    /// The duration of random partitions, crashes, departures and writes during syncs, from the beginning
    /// of the run.
    #[serde(with = "time")]
    pub chaos_for: SimDuration,
    /// The time from which on no fault happens, and nodes that are down or away return. Never, if not
    /// given.
    #[serde(with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub calm_after: Option<SimDuration>,
    /// The number of contexts on each node.
    pub contexts: usize,
    /// Which pairs of nodes have a link.
    #[serde(with = "name")]
    pub topology: Topology,
    /// How sessions select their protocol.
    #[serde(with = "name")]
    pub selection: Selection,
    /// The protocol that sessions request wherever it can run; by `selection` if not given.
    #[serde(with = "maybe_name", skip_serializing_if = "Option::is_none")]
    pub protocol: Option<SyncProtocolKind>,
    /// The number of deltas of each author that a node retains for peers that lack them.
    #[serde(with = "whole")]
    pub delta_retention: u64,
    /// The most deltas that a node buffers while it waits for their causal predecessors.
    pub buffer_capacity: usize,
    /// The greatest size of a frame that an honest node may send, in bytes. A larger frame fails the run.
    pub max_frame_bytes: usize,
    /// Whether tombstones are collected once every member has seen the deletion.
    pub forget_tombstones: bool,
    /// What is wrong with the merge function of the random writes.
    #[serde(skip_serializing_if = "MergeFaults::is_none")]
    pub merge_faults: MergeFaults,
    /// Within what time around the moment when a late joiner joins each node learns of it, at a moment of its own; if
    /// zero, all nodes know from the beginning.
    #[serde(with = "time", skip_serializing_if = "is_no_time")]
    pub naming_spread: SimDuration,
    /// Whether a counter that is written again after a delete must begin anew, see
    /// [`SimConfig::counters_reset`].
    #[serde(skip_serializing_if = "is_false")]
    pub counters_reset: bool,
    /// The entities that all nodes begin with in their first context, except nodes with `shared = false`.
    /// Requires [`Case::nodes`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<Entities>,
    /// The nodes, unless a scenario defines them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<CaseNode>,
    /// The rules for frames, in the order of evaluation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleLine>,
    /// The events with their times. A run does not end before the last of them has happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<ScriptLine>,
    /// The faults of single frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<FrameLine>,
    /// A named scenario that defines the nodes, instead of [`Case::nodes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<ScenarioSpec>,
    /// The number of replicas that wrote once each before the run, beside each other, and are no nodes of it. All
    /// nodes with shared state begin with their deltas. Requires `forget_tombstones = false`, since nodes that know
    /// the members refuse deltas of others.
    pub former_authors: usize,
    /// The pauses, sizes and limits of the replicas.
    pub replica: ReplicaSettings,
    /// The random faults of the run.
    pub faults: FaultConfig,
    /// The random writes of the run.
    pub workload: Workload,
}

/// Where a run continues with the draws of another seed; see [`Splice`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpliceLine {
    /// The number of draws before.
    #[serde(with = "whole")]
    pub after_draws: u64,
    /// The seed of the draws after.
    #[serde(with = "whole")]
    pub seed: u64,
}

impl From<SpliceLine> for Splice {
    fn from(line: SpliceLine) -> Self {
        let SpliceLine { after_draws, seed } = line;
        Self { after_draws, seed }
    }
}

/// A scenario by its name; see [`NAMED`](sync_sim_cluster::scenarios::NAMED).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScenarioSpec {
    /// The name of the scenario.
    pub name: String,
    /// The number of nodes.
    pub nodes: usize,
    /// The number of entities on each node; the scenario defines the details.
    pub entities: usize,
}

impl Default for ScenarioSpec {
    fn default() -> Self {
        Self { name: "diverged".into(), nodes: 3, entities: 10 }
    }
}

/// One node and its initial state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseNode {
    /// The name of the node.
    pub name: Name,
    /// Whether the node begins with the shared entities.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub shared: bool,
    /// The entities that only this node begins with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entities>,
    /// The writes of the application before the run, each a delta that no other node has. In a file, a
    /// write of one operation is that operation, and a write of several is a list.
    #[serde(default, with = "operations::writes", skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<Vec<Operation>>,
    /// The contents of the contexts after the first, in order; contexts that are left out are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<ContextContents>,
    /// The kinds of lies that the node tells at random. A node with any is hostile. The
    /// [faults](sync_sim_cluster::hostile::HostileFaults::rate) give the rate.
    #[serde(default, skip_serializing_if = "Lies::is_none")]
    pub hostile: Lies,
    /// Whether the other nodes do not count the node as a member. Requires `hostile`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outsider: bool,
}

impl CaseNode {
    /// A node with no state of its own.
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

    /// The writes before the run into the context of this number; empty if the case has none.
    pub(crate) fn writes_in(&self, context: usize) -> &[Vec<Operation>] {
        match context.checked_sub(1) {
            None => &self.writes,
            Some(other) => self.contexts.get(other).map_or(&[], |contents| &contents.writes),
        }
    }

    /// Like [`CaseNode::writes_in`]; creates the contents of the context if there are none.
    pub(crate) fn writes_in_mut(&mut self, context: usize) -> &mut Vec<Vec<Operation>> {
        match context.checked_sub(1) {
            None => &mut self.writes,
            Some(other) => &mut self.context_mut(other).writes,
        }
    }

    /// The entities that only this node has in the context of this number; empty if the case has none.
    pub(crate) fn entities_in(&self, context: usize) -> &[Entities] {
        match context.checked_sub(1) {
            None => &self.entities,
            Some(other) => self.contexts.get(other).map_or(&[], |contents| &contents.entities),
        }
    }

    /// Like [`CaseNode::entities_in`]; creates the contents of the context if there are none.
    pub(crate) fn entities_in_mut(&mut self, context: usize) -> &mut Vec<Entities> {
        match context.checked_sub(1) {
            None => &mut self.entities,
            Some(other) => &mut self.context_mut(other).entities,
        }
    }

    /// The contents of the context after the first with this index.
    fn context_mut(&mut self, other: usize) -> &mut ContextContents {
        if self.contexts.len() <= other {
            self.contexts.resize_with(other + 1, ContextContents::default);
        }
        &mut self.contexts[other]
    }
}

/// The contents of one context after the first on one node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextContents {
    /// The entities that the context begins with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entities>,
    /// The writes before the run; see [`CaseNode::writes`].
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_no_time(span: &SimDuration) -> bool {
    *span == SimDuration::ZERO
}

impl Default for Case {
    /// No nodes, no writes, a network with latency and no faults: the values of what a file leaves out.
    fn default() -> Self {
        let SimConfig {
            max_time,
            max_events,
            chaos_for,
            delta_retention,
            buffer_capacity,
            max_frame_bytes,
            forget_tombstones,
            counters_reset,
            merge_faults,
            naming_spread,
            contexts,
            ..
        } = SimConfig::with_seed(0);
        Self {
            version: FORMAT,
            found: None,
            seed: 0,
            splices: Vec::new(),
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
            max_frame_bytes,
            forget_tombstones,
            counters_reset,
            merge_faults,
            naming_spread,
            shared: Vec::new(),
            nodes: Vec::new(),
            rules: Vec::new(),
            script: Vec::new(),
            frames: Vec::new(),
            scenario: None,
            former_authors: 0,
            replica: ReplicaSettings::default(),
            faults: FaultConfig::default(),
            workload: Workload { writes: 0, ..Workload::default() },
        }
    }
}

/// The number of possible causes of a failure in a case, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Size {
    /// The nodes at the beginning of the run.
    pub nodes: usize,
    /// The contexts on each node.
    pub contexts: usize,
    /// The lines of initial entities; a run such as `alice/0..300` is one line.
    pub entities: usize,
    /// The writes, scripted and random.
    pub writes: usize,
    /// The crashes, partitions, departures, late joiners, hostile nodes and rules, and the random faults
    /// that are not off.
    pub faults: usize,
    /// The lines of frame faults.
    pub frames: usize,
}

impl Size {
    /// The number of causes: all but the nodes and their contexts.
    pub const fn causes(&self) -> usize {
        self.entities + self.writes + self.faults + self.frames
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, contexts, entities, writes, faults, frames } = self;
        let counted = [
            (*nodes, "node", "nodes"),
            // A single context is the usual case and not worth a mention.
            (if *contexts > 1 { *contexts } else { 0 }, "context", "contexts"),
            (*entities, "line of initial entities", "lines of initial entities"),
            (*writes, "write", "writes"),
            (*faults, "fault", "faults"),
            (*frames, "frame fault", "frame faults"),
        ];
        let parts = counted
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}
