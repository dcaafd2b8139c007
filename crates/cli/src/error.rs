//! Why a command ends without a result.

/// An error of a command; see the [exit codes](crate).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CommandError {
    /// What was asked for cannot be done. The text says what was found and what to do.
    Refused(String),
    /// The standard output cannot be written, for instance because the disk behind it is full.
    Unwritable(String),
    /// The reader of the standard output has closed it, as `head` does: nobody is left to tell.
    OutputClosed,
}

impl From<String> for CommandError {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}

impl From<&str> for CommandError {
    fn from(problem: &str) -> Self {
        Self::Refused(problem.to_owned())
    }
}
