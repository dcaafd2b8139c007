//! Bring your own replica: an [`Actor`] that is not ours, under the same faults, checks and tools.
//!
//! A [`Subject`] says how its nodes are made, what is asked of them, and what must hold. A [`Lab`] runs it:
//! one seed, a sweep of seeds, a case file; it makes failures small and shows them as a page. [`command`]
//! is a whole command line for it. The book's *your own replica* goes through all of it.
//!
//! Whatever of a node is not lost in [`Actor::crash`] counts as its disk. What the simulated disk makes of
//! a step (a crash before the commit, a write that fails, a sync that was a lie) is done to it from outside
//! by going back to an earlier clone, so that the actor need not look at [`Context::commit`].
//!
//! A node that is an `async fn` is a [`Process`]; [`Hosted`] makes an actor of it.
//!
//! `use sync_sim::custom::*` brings all that a subject is made of.

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
pub use process::{Host, Hosted, Owed, Process};
pub use run::Run;
pub use sweep::{Failure, Sweep};

pub use sync_sim_engine::actor::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
pub use sync_sim_engine::faults::FaultConfig;
pub use sync_sim_engine::network::{DropCause, Topology};
pub use sync_sim_engine::node_id::NodeId;
pub use syncline_types::{Choice, Digest, Entropy, SimDuration, SimTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a node was asked for, and what it did not lose in the same step: acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledged<Op> {
    /// When.
    pub at: SimTime,
    /// By whom.
    pub node: NodeId,
    /// What.
    pub op: Op,
    /// Whether the node's disk has lost it since, having said that it is written. Others may have it.
    pub lost: bool,
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// In a word or two that are the same wherever the same thing is wrong: a smaller case must show the
    /// same.
    pub name: &'static str,
    /// What exactly.
    pub detail: String,
}

impl Wrong {
    /// Something that must not be.
    pub fn new(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into() }
    }
}

/// What is tested. It is shared by the threads of a sweep, and decides nothing but by its arguments.
pub trait Subject: Sync {
    /// What a node is asked for. It is written into case files, as TOML.
    type Op: Clone + Serialize + DeserializeOwned;
    /// A node.
    type Node: Actor<Op = Self::Op>;

    /// The node of this number, new and empty.
    fn node(&self, node: NodeId) -> Self::Node;

    /// What a node is asked for next. Chance comes from `chance` alone.
    fn op(&self, node: NodeId, chance: &mut dyn Entropy) -> Self::Op;

    /// Names for the kinds of frames, by number.
    fn kinds(&self) -> &[&str] {
        &[]
    }

    /// What must hold of a node after each event that happened to it.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn invariant(&self, node: &Self::Node) -> Result<(), Wrong> {
        let _ = node;
        Ok(())
    }

    /// What must hold when all nodes have converged, given all that was acknowledged, in order.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn judge(&self, acknowledged: &[Acknowledged<Self::Op>], nodes: &[&Self::Node]) -> Result<(), Wrong> {
        let _ = (acknowledged, nodes);
        Ok(())
    }
}
