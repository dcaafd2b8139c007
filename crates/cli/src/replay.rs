//! `syncline replay`.

use crate::report::verdict;
use crate::run::Ran;
use crate::spec::Spec;
use crate::{Ending, cases};
use clap::Args;
use std::path::PathBuf;

/// The flags of `replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// The case file, as a finding leaves it, or written by hand.
    #[arg(value_name = "CASE")]
    file: PathBuf,

    /// Write a case that does the same without chance to this file: each write, crash, partition and frame
    /// that something was done to is a line of its own, which can be changed or taken out.
    #[arg(long, value_name = "FILE")]
    pin: Option<PathBuf>,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs a case again.
pub(crate) fn replay(args: &ReplayArgs) -> Result<Ending, String> {
    let case = cases::load(&args.file)?;
    if let Some(path) = &args.pin {
        cases::save(&case.pinned().map_err(|error| error.to_string())?, path)?;
    }
    let (seed, found) = (case.seed, case.found.clone());
    let flags = vec!["--case".to_owned(), args.file.display().to_string()];
    let spec = Spec { case, flags, swarm: None };
    let ran = Ran::of(&spec, seed, !args.json);
    ran.show(&spec, Some(&args.file), args.json)?;
    let class = &ran.ended.class;
    if let Some(found) = found.filter(|_| !args.json) {
        let again = found == *class;
        let said =
            if again { "AS IT WAS FOUND".to_owned() } else { format!("NOT AS IT WAS FOUND ({found})") };
        println!("{}: {class}", verdict(again, &said));
    }
    Ok(if class.is_converged() { Ending::Good } else { Ending::Finding })
}
