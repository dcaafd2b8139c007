//! `syncline view`.

use crate::commands::Ending;
use crate::flags::{ViewArgs, ViewFormat};
use crate::output::text::typed;
use crate::simulation::Simulation;
use std::path::PathBuf;
use sync_sim::prelude::{SimRuntime, StopCondition};
use sync_sim::timeline::{FailureSummary, Timeline, shiviz};

/// Runs a simulation and writes its history in the format of a viewer.
pub(crate) fn view(args: &ViewArgs) -> Result<Ending, String> {
    let mut sim = args.sim.clone();
    if let Some(path) = &args.file {
        sim.set_case(path.clone());
    }
    let simulation = sim.simulation()?;
    let seed = args.seed.unwrap_or(simulation.case.seed);
    let mut rt = simulation.build_with_history(seed, args.keep as usize);
    let stop = rt.run();
    let text = match args.format {
        ViewFormat::Shiviz => rt.history().map(shiviz).unwrap_or_default(),
        ViewFormat::Html => {
            timeline(args, &simulation, seed, &rt, &stop)?.page().map_err(|error| error.to_string())?
        }
        ViewFormat::Perfetto => {
            let timeline = timeline(args, &simulation, seed, &rt, &stop)?;
            serde_json::to_string(&timeline.perfetto()).map_err(|error| error.to_string())?
        }
    };
    let out = args.out.clone().unwrap_or_else(|| default_file(args.format));
    if out.as_os_str() == "-" {
        println!("{text}");
    } else {
        std::fs::write(&out, text).map_err(|error| format!("cannot write {}: {error}", out.display()))?;
        println!("{}: {stop}; written to {}", typed(&simulation.reproduce(seed)), out.display());
    }
    Ok(Ending::of(stop == StopCondition::Converged))
}

fn timeline(
    args: &ViewArgs,
    simulation: &Simulation,
    seed: u64,
    rt: &SimRuntime,
    stop: &StopCondition,
) -> Result<Timeline, String> {
    let timeline = Timeline::of_run(rt, stop).map_err(|error| error.to_string())?;
    let mut timeline = timeline.ok_or("the run has no history")?;
    timeline.repeat = Some(simulation.reproduce(seed));
    if let Some(history) = rt.history()
        && let Some(report) = simulation.investigate(seed, rt, stop)
    {
        timeline.forensics = Some(FailureSummary::of(&report, history));
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
