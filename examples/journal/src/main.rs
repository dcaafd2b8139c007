//! `journal (as-sent | numbered) (run | sweep | …)`.

use journal::Writing;
use std::process::ExitCode;
use sync_sim::custom::{Lab, command};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let numbered = match arguments.next().as_deref() {
        Some("as-sent") => Ok(false),
        Some("numbered") => Ok(true),
        _ => {
            Err("the first argument is as-sent or numbered: whether lines are compared by number".to_owned())
        }
    };
    command::exit(numbered.and_then(|numbered| command::run(Lab::new(Writing { numbered }), arguments)))
}
