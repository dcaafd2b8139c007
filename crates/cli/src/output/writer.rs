//! The only way to the standard output and the standard error: unlike `println!`, a write that fails is an error.

use crate::error::CommandError;
use crate::interrupt;
use std::fmt::{Arguments, Display};
use std::io::{self, BufWriter, ErrorKind, Write};

/// The standard output of a command, or what stands for it in a test.
pub(crate) struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    /// The standard output of this process.
    pub(crate) fn standard() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    fn to(writer: Box<dyn Write + Send>) -> Self {
        Self { to: BufWriter::new(writer) }
    }

    /// Writes a formatted text: what `write!` and `writeln!` call.
    pub(crate) fn write_fmt(&mut self, text: Arguments<'_>) -> Result<(), CommandError> {
        interrupt::begin_report();
        self.to.write_fmt(text).map_err(|error| refused(&error))
    }

    /// Writes bytes as they are.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        interrupt::begin_report();
        self.to.write_all(bytes).map_err(|error| refused(&error))
    }

    /// Hands over everything that was written so far.
    pub(crate) fn flush(&mut self) -> Result<(), CommandError> {
        self.to.flush().map_err(|error| refused(&error))
    }
}

fn refused(error: &io::Error) -> CommandError {
    match error.kind() {
        ErrorKind::BrokenPipe => CommandError::OutputClosed,
        _ => CommandError::Unwritable(format!("cannot write to the standard output: {error}")),
    }
}

/// Writes a line to the standard error. Where that fails, nobody is left to tell.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that takes nothing, for this reason.
    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failed_write_is_typed_error() {
        let outcome = |kind| {
            let mut out = Output::to(Box::new(Refusing(kind)));
            writeln!(out, "a line").and_then(|()| out.flush())
        };
        assert_eq!(outcome(ErrorKind::BrokenPipe), Err(CommandError::OutputClosed));
        let full = outcome(ErrorKind::StorageFull).expect_err("nothing is written");
        assert!(matches!(full, CommandError::Unwritable(text) if text.contains("cannot write")));
    }
}
