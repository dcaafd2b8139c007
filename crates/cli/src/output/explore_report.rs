//! The report of a search over all orders of events.

use crate::error::CommandError;
use crate::flags::ExploreArgs;
use crate::output::text::{bytes, grouped, numbers_from, table, verdict};
use crate::output::writer::Output;
use clap::ValueEnum;
use serde::Serialize;
use std::time::Duration;
use sync_sim::explore::{Counterexample, SearchProgress, SearchReport, StopCause};

/// What stopped a search that Ctrl-C stopped.
pub(crate) const INTERRUPTED: &str = "interrupt";

/// A search. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExploreReport {
    exhaustive: bool,
    /// `found`, `depth`, `states` or `stopped`; absent if the search is exhaustive.
    cut: Option<StopCause>,
    /// `time` or `memory`, if that limit stopped the search; `interrupt` for Ctrl-C.
    stopped_by: Option<&'static str>,
    states: u64,
    moves: u64,
    depth: u32,
    /// Final states: states without any move.
    ends: u64,
    /// Different final states of the replicas.
    outcomes: u64,
    /// Different states of single replicas.
    replica_states: u64,
    /// Steps of replicas that were executed, rather than looked up.
    replica_steps: u64,
    /// How many different frames were sent.
    frames: u64,
    seconds: f64,
    states_per_second: u64,
    peak_bytes: Option<u64>,
    counterexample: Option<CounterexampleReport>,
    /// The path to the deepest state, if it was asked for.
    deepest: Option<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
struct CounterexampleReport {
    found: String,
    steps: Vec<String>,
}

impl From<&Counterexample> for CounterexampleReport {
    fn from(counterexample: &Counterexample) -> Self {
        Self { found: counterexample.defect.to_string(), steps: counterexample.steps.clone() }
    }
}

impl ExploreReport {
    /// The report of a search that took `took`.
    pub(crate) fn of(
        report: &SearchReport,
        stopped_by: Option<&'static str>,
        took: Duration,
        peak_bytes: Option<u64>,
        deepest: bool,
    ) -> Self {
        Self {
            exhaustive: report.is_exhaustive(),
            cut: report.stop_cause,
            stopped_by,
            states: report.progress.states,
            moves: report.progress.moves,
            depth: report.progress.depth,
            ends: report.ends,
            outcomes: report.outcomes,
            replica_states: report.locals,
            replica_steps: report.progress.steps,
            frames: report.frames,
            seconds: took.as_secs_f64(),
            states_per_second: per_second(report.progress.states, took),
            peak_bytes,
            counterexample: report.counterexample.as_ref().map(Into::into),
            deepest: deepest.then(|| report.deepest.clone()),
        }
    }

    /// Prints the scope, the counts, and the verdict with a counterexample if there is one.
    pub(crate) fn print(
        &self,
        args: &ExploreArgs,
        report: &SearchReport,
        took: Duration,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        writeln!(out, "{}\n", scope_text(args))?;
        let mut rows = table(&["explored", ""]);
        let counts = [
            ("states", self.states),
            ("moves between them", self.moves),
            ("depth", self.depth.into()),
            ("states of single replicas", self.replica_states),
            ("executed steps of replicas", self.replica_steps),
            ("different frames", self.frames),
            ("final states, all of which converged", self.ends),
            ("states per second", self.states_per_second),
        ];
        for (name, count) in counts {
            rows.add_row([name.to_owned(), grouped(count)]);
        }
        if let Some(peak) = self.peak_bytes {
            rows.add_row(["memory".to_owned(), bytes(peak)]);
        }
        numbers_from(&mut rows, 1);
        writeln!(out, "{rows}\n")?;
        if args.deepest && report.counterexample.is_none() {
            writeln!(out, "the path to the deepest state:\n")?;
            print_steps(&report.deepest, out)?;
        }
        self.print_verdict(report, took, out)
    }

    fn print_verdict(
        &self,
        report: &SearchReport,
        took: Duration,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        if let Some(counterexample) = &report.counterexample {
            writeln!(out, "{} a shortest counterexample:\n", verdict(false, "FOUND"))?;
            return print_steps(&counterexample.steps, out);
        }
        let Some(cut) = report.stop_cause else {
            return writeln!(
                out,
                "{} in {took:.1?}: every state that the scope allows was reached and checked",
                verdict(true, "EXHAUSTIVE")
            );
        };
        let why = match (cut, self.stopped_by) {
            (StopCause::Depth, _) => "states beyond the given depth were not explored".to_owned(),
            (StopCause::States, _) => "there are more states than were allowed".to_owned(),
            (_, Some(INTERRUPTED)) => "Ctrl-C stopped the search".to_owned(),
            (_, limit) => format!("its limit of {} stopped the search", limit.unwrap_or("nothing")),
        };
        writeln!(
            out,
            "{} in {took:.1?}: {why}; all states up to depth {} were reached and checked, without a finding",
            verdict(true, "NOT EXHAUSTIVE"),
            self.depth
        )
    }
}

fn scope_text(args: &ExploreArgs) -> String {
    let kind = args.kind.to_possible_value();
    format!(
        "{} replicas, {} writes to one {}; {} drops, {} duplicates, {} crashes, {} partitions, {} replaced disks, {} early \
         timers, {} heartbeats each; frames of a link in {}",
        args.nodes,
        args.writes,
        kind.as_ref().map_or("entity", |kind| kind.get_name()),
        args.drops,
        args.duplicates,
        args.crashes,
        args.partitions,
        args.disks,
        args.early,
        args.ticks,
        if args.fifo { "order" } else { "any order" },
    )
}

/// The progress of a search in one line.
pub(crate) fn progress_text(progress: &SearchProgress, took: Duration) -> String {
    format!(
        "depth {}, {} states, {} to explore, {} states/s",
        progress.depth,
        grouped(progress.states),
        grouped(progress.frontier),
        grouped(per_second(progress.states, took))
    )
}

fn per_second(count: u64, took: Duration) -> u64 {
    (u128::from(count) * 1_000_000 / took.as_micros().max(1)) as u64
}

fn print_steps(steps: &[String], out: &mut Output) -> Result<(), CommandError> {
    for (number, step) in (1..).zip(steps) {
        writeln!(out, "{number:>4}. {step}")?;
    }
    Ok(())
}
