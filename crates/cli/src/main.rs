//! The `syncline` command: simulate replicas under faults, sweep seeds, list scenarios.
//!
//! Exit codes: 0 all is well, 1 a finding, 2 bad usage, 130 interrupted.

mod cases;
mod compare;
mod each;
mod examples;
mod explore;
mod host_flags;
mod hostile_flags;
mod inform;
mod inspect;
mod interrupt;
mod options;
mod options_links;
mod options_swarm;
mod plot;
mod reach;
mod replay;
mod report;
mod run;
mod scenarios;
mod shards;
mod shrink;
mod spec;
mod sweep;
mod totals;
mod trace;
mod values;
mod verify;
mod view;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  syncline run                                  three replicas that disagree, a hostile network, a verdict
  syncline run --seed 7 --faults heavy --json   one run, machine-readable
  syncline sweep --seeds 0..1000 --faults heavy a thousand runs over all cores
  syncline compare --difference 1000 --explain  every protocol on the same two states, and what is chosen
  syncline sweep --seeds 0..200 --protocol each the same seeds once for every protocol, side by side
  syncline sweep                                everything drawn from the seeds, faults, writes and all
  syncline explore --drops 1 --crashes 1        every order of events of two replicas that write at once
  syncline merge one.json two.json              the reports of a sweep's shards made one
  syncline run --until-failure --shrink         seed after seed until one fails, and the failure made small
  syncline replay syncline-cases/FILE.toml      runs a case again, as a finding left it or written by hand
  syncline shrink syncline-cases/FILE.toml      makes a failing case small, and prints it as a test
  syncline scenarios --show fresh > mine.toml   where runs can begin; one of them as a file to change
  syncline run --keep /tmp/end                  keeps what each replica ended with, in a store of its own
  syncline verify /tmp/end/alice                is what is stored what its records say?
  syncline inspect /tmp/end/alice               what is in it

Exit codes:
  0  all is well: everything converged and every check passed
  1  a finding: a run did not converge, a promise was broken, a store is not sound; the output says how
     to repeat it, or what is wrong
  2  bad usage: an unknown flag, an impossible value, a file that cannot be read or written
  130 interrupted by Ctrl-C; sweep, shrink and run --until-failure say what they learnt until then";

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

    /// When to use colour: on a terminal unless NO_COLOR is set, always, or never.
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one simulation and say what happened.
    #[command(after_help = examples::RUN)]
    Run(run::RunArgs),
    /// Run many seeds over all cores and say which of them failed.
    #[command(after_help = examples::SWEEP)]
    Sweep(sweep::SweepArgs),
    /// Make one report of those of a sweep's shards, as if it had been one sweep.
    #[command(after_help = shards::MERGE_HELP)]
    Merge(shards::MergeArgs),
    /// Run a case file again, and say whether it ends as it was found.
    #[command(after_help = examples::REPLAY)]
    Replay(replay::ReplayArgs),
    /// Make a failing case as small as it gets while it fails in the same way, and print it as a test.
    #[command(after_help = examples::SHRINK)]
    Shrink(shrink::ShrinkArgs),
    /// Run every protocol on the same two states over the same link, and say which is chosen and why.
    #[command(after_help = examples::COMPARE)]
    Compare(compare::CompareArgs),
    /// Write a run as a page that shows it: lanes, messages, states, faults.
    #[command(after_help = view::HELP)]
    View(view::ViewArgs),
    /// Follow every order of events of a small scope, with every fault that it allows, on the real replicas.
    #[command(after_help = examples::EXPLORE)]
    Explore(explore::ExploreArgs),
    /// List the scenarios that runs can begin with, and the fault presets.
    #[command(after_help = examples::SCENARIOS)]
    Scenarios(scenarios::ScenariosArgs),
    /// Make a stored state anew from its records, and compare everything with what is stored.
    #[command(after_help = examples::VERIFY)]
    Verify(verify::VerifyArgs),
    /// Show a stored state: its figures, its tree, a record with its stamps and type.
    #[command(after_help = examples::INSPECT)]
    Inspect(inspect::InspectArgs),
    /// Print a script that completes commands and flags in a shell.
    #[command(after_help = inform::COMPLETIONS_HELP)]
    Completions(inform::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands to a folder.
    #[command(after_help = inform::MAN_HELP)]
    Man(inform::ManArgs),
}

/// How a command ended.
pub(crate) enum Ending {
    /// All is well.
    Good,
    /// A finding.
    Finding,
    /// Ctrl-C.
    Interrupted,
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match (&mut cli.command, matches.subcommand()) {
        (Command::Run(args), Some((_, given))) => args.sim.note(given),
        (Command::Sweep(args), Some((_, given))) => args.sim.note(given),
        (Command::View(args), Some((_, given))) => args.sim.note(given),
        _ => {}
    }
    report::colour(cli.color);
    let ending = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Merge(args) => shards::merge(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::View(args) => view::view(&args),
        Command::Explore(args) => explore::explore(&args),
        Command::Scenarios(args) => scenarios::list(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Completions(args) => inform::completions(&args),
        Command::Man(args) => inform::man(&args),
    };
    match ending {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Finding) => ExitCode::from(1),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::CODE),
        Err(problem) => {
            eprintln!("error: {problem}\n\nFor more information, try 'syncline --help'.");
            ExitCode::from(2)
        }
    }
}
