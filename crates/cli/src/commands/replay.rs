//! `syncline replay`.

use crate::case_files;
use crate::commands::Ending;
use crate::commands::run::{FinishedRun, STOPPED_EARLY};
use crate::error::CommandError;
use crate::flags::ReplayArgs;
use crate::interrupt;
use crate::output::text::verdict;
use crate::output::writer::Output;
use crate::simulation::Simulation;

/// Runs a case again, and compares its end with the one that the case records.
pub(crate) fn replay(args: &ReplayArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let case = case_files::load(&args.file)?;
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
    if let Some(found) = found.filter(|_| !args.json) {
        let same = found == *class;
        let outcome =
            if same { "AS IT WAS FOUND".to_owned() } else { format!("NOT AS IT WAS FOUND ({found})") };
        writeln!(out, "{}: {class}", verdict(same, &outcome))?;
    }
    Ok(Ending::of(class.is_converged()))
}
