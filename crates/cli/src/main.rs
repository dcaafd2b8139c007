//! The `syncline` command. All of its code is in the library, which can be compiled while the crates below it
//! are still generating code; a binary cannot.

use std::process::ExitCode;

fn main() -> ExitCode {
    syncline_cli::main()
}
