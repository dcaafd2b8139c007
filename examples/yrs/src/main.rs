//! `yrs-under-faults EXPERIMENT (run | sweep | …)`; without arguments it lists the experiments.

use std::process::ExitCode;
use sync_sim::custom::{Lab, command};
use yrs_under_faults::{Documents, EXPERIMENTS};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let named = EXPERIMENTS.iter().find(|(known, _)| *known == name);
    let names = || EXPERIMENTS.iter().map(|(name, _)| format!("  {name}")).collect::<Vec<_>>().join("\n");
    command::exit(match named {
        Some((_, experiment)) => command::run(Lab::new(Documents(*experiment)), arguments),
        None => Err(format!("the first argument names the experiment:\n{}", names())),
    })
}
