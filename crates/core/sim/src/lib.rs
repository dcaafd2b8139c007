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

mod assertions;
pub mod case;
pub mod compare;
pub mod convergence;
pub mod coverage;
pub mod engine;
pub mod explore;
pub mod film;
pub mod forensics;
pub mod history;
pub mod hostile;
pub mod metrics;
pub mod network;
pub mod node;
pub mod notation;
pub mod oracle;
pub mod own;
pub mod paths;
pub mod runtime;
pub mod scenarios;
pub mod stream;
pub mod swarm;
mod trial;
pub mod types;
mod watch;
pub mod workload;

#[cfg(feature = "canary")]
pub use syncline_types::canary;

pub use runtime::{Phase, SimConfig, SimRuntime, StopCondition};
pub use sync_sim_test::test;
pub use trial::{Seeds, Trial, check};

/// Everything a test needs.
pub mod prelude {
    pub use crate::case::Case;
    pub use crate::convergence::{Convergence, ConvergenceDiff, ConvergencePending};
    pub use crate::engine::{CrashPoint, HostEffects};
    pub use crate::hostile::{HostileFaults, Lie};
    pub use crate::metrics::SimMetrics;
    pub use crate::network::{
        DropCause, FaultConfig, HostFaults, LinkFaults, LinkMetrics, LinkModel, LinkProperties,
        NetworkRouter, PartitionManager, PartitionSpec, Rate, Rule, Topology, Verdict,
    };
    pub use crate::node::{SimNode, SimReplica};
    pub use crate::runtime::{
        Check, EndedSession, Phase, Property, SimClock, SimConfig, SimRuntime, StopCondition,
    };
    pub use crate::scenarios::{RandomScenario, RandomScenarioConfig, Scenario};
    pub use crate::stream::{SimNet, SimStream};
    pub use crate::types::{NodeId, NodeRef};
    pub use crate::workload::Workload;
    pub use crate::{
        assert_buffer_empty, assert_converged, assert_entity_count, assert_has_entity, assert_idle,
        assert_not_converged,
    };
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
