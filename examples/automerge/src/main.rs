//! The command line of [`sync_sim::custom::command`]. Sessions are renewed, or endless if the first argument is
//! `endless`.

use automerge_under_faults::{Documents, Sessions};
use std::process::ExitCode;
use sync_sim::custom::{Lab, command};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let endless = arguments.next_if_eq("endless").is_some();
    let sessions = if endless { Sessions::Endless } else { Sessions::Renewed };
    command::exit(command::run(Lab::new(Documents(sessions)), arguments))
}
