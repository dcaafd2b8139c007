//! `syncline man`.

use crate::command_line;
use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::ManArgs;
use crate::output::writer::Output;

/// Prints the manual page, or writes the pages of all commands.
pub(crate) fn man(args: &ManArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let Some(folder) = &args.to else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command_line()).render(&mut page).map_err(|error| error.to_string())?;
        out.write_bytes(&page)?;
        return Ok(Ending::Good);
    };
    let problem = |error| format!("cannot write the pages to {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(problem)?;
    clap_mangen::generate_to(command_line(), folder).map_err(problem)?;
    Ok(Ending::Good)
}
