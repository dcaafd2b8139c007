//! `syncline view`.

use crate::commands::Ending;
use crate::commands::run::{FinishedRun, STOPPED_EARLY};
use crate::error::CommandError;
use crate::files;
use crate::flags::{ViewArgs, ViewFormat};
use crate::interrupt;
use crate::output::text::typed;
use crate::output::writer::{Output, complain};
use crate::simulation::Simulation;
use std::path::PathBuf;
use sync_sim::prelude::StopCondition;
use sync_sim::timeline::{FailureSummary, Timeline, shiviz};

/// Runs a simulation and writes its history in the format of a viewer.
pub(crate) fn view(args: &ViewArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut sim = args.sim.clone();
    if let Some(path) = &args.file {
        sim.set_case(path.clone());
    }
    let simulation = sim.simulation()?;
    let seed = args.seed.unwrap_or(simulation.case.seed);
    let finished = FinishedRun::shown(|| simulation.build_with_history(seed, args.keep as usize), true);
    let rt = &finished.rt;
    let stop = match &finished.ended.stop {
        Some(stop) => stop.clone(),
        // A panic leaves a state that explains nothing.
        None => {
            complain(&finished.ended.reason);
            return Ok(Ending::Finding);
        }
    };
    let timeline = || timeline(args, &simulation, seed, &finished, &stop);
    let text = match args.format {
        ViewFormat::Shiviz => rt.history().map(shiviz).unwrap_or_default(),
        ViewFormat::Html => timeline()?.page().map_err(|error| error.to_string())?,
        ViewFormat::Perfetto => {
            serde_json::to_string(&timeline()?.perfetto()).map_err(|error| error.to_string())?
        }
    };
    let path = args.out.clone().unwrap_or_else(|| default_file(args.format));
    if path.as_os_str() == "-" {
        writeln!(out, "{text}")?;
    } else {
        files::write(&path, "the page", text.as_bytes())?;
        let said = if finished.is_interrupted { "interrupted".to_owned() } else { stop.to_string() };
        writeln!(out, "{}: {said}; written to {}", typed(&simulation.reproduce(seed)), path.display())?;
    }
    if finished.is_interrupted {
        return interrupt::report(STOPPED_EARLY, out);
    }
    Ok(Ending::of(stop == StopCondition::Converged))
}

fn timeline(
    args: &ViewArgs,
    simulation: &Simulation,
    seed: u64,
    finished: &FinishedRun,
    stop: &StopCondition,
) -> Result<Timeline, String> {
    let rt = &finished.rt;
    let timeline = Timeline::of_run(rt, stop).map_err(|error| error.to_string())?;
    let mut timeline = timeline.ok_or("the run has no history")?;
    timeline.repeat = Some(simulation.reproduce(seed));
    if let Some(history) = rt.history()
        && let Some(report) = simulation.investigate(seed, rt, stop)
    {
        timeline.forensics = Some(FailureSummary::of(&report, history));
    }
    if finished.is_interrupted {
        timeline.verdict = "INTERRUPTED".to_owned();
    }
    if let Some(title) = &args.title {
        timeline.title.clone_from(title);
    }
    Ok(timeline)
}

fn default_file(format: ViewFormat) -> PathBuf {
    match format {
        ViewFormat::Html => "run.html".into(),
        ViewFormat::Perfetto => "run.json".into(),
        ViewFormat::Shiviz => "run.log".into(),
    }
}
