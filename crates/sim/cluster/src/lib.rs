//! Simulated clusters: nodes that run the real replica on a simulated disk inside the world of
//! [`sync_sim_engine`], with workloads, scenarios, an oracle and the checks over all of them.
//!
//! Start with [`SimRuntime`](runtime::SimRuntime).
#![warn(clippy::float_arithmetic)]

pub mod assertions;
pub mod budgets;
pub mod checks;
pub mod compare_protocols;
pub mod convergence;
mod disk_view;
pub mod hostile;
pub mod liveness;
pub mod metrics;
pub mod node;
pub mod oracle;
mod read_meter;
pub mod runtime;
pub mod scenarios;
pub mod stream;
pub mod verdict;
pub mod wording;
pub mod workload;
