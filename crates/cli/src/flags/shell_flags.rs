//! The flags of the commands that describe the command itself: `completions` and `man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// The flags of `completions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell that will read the script.
    pub(crate) shell: Shell,
}

/// The flags of `man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder instead of printing one page.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: Option<PathBuf>,
}
