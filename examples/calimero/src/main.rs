//! `calimero EXPERIMENT (run | sweep | …)`; without arguments it lists the experiments.

use calimero_under_faults::{EXPERIMENTS, experiment};
use std::process::ExitCode;
use sync_sim::custom::command;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let named = arguments.next().and_then(|name| experiment(&name));
    let names = || EXPERIMENTS.iter().map(|(name, _)| format!("  {name}")).collect::<Vec<_>>().join("\n");
    command::exit(match named {
        Some(lab) => command::run(lab, arguments),
        None => Err(format!("the first argument names the experiment:\n{}", names())),
    })
}
