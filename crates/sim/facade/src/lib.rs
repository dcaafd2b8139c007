//! `sync-sim`: real replicas under simulated faults, deterministically.
//!
//! The replicas, their storage and their sync protocols are the ones that run in production; only
//! the network, the disk, the clock and chance are simulated. A run is decided by its seed: the
//! same seed gives the same events, byte for byte, on every machine and in every build profile.
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
//! [`SimRuntime`] is the place to begin. [`engine`] is what it stands on, generic over what it runs.
#![warn(clippy::float_arithmetic)]

pub use sync_sim_cluster::{
    assert_buffer_empty, assert_converged, assert_entity_count, assert_has_entity, assert_idle,
    assert_not_converged, convergence, hostile, metrics, node, oracle, scenarios, stream, workload,
};
pub use sync_sim_engine::history;
pub use sync_sim_report::{forensics, timeline};
pub use sync_sim_search::{case, compare_protocols, coverage, custom, explore, shrink, swarm};

/// The world that runs actors. It knows nothing of replicas.
pub mod engine {
    pub use sync_sim_engine::actor::*;
    pub use sync_sim_engine::event::*;
    pub use sync_sim_engine::world::*;
}

/// How often the sync protocols succeed.
pub mod liveness {
    pub use sync_sim_cluster::liveness::{ProtocolSuccess, SuccessRates};
}

/// The simulated network and its faults.
pub mod network {
    pub use sync_sim_engine::faults::*;
    pub use sync_sim_engine::network::*;
}

/// The runtime that people hold, with its clock, its randomness and its verdicts.
pub mod runtime {
    pub use sync_sim_cluster::runtime::*;
    pub use sync_sim_cluster::verdict::*;
    pub use sync_sim_engine::clock::*;
    pub use sync_sim_engine::event_queue::*;
    pub use sync_sim_engine::random::*;
}

/// How nodes are named.
pub mod types {
    pub use sync_sim_engine::node_id::*;
}

#[cfg(feature = "canary")]
pub use syncline_types::canary;

pub use runtime::{Phase, SimConfig, SimRuntime, StopCondition};
pub use sync_sim_search::test_harness::{Seeds, Trial, check};
pub use sync_sim_test::test;

/// Everything a test needs.
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
