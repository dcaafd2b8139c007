//! The tests of the simulator, as one program: the simulator is linked once, and all tests share the cores.
//! `cargo test -p sync-sim --test sim determinism::` runs one module.
//!
//! The tests of the tests are programs of their own, because they need the feature `canary`.

mod budgets;
mod cases;
mod chaos;
mod contexts;
mod convergence;
mod custom;
mod determinism;
mod effects;
mod explanations;
mod explore;
mod faults;
mod forensics;
mod found;
mod guide;
mod history;
mod hostile;
mod hosts;
mod known;
mod large_cases;
mod link_order;
mod link_scripts;
mod links;
mod merge_faults;
mod metrics;
mod pasted;
mod pins;
mod processes;
mod progress;
mod scenarios;
mod selection;
mod streams;
mod swarm;
mod sync_compliance;
mod sync_scenarios;
mod test_harness;
mod timelines;
