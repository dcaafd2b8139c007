//! Everything that the command line accepts: one struct of flags for each command, the flags of a
//! simulation that several commands share, and the parsers of their values.
//!
//! Defaults come from the library's `Default` values, so that a run without flags and a case file
//! without keys describe the same simulation. [`GivenFlags`] reads back from clap which flags the user
//! typed; no list of flags is written a second time.

mod case_flags;
mod choices;
mod compare_flags;
mod explore_flags;
mod given_flags;
pub(crate) mod help_examples;
mod host_flags;
mod hostile_flags;
mod hunt_flags;
mod limit_flags;
mod link_flags;
mod run_flags;
mod seed_set;
mod shell_flags;
mod sim_flags;
mod store_flags;
mod swarm_flags;
mod sweep_flags;
mod values;
mod view_flags;

pub(crate) use case_flags::{ReplayArgs, ScenarioOrSeed, ScenariosArgs, ShrinkArgs};
pub(crate) use choices::{FaultPreset, ProfileArg, ProtocolArg};
pub(crate) use compare_flags::CompareArgs;
pub(crate) use explore_flags::ExploreArgs;
pub(crate) use given_flags::GivenFlags;
pub(crate) use hunt_flags::HuntArgs;
pub(crate) use limit_flags::ProcessLimits;
pub(crate) use run_flags::RunArgs;
pub(crate) use seed_set::MAX_SEEDS;
pub(crate) use shell_flags::{CompletionsArgs, ManArgs};
pub(crate) use sim_flags::SimArgs;
pub(crate) use store_flags::{InspectArgs, VerifyArgs};
pub(crate) use sweep_flags::{MergeArgs, SweepArgs};
pub(crate) use values::TimeSpan;
pub(crate) use view_flags::{ViewArgs, ViewFormat};
