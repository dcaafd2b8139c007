//! What shells and manuals want to know of the command.

use crate::{Cli, Ending};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;
use std::path::PathBuf;

pub(crate) const COMPLETIONS_HELP: &str = "\
Examples:
  syncline completions bash > ~/.local/share/bash-completion/completions/syncline
  syncline completions zsh  > \"${fpath[1]}/_syncline\"
  syncline completions fish > ~/.config/fish/completions/syncline.fish";

pub(crate) const MAN_HELP: &str = "\
Examples:
  syncline man | man -l -
  syncline man --to ~/.local/share/man/man1";

/// The flags of `completions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

/// The flags of `man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder instead of printing one.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints what a shell sources.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Ending, String> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "syncline", &mut script);
    print(&script)
}

/// Prints the manual page, or writes all of them.
pub(crate) fn man(args: &ManArgs) -> Result<Ending, String> {
    let Some(folder) = &args.to else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| error.to_string())?;
        return print(&page);
    };
    let problem = |error| format!("cannot write the pages to {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(problem)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(problem)?;
    Ok(Ending::Good)
}

/// Prints, and takes a reader that has seen enough for one that has seen all.
fn print(bytes: &[u8]) -> Result<Ending, String> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot print: {error}")),
        _ => Ok(Ending::Good),
    }
}
