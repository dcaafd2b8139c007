//! The search for failures: case files, random configurations, coverage, shrinking, and the
//! harness that runs replicas of another design.
#![warn(clippy::float_arithmetic)]

pub mod case;
pub mod coverage;
pub mod custom;
pub mod guided;
pub mod known;
pub mod shrink;
pub mod swarm;
pub mod test_harness;
