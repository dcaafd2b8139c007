//! Runs in child processes with limits, so that a run that overflows its stack, needs too much memory or never ends
//! is a finding like any other and does not end the command.
//!
//! A child is this program again. It limits itself, runs on a thread with the stack of a default thread, and says on
//! its standard output what it begins; so its parent knows which run a child was in when it ended. On systems other
//! than Unix there are no limits, and everything runs within the process.

mod case_runs;
mod child;
mod limits;

pub(crate) use case_runs::{pinned_apart, print_outcome, run_apart, runs_apart};
pub(crate) use child::{ChildEnd, run_child};
pub(crate) use limits::{begin_run, limit_memory};

/// Does some work on a thread with a stack of `bytes`, and gives its result.
pub(crate) fn on_stack<R: Send>(bytes: usize, work: impl FnOnce() -> R + Send) -> Result<R, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, work);
        let thread =
            thread.map_err(|error| format!("cannot start a thread with {bytes} bytes of stack: {error}"))?;
        // A panic of the code under test is caught where it runs; any other is a bug of this program.
        thread.join().map_err(|_| "a thread panicked".to_owned())
    })
}
