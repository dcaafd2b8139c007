//! `syncline completions`.

use crate::command_line;
use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::CompletionsArgs;
use crate::output::writer::Output;

/// Prints the script that a shell sources.
pub(crate) fn completions(args: &CompletionsArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "syncline", &mut script);
    out.write_bytes(&script)?;
    Ok(Ending::Good)
}
