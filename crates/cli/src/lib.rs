//! The `syncline` command: simulate replicas under faults, sweep seeds, minimize failures, compare protocols.
//!
//! `flags` parses the arguments into a `Simulation` and the settings of a command; `commands` runs the
//! command; `output` prints its report. Exit codes: 0 success, 1 a finding, 2 bad usage, or a file or a store
//! that cannot be read or written, 130 interrupted, 141 the reader of the output has closed it.
//!
//! The crate is not a library for others: the only public item is [`main`].

mod case_files;
mod commands;
mod error;
mod files;
mod flags;
mod interrupt;
mod isolation;
mod output;
mod panics;
mod simulation;
mod sweeping;

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::help_examples as examples;
use crate::output::writer::{Output, complain};
use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Real replicas of CRDT state under attack by a deterministic simulator.
///
/// Each run puts replicas (storage, Merkle index, sync protocols and gossip exactly as in production)
/// on a simulated network that loses, delays, duplicates and reorders frames, that partitions, and whose
/// nodes crash. It then checks that the replicas converge to what was written. The seed decides all
/// randomness: the same seed gives the same run, byte for byte.
#[derive(Parser, Debug)]
#[command(name = "syncline", version, after_help = examples::OVERVIEW)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// When to use colour: on a terminal unless NO_COLOR is set (auto), always, or never.
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one simulation and report what happened.
    #[command(after_help = examples::RUN)]
    Run(Box<flags::RunArgs>),
    /// Run many seeds over all cores and report which of them failed.
    #[command(after_help = examples::SWEEP)]
    Sweep(Box<flags::SweepArgs>),
    /// Search for failures in drawn worlds and in mutations of those that reached something new.
    #[command(after_help = examples::HUNT)]
    Hunt(flags::HuntArgs),
    /// Merge the reports of a sweep's shards into one, as if it had been one sweep.
    #[command(after_help = examples::MERGE)]
    Merge(flags::MergeArgs),
    /// Run a case file again, and check that it ends as it was found.
    #[command(after_help = examples::REPLAY)]
    Replay(flags::ReplayArgs),
    /// Minimize a failing case while it fails in the same way, and print it as a test.
    #[command(after_help = examples::SHRINK)]
    Shrink(flags::ShrinkArgs),
    /// Run every protocol on the same two states over the same link, and explain which one is selected.
    #[command(after_help = examples::COMPARE)]
    Compare(flags::CompareArgs),
    /// Write a run as a page that shows it: lanes, messages, states, faults.
    #[command(after_help = examples::VIEW)]
    View(Box<flags::ViewArgs>),
    /// Explore every order of events of a small scope, with every fault it allows, on the real replicas.
    #[command(after_help = examples::EXPLORE)]
    Explore(flags::ExploreArgs),
    /// List the scenarios that runs can start from, and the fault presets.
    #[command(after_help = examples::SCENARIOS)]
    Scenarios(flags::ScenariosArgs),
    /// Rebuild a stored state from its records, and compare every derived row with the stored one.
    #[command(after_help = examples::VERIFY)]
    Verify(flags::VerifyArgs),
    /// Show a stored state: its figures, its tree, a record with its timestamps and type.
    #[command(after_help = examples::INSPECT)]
    Inspect(flags::InspectArgs),
    /// Print a script that completes commands and flags in a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(flags::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands to a folder.
    #[command(after_help = examples::MAN)]
    Man(flags::ManArgs),
}

impl Command {
    fn run(&self, out: &mut Output) -> Result<Ending, CommandError> {
        match self {
            Self::Run(args) => commands::run::run(args, out),
            Self::Sweep(args) => commands::sweep::sweep(args, out),
            Self::Hunt(args) => commands::hunt::hunt(args, out),
            Self::Merge(args) => commands::merge::merge(args, out),
            Self::Replay(args) => commands::replay::replay(args, out),
            Self::Shrink(args) => commands::shrink::shrink(args, out),
            Self::Compare(args) => commands::compare::compare(args, out),
            Self::View(args) => commands::view::view(args, out),
            Self::Explore(args) => commands::explore::explore(args, out),
            Self::Scenarios(args) => commands::scenarios::list(args, out),
            Self::Verify(args) => commands::verify::verify(args, out),
            Self::Inspect(args) => commands::inspect::inspect(args, out),
            Self::Completions(args) => commands::completions::completions(args, out),
            Self::Man(args) => commands::man::man(args, out),
        }
    }
}

/// The whole command line, for completions and manual pages.
fn command_line() -> clap::Command {
    Cli::command()
}

/// The exit code of a command that cannot do what was asked: 2, as for bad usage.
const REFUSED: u8 = 2;

/// The exit code of a command whose output was closed by its reader: 128 plus the number of SIGPIPE, as in shells.
const OUTPUT_CLOSED: u8 = 141;

/// Runs the command that the arguments of this process name. Bad usage is reported on the standard error.
pub fn main() -> ExitCode {
    let mut out = Output::standard();
    let ended = match Cli::try_parse() {
        Ok(cli) => {
            output::text::set_colour(cli.color);
            cli.command.run(&mut out)
        }
        Err(said) => explain_usage(&said, &mut out),
    };
    let flushed = out.flush();
    match ended.and_then(|ending| flushed.map(|()| ending)) {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Finding) => ExitCode::from(1),
        Ok(Ending::BadUsage) => ExitCode::from(REFUSED),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(CommandError::OutputClosed) => ExitCode::from(OUTPUT_CLOSED),
        // The arguments are right: their help would not help.
        Err(CommandError::Unwritable(problem)) => {
            complain(format_args!("error: {problem}"));
            ExitCode::from(REFUSED)
        }
        Err(CommandError::Refused(problem)) => {
            complain(format_args!("error: {problem}\n\nFor more information, try 'syncline --help'."));
            ExitCode::from(REFUSED)
        }
    }
}

/// Prints what the parser of the command line says: help and the version to the standard output, and what is wrong
/// with the arguments to the standard error.
fn explain_usage(said: &clap::Error, out: &mut Output) -> Result<Ending, CommandError> {
    let text = said.render();
    if said.use_stderr() {
        let shown = if output::text::is_coloured(&std::io::stderr()) {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        complain(shown.trim_end_matches('\n'));
        return Ok(Ending::BadUsage);
    }
    let shown = if output::text::is_coloured(&std::io::stdout()) {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    write!(out, "{shown}")?;
    Ok(Ending::Good)
}
