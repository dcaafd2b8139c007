//! `sync-sim`: deterministic simulation of real replicas under faults.
//!
//! The replicas, their storage and their sync protocols are the production code. Only what surrounds them is
//! simulated: the network, the disk, the clock and randomness. A run is a function of its seed: the same seed
//! gives the same events, byte for byte, on every machine and in every build profile. A failure that one run
//! finds can therefore be repeated, investigated and made small.
//!
//! # A first run
//!
//! ```
//! use sync_sim::prelude::*;
//!
//! let mut rt = SimRuntime::with_seed(42);
//! let nodes = rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
//! let result = rt.run();
//! assert_converged!(rt);
//! assert_eq!(result, StopCondition::Converged);
//! assert_entity_count!(rt, nodes[0], 30);
//! ```
//!
//! # The steps of a simulation
//!
//! 1. *Configure*: [`SimConfig`] holds the seed, the limits and the faults
//!    ([`FaultConfig`](network::FaultConfig)) of a run.
//! 2. *Set up*: a [`Scenario`](scenarios::Scenario) gives the nodes and their initial state, a
//!    [`Workload`](workload::Workload) adds random writes, and the methods of [`SimRuntime`] schedule crashes,
//!    partitions and writes at chosen times.
//! 3. *Run*: [`SimRuntime::run`] processes events until the replicas have converged, an invariant is violated, or
//!    a limit is reached. The [`StopCondition`] says which.
//! 4. *Assert*: macros such as [`assert_converged!`] explain what is missing when they fail.
//!
//! # The modules
//!
//! | to | use |
//! |---|---|
//! | run a simulation | [`runtime`], [`scenarios`], [`workload`] |
//! | choose faults | [`network`], [`hostile`] |
//! | see what happened | [`metrics`], [`history`], [`node`], [`convergence`], [`oracle`] |
//! | run a protocol over a byte stream | [`stream`] |
//! | store a run as a file | [`case`] |
//! | search for failures | [`swarm`], [`guided`], [`coverage`], [`known`], [`explore`], [`compare_protocols`] |
//! | understand a failure | [`shrink`], [`forensics`], [`timeline`] |
//! | test a replica of another design | [`custom`] |
//! | build on the event loop alone | [`engine`] |
//!
//! The crate is a facade: it re-exports the crates of the simulator under stable names. [`engine`] runs any
//! [`Actor`](engine::Actor) and depends on no replica.
#![warn(clippy::float_arithmetic)]

pub use sync_sim_cluster::compare_protocols;
pub use sync_sim_cluster::{
    assert_buffer_empty, assert_converged, assert_entity_count, assert_has_entity, assert_idle,
    assert_not_converged, budgets, checks, convergence, hostile, metrics, node, oracle, scenarios, stream,
    workload,
};
pub use sync_sim_engine::history;
pub use sync_sim_explore as explore;
pub use sync_sim_report::{forensics, timeline};
pub use sync_sim_search::{case, coverage, custom, guided, known, shrink, swarm};

/// The event loop: a world of actors, its events, and the faults of nodes. It depends on no replica.
pub mod engine {
    pub use sync_sim_engine::actor::*;
    pub use sync_sim_engine::event::*;
    pub use sync_sim_engine::world::*;
}

/// The success rate of each sync protocol over many runs.
pub mod liveness {
    pub use sync_sim_cluster::liveness::{ProtocolSuccess, SuccessRates};
}

/// The simulated network: links, topologies, partitions and rules for frames, and the configuration of all
/// faults.
pub mod network {
    pub use sync_sim_engine::faults::*;
    pub use sync_sim_engine::network::*;
}

/// The runtime of a simulation, with its clock, its randomness and its verdicts.
pub mod runtime {
    pub use sync_sim_cluster::runtime::*;
    pub use sync_sim_cluster::verdict::*;
    pub use sync_sim_engine::clock::*;
    pub use sync_sim_engine::event_queue::*;
    pub use sync_sim_engine::random::*;
}

/// The identifiers of nodes.
pub mod types {
    pub use sync_sim_engine::node_id::*;
}

#[cfg(feature = "canary")]
pub use syncline_types::canary;

pub use runtime::{Phase, SimConfig, SimRuntime, StopCondition};
pub use sync_sim_search::test_harness::{SeedTest, Seeds, check};
pub use sync_sim_test::test;

/// The types and macros that most tests need.
pub mod prelude {
    pub use crate::engine::{CrashPoint, HostEffects};
    pub use crate::network::{
        DropCause, FaultConfig, HostFaults, LinkFaults, LinkMetrics, LinkModel, LinkProperties,
        NetworkRouter, PartitionManager, PartitionSpec, Rate, Rule, Topology, Verdict,
    };
    pub use crate::runtime::{
        Check, EndedSession, Phase, Property, SimClock, SimConfig, SimRuntime, StopCondition,
    };
    pub use crate::{
        assert_buffer_empty, assert_converged, assert_entity_count, assert_has_entity, assert_idle,
        assert_not_converged,
    };
    pub use sync_sim_cluster::convergence::{Convergence, ConvergenceDiff, ConvergencePending};
    pub use sync_sim_cluster::hostile::{HostileFaults, Lie};
    pub use sync_sim_cluster::metrics::SimMetrics;
    pub use sync_sim_cluster::node::{SimNode, SimReplica};
    pub use sync_sim_cluster::scenarios::{RandomScenario, RandomScenarioConfig, Scenario};
    pub use sync_sim_cluster::stream::{SimNet, SimStream};
    pub use sync_sim_cluster::workload::Workload;
    pub use sync_sim_engine::node_id::{NodeId, NodeRef};
    pub use sync_sim_search::case::Case;
    pub use syncline_replica::{FrameKind, Operation, Target};
    pub use syncline_sync::{Selection, SyncProtocolKind};
    pub use syncline_types::{Digest, EntityId, SimDuration, SimTime};
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
struct Readme;

/// The book's examples compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/book/first-run.md")]
struct BookFirstRun;

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/book/faults.md")]
struct BookFaults;

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/book/writing-scenarios.md")]
struct BookScenarios;

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/book/your-own-replica.md")]
struct BookOwnReplica;
