//! `syncline completions`.

use crate::command_line;
use crate::commands::{Ending, print_bytes};
use crate::flags::CompletionsArgs;

/// Prints the script that a shell sources.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Ending, String> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "syncline", &mut script);
    print_bytes(&script)
}
