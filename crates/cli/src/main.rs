//! The `syncline` command: simulate replicas under faults, sweep seeds, list scenarios.
//!
//! Exit codes: 0 all is well, 1 a finding, 2 bad usage.

mod compare;
mod each;
mod host_flags;
mod inspect;
mod options;
mod plot;
mod report;
mod run;
mod scenarios;
mod spec;
mod sweep;
mod values;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  syncline run                                  three replicas that disagree, a hostile network, a verdict
  syncline run --seed 7 --faults heavy --json   one run, machine-readable
  syncline sweep --seeds 0..1000 --faults heavy a thousand runs over all cores
  syncline compare --difference 1000 --explain  every protocol on the same two states, and what is chosen
  syncline sweep --seeds 0..200 --protocol each the same seeds once for every protocol, side by side
  syncline scenarios                            where runs can begin
  syncline run --keep /tmp/end                  keeps what each replica ended with, in a store of its own
  syncline verify /tmp/end/alice                is what is stored what its records say?
  syncline inspect /tmp/end/alice               what is in it

Exit codes:
  0  all is well: everything converged and every check passed
  1  a finding: a run did not converge, a promise was broken, a store is not sound; the output says how
     to repeat it, or what is wrong
  2  bad usage: an unknown flag, an impossible value, a file that cannot be read or written";

/// Real replicas of CRDT state, attacked by a deterministic simulator.
///
/// Each run puts replicas (storage, Merkle index, sync protocols and gossip exactly as in production)
/// on a simulated network that loses, delays, doubles and reorders frames, splits, and crashes
/// nodes; then it demands that they agree on what was written. The seed decides everything: the
/// same seed gives the same run, byte for byte.
#[derive(Parser, Debug)]
#[command(name = "syncline", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one simulation and say what happened.
    Run(run::RunArgs),
    /// Run many seeds over all cores and say which of them failed.
    Sweep(sweep::SweepArgs),
    /// Run every protocol on the same two states over the same link, and say which is chosen and why.
    Compare(compare::CompareArgs),
    /// List the scenarios that runs can begin with, and the fault presets.
    Scenarios(scenarios::ScenariosArgs),
    /// Make a stored state anew from its records, and compare everything with what is stored.
    Verify(verify::VerifyArgs),
    /// Show a stored state: its figures, its tree, a record with its stamps and type.
    Inspect(inspect::InspectArgs),
}

/// How a command ended.
pub(crate) enum Ending {
    /// All is well.
    Good,
    /// A finding.
    Finding,
}

fn main() -> ExitCode {
    let ending = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Scenarios(args) => scenarios::list(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Inspect(args) => inspect::inspect(&args),
    };
    match ending {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Finding) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("error: {problem}\n\nFor more information, try 'syncline --help'.");
            ExitCode::from(2)
        }
    }
}
