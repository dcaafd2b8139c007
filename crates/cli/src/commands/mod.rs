//! The commands, one file for each, and how they end.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod explore;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod scenarios;
pub(crate) mod shrink;
pub(crate) mod sweep;
pub(crate) mod verify;
pub(crate) mod view;

use std::io::{ErrorKind, Write};

/// How a command ended, apart from bad usage, which is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Everything converged and every check passed.
    Good,
    /// A run failed, or a store is damaged.
    Finding,
    /// Ctrl-C stopped the command before its end.
    Interrupted,
}

impl Ending {
    /// The ending of a command whose result is good or a finding.
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Finding }
    }
}

/// Writes bytes to the standard output. A reader that closes the pipe early, such as `head`, is no error.
fn print_bytes(bytes: &[u8]) -> Result<Ending, String> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot print: {error}")),
        _ => Ok(Ending::Good),
    }
}
