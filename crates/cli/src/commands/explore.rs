//! `syncline explore`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::{ExploreArgs, ProtocolArg, TimeSpan};
use crate::interrupt;
use crate::output::explore_report::{ExploreReport, INTERRUPTED, progress_text};
use crate::output::writer::Output;
use crate::output::{json, progress};
use std::time::{Duration, Instant};
use sync_sim::explore::{Explorer, ReplicaInvariants};
use sync_sim::prelude::{SimConfig, SimNode, SimRuntime};

/// Searches a small scope for a violation, and reports what was found.
pub(crate) fn explore(args: &ExploreArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut explorer = explorer(args)?;
    let TimeSpan(limit) = args.time;
    let started = Instant::now();
    let limits = SearchLimits {
        started,
        time: Duration::from_micros(limit.as_micros()),
        memory_bytes: args.memory.saturating_mul(1_000_000),
    };
    let bar = progress::spinner("{spinner} {elapsed} {msg}", !args.json);
    let mut stopped_by = None;
    interrupt::watch();
    let report = explorer.run_replicas(&mut |progress| {
        stopped_by = limits.exceeded();
        let so_far = progress_text(progress, started.elapsed());
        interrupt::learned(format!("no finding so far: {so_far}"));
        bar.set_message(so_far);
        bar.tick();
        stopped_by.is_none()
    });
    bar.finish_and_clear();
    let took = started.elapsed();
    let shown = ExploreReport::of(&report, stopped_by, took, peak_memory_bytes(), args.deepest);
    if args.json {
        json::print(&shown, out)?;
    } else {
        shown.print(args, &report, took, out)?;
    }
    if stopped_by == Some(INTERRUPTED) {
        return interrupt::report("interrupted: states were left unexplored", out);
    }
    Ok(Ending::of(report.counterexample.is_none()))
}

/// The search over real replicas.
type ReplicaExplorer = Explorer<SimNode, ReplicaInvariants>;

fn explorer(args: &ExploreArgs) -> Result<ReplicaExplorer, String> {
    let protocol = match args.protocol {
        Some(ProtocolArg::Each) => {
            return Err("a search has one protocol; --protocol each is for sweep".into());
        }
        protocol => protocol.and_then(ProtocolArg::kind),
    };
    let mut rt = SimRuntime::with_config(SimConfig { protocol, ..SimConfig::with_seed(0) });
    rt.apply_scenario(args.scenario());
    let mut explorer = Explorer::of(&rt, args.scope());
    explorer.write_concurrently(args.kind.kind(), args.writes.into());
    Ok(explorer)
}

/// The resources that a search may use.
struct SearchLimits {
    started: Instant,
    time: Duration,
    memory_bytes: u64,
}

impl SearchLimits {
    /// The name of the first limit that is exceeded, or of Ctrl-C.
    fn exceeded(&self) -> Option<&'static str> {
        if interrupt::requested() {
            return Some(INTERRUPTED);
        }
        if self.started.elapsed() >= self.time {
            return Some("time");
        }
        let resident = process_status("VmRSS:");
        resident.is_some_and(|bytes| bytes >= self.memory_bytes).then_some("memory")
    }
}

/// The largest memory that this process has used; `None` where the system does not report it.
fn peak_memory_bytes() -> Option<u64> {
    process_status("VmHWM:")
}

/// A size in bytes from Linux's `/proc`, where it stands in kilobytes.
fn process_status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}
