//! Replicas of another design, under the same faults, checks and tools as Syncline's own.
//!
//! A [`Subject`] defines how its nodes are created, what operations they receive and what must hold. A [`Lab`]
//! runs it: one seed, a sweep over many seeds, or a case file. It shrinks failures and renders them as a page.
//! [`command`] is a complete command line. The chapter *Your own replica* of the book is the tutorial.
//!
//! Whatever of a node survives [`Actor::crash`] counts as its disk. The simulated disk acts on it from outside:
//! for a crash before the commit, a write that fails or a sync that was not durable, the node is replaced by an
//! earlier clone of itself. The actor therefore need not read [`Context::commit`].
//!
//! A node that is an `async fn` is a [`Process`]; [`Hosted`] turns it into an actor.
//!
//! `use sync_sim::custom::*` imports everything that a subject needs.

mod case_binding;
pub mod command;
mod disk_shim;
mod divergence;
mod harness;
mod process;
mod report;
mod run;
mod sweep;

pub use harness::Lab;
pub use process::{Host, Hosted, Process, WorkGuard};
pub use run::LabRun;
pub use sweep::{SeedFailure, Sweep};

pub use sync_sim_engine::actor::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
pub use sync_sim_engine::faults::FaultConfig;
pub use sync_sim_engine::network::{DropCause, Topology};
pub use sync_sim_engine::node_id::NodeId;
pub use syncline_types::{Choice, Digest, Entropy, SimDuration, SimTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An operation that a node was asked for and acknowledged: the node did not lose it in the same step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledged<Op> {
    /// The time of the step.
    pub at: SimTime,
    /// The node that acknowledged.
    pub node: NodeId,
    /// The operation as it was asked for.
    pub op: Op,
    /// Whether the node's disk lost the operation later, after a sync that it had reported as done. Other nodes
    /// may still have it.
    pub lost: bool,
}

/// An invariant that an application has checked and found violated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The name of the invariant, in one or two words. Failures with the same name are of the same class:
    /// shrinking preserves it.
    pub name: &'static str,
    /// The values that violate it.
    pub detail: String,
}

impl Violation {
    /// The violation of an invariant by some values.
    pub fn new(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into() }
    }
}

/// The system under test. The threads of a sweep share it, and its results depend on its arguments only.
pub trait Subject: Sync {
    /// An operation that a node is asked for. Case files store it as TOML.
    type Op: Clone + Serialize + DeserializeOwned;
    /// The replica that runs on every node.
    type Node: Actor<Op = Self::Op>;

    /// A new and empty node with this number.
    fn node(&self, node: NodeId) -> Self::Node;

    /// The next operation for a node. `random` is the only source of randomness that it may use.
    fn op(&self, node: NodeId, random: &mut dyn Entropy) -> Self::Op;

    /// The names of the kinds of frames; the index is the kind.
    fn kinds(&self) -> &[&str] {
        &[]
    }

    /// Checks a node after each event of that node.
    ///
    /// # Errors
    ///
    /// The invariant that the node violates.
    fn invariant(&self, node: &Self::Node) -> Result<(), Violation> {
        let _ = node;
        Ok(())
    }

    /// Checks the state that all nodes have converged to against all acknowledged operations, in their order.
    ///
    /// # Errors
    ///
    /// The invariant that the state violates.
    fn judge(&self, acknowledged: &[Acknowledged<Self::Op>], nodes: &[&Self::Node]) -> Result<(), Violation> {
        let _ = (acknowledged, nodes);
        Ok(())
    }
}
