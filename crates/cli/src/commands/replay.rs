//! `syncline replay`.

use crate::case_files;
use crate::commands::Ending;
use crate::commands::run::{FinishedRun, STOPPED_EARLY};
use crate::error::CommandError;
use crate::flags::ReplayArgs;
use crate::interrupt;
use crate::isolation;
use crate::output::text::{grouped, verdict};
use crate::output::writer::Output;
use crate::output::{json, run_text};
use crate::simulation::Simulation;
use serde::Serialize;
use sync_sim::case::{Case, CaseError, Class};
use sync_sim::known::KnownFinding;

/// Runs a case again, and compares its end with the one that the case records.
pub(crate) fn replay(args: &ReplayArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let case = case_files::load(&args.file)?;
    if args.outcome {
        isolation::print_outcome(&case, &args.limits, out)?;
        return Ok(Ending::Good);
    }
    if let Some(mib) = args.pinned_on_mib {
        isolation::limit_memory(&args.limits)?;
        isolation::begin_run(&args.limits);
        let pinned = isolation::on_stack(mib << 20, || case.pinned())?.map_err(|error| error.to_string())?;
        write!(out, "{pinned}")?;
        return Ok(Ending::Good);
    }
    if isolation::runs_apart(&case, &args.limits) {
        return replay_apart(args, &case, out);
    }
    if let Some(path) = &args.pin {
        case_files::save(&case.pinned().map_err(|error| error.to_string())?, path)?;
    }
    let seed = case.seed;
    let found = case.found.clone();
    let flags = vec!["--case".to_owned(), args.file.display().to_string()];
    let simulation = Simulation::of_case(case, flags)?;
    let finished = FinishedRun::of(&simulation, seed, !args.json);
    finished.show(&simulation, Some(&args.file), args.json, out)?;
    if finished.is_interrupted {
        return interrupt::report(STOPPED_EARLY, out);
    }
    let class = &finished.ended.class;
    if !args.json {
        compare(found.as_ref(), class, out)?;
    }
    Ok(Ending::of(class.is_converged()))
}

/// Says whether a run has ended as the case records, if it does.
fn compare(found: Option<&Class>, class: &Class, out: &mut Output) -> Result<(), CommandError> {
    let Some(found) = found else { return Ok(()) };
    let same = found == class;
    let outcome = if same { "AS IT WAS FOUND".to_owned() } else { format!("NOT AS IT WAS FOUND ({found})") };
    writeln!(out, "{}: {class}", verdict(same, &outcome))
}

/// The result of a run in a process of its own. The JSON keys are stable.
#[derive(Serialize)]
struct ApartReport {
    class: Class,
    reason: String,
    /// The name of the known finding that explains the failure.
    known: Option<&'static str>,
}

/// Runs a case in a process of its own, see [`isolation::runs_apart`].
fn replay_apart(args: &ReplayArgs, case: &Case, out: &mut Output) -> Result<Ending, CommandError> {
    interrupt::watch();
    let ended = match isolation::run_apart(case, &args.limits, &mut || true) {
        Err(CaseError::Stopped) => return interrupt::report(STOPPED_EARLY, out),
        ended => ended.map_err(|error| error.to_string())?,
    };
    let class = ended.class;
    if let Some(path) = &args.pin {
        case_files::save(&isolation::pinned_apart(case, &class, &args.limits, &mut || true), path)?;
    }
    let known = KnownFinding::of(case, &class, &ended.reason);
    if args.json {
        let known = known.map(|finding| finding.name);
        json::print(&ApartReport { class: class.clone(), reason: ended.reason, known }, out)?;
    } else {
        if let Some(finding) = known {
            run_text::name_known(finding, out)?;
        }
        if class.is_converged() {
            let outcome = verdict(true, "CONVERGED");
            let events = grouped(ended.events);
            writeln!(out, "{outcome} after {} of virtual time and {events} events", ended.at)?;
        } else {
            writeln!(out, "{}: {}", verdict(false, "NOT CONVERGED"), ended.reason)?;
        }
        compare(case.found.as_ref(), &class, out)?;
    }
    Ok(Ending::of(class.is_converged()))
}
