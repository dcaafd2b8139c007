//! Cases in child processes: for cases whose run ends its process.

use crate::error::CommandError;
use crate::flags::ProcessLimits;
use crate::isolation::child::{ChildEnd, run_child};
use crate::isolation::{begin_run, limit_memory, on_stack};
use crate::output::writer::Output;
use serde::{Deserialize, Serialize};
use sync_sim::case::{Case, CaseError, Class, RunResult};
use sync_sim::prelude::SimTime;

/// The result of a run as a child reports it.
#[derive(Serialize, Deserialize)]
struct CaseOutcome {
    class: Class,
    reason: String,
    at_us: u64,
    events: u64,
}

/// The stack on which a case is pinned whose run overflows the usual one.
const DEEP_STACK_MIB: usize = 2_048;

/// Whether a case runs in processes of its own: because its run ended the process in which it was found, or because the
/// user asks for limits.
pub(crate) fn runs_apart(case: &Case, limits: &ProcessLimits) -> bool {
    limits.are_given() || case.found.as_ref().is_some_and(Class::is_abnormal)
}

/// Runs a case in a process of its own, as long as `go_on` returns true.
///
/// # Errors
///
/// As [`Case::build`], or if no process can be started; [`CaseError::Stopped`] if `go_on` returned false, or after
/// Ctrl-C.
pub(crate) fn run_apart(
    case: &Case,
    limits: &ProcessLimits,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<RunResult, CaseError> {
    // An error of the case itself is found here, where it has its type.
    case.check()?;
    let unable = |problem: String| CaseError::Impossible { place: "isolation".into(), problem };
    let mut words: Vec<String> = ["replay", "-", "--outcome"].map(str::to_owned).into();
    words.extend(limits.flags());
    let mut outcome = None;
    let mut each = |line: &str| outcome = serde_json::from_str::<CaseOutcome>(line).ok();
    let end = run_child(&words, Some(case.to_text()?), limits, &mut each, go_on);
    match (end.map_err(unable)?, outcome) {
        (ChildEnd::Done, Some(CaseOutcome { class, reason, at_us, events })) => {
            Ok(RunResult::reported(class, reason, SimTime::from_micros(at_us), events))
        }
        (ChildEnd::Abnormal(class), _) => {
            let reason = format!("the process of the run ended: {class}");
            Ok(RunResult::reported(class, reason, SimTime::ZERO, 0))
        }
        (ChildEnd::Done, None) => Err(unable("a child process has not reported its run".into())),
        (ChildEnd::Interrupted, _) => Err(CaseError::Stopped),
    }
}

/// The child: runs a case under the limits and prints its result.
pub(crate) fn print_outcome(
    case: &Case,
    limits: &ProcessLimits,
    out: &mut Output,
) -> Result<(), CommandError> {
    limit_memory(limits)?;
    begin_run(limits);
    let ended = on_stack(limits.stack_bytes(), || case.run())?.map_err(|error| error.to_string())?;
    let outcome = CaseOutcome {
        class: ended.class,
        reason: ended.reason,
        at_us: ended.at.as_micros(),
        events: ended.events,
    };
    let outcome = serde_json::to_string(&outcome).map_err(|error| error.to_string())?;
    writeln!(out, "{outcome}")
}

/// The case with a line for each random event, if a process with a deep stack can run it to its end and the result
/// still fails in the same class; else the case itself, whose settings alone can be made smaller. It is the case itself,
/// too, if `go_on` returns false before it is pinned.
pub(crate) fn pinned_apart(
    case: &Case,
    class: &Class,
    limits: &ProcessLimits,
    go_on: &mut dyn FnMut() -> bool,
) -> Case {
    let whole = || Case { found: Some(class.clone()), ..case.clone() };
    let mut words: Vec<String> = ["replay", "-", "--pinned-on-mib"].map(str::to_owned).into();
    words.push(DEEP_STACK_MIB.to_string());
    words.extend(limits.flags());
    let Ok(text) = case.to_text() else { return whole() };
    let mut pinned = String::new();
    let mut each = |line: &str| {
        pinned += line;
        pinned.push('\n');
    };
    let end = run_child(&words, Some(text), limits, &mut each, go_on);
    let parsed = match end {
        Ok(ChildEnd::Done) => pinned.parse::<Case>().ok(),
        _ => None,
    };
    let parsed = parsed.map(|pinned| Case { found: Some(class.clone()), ..pinned });
    let mut fails = |case: &Case| run_apart(case, limits, go_on).is_ok_and(|ended| ended.class == *class);
    parsed.filter(|case| fails(case)).unwrap_or_else(whole)
}
