//! The search for failures: case files, random configurations, coverage, shrinking, exhaustive
//! exploration, and the harness that runs replicas of another design.
#![warn(clippy::float_arithmetic)]

pub mod case;
pub mod compare_protocols;
pub mod coverage;
pub mod custom;
pub mod explore;
pub mod shrink;
pub mod swarm;
pub mod test_harness;
