//! The commands, one file for each, and how they end.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod explore;
pub(crate) mod hunt;
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

/// How a command ended, apart from bad usage, which is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Everything converged and every check passed.
    Good,
    /// A run failed, or a store is damaged.
    Finding,
    /// The arguments are not those of a command; the standard error says why.
    BadUsage,
    /// Ctrl-C stopped the command before its end.
    Interrupted,
}

impl Ending {
    /// The ending of a command whose result is good or a finding.
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Finding }
    }
}
