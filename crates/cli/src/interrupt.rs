//! Ctrl-C: a command that has results reports them before it ends.
//!
//! A long command asks [`requested`] again and again, in the middle of a run too, and ends with what it has. A
//! single step that takes long, such as building a large state, cannot ask. For it, a thread waits a moment, prints
//! what the command has [`learned`] so far, and ends the process.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::output::writer::{Output, complain};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the command has begun its last report, and will end by itself.
static REPORTING: AtomicBool = AtomicBool::new(false);

static LEARNED: Mutex<String> = Mutex::new(String::new());

/// How long a command may take to notice the request.
const GRACE: Duration = Duration::from_millis(800);

/// The exit code of a command that was interrupted: 128 plus the number of SIGINT, as in shells.
pub(crate) const EXIT_CODE: u8 = 130;

/// From now on, the first Ctrl-C requests the command to end and the second ends it at once. Without a call of
/// this function the first one ends it.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let set = ctrlc::set_handler(|| {
            if REQUESTED.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(EXIT_CODE));
            }
            std::thread::spawn(end_after_grace);
        });
        if let Err(error) = set {
            complain(format_args!("warning: Ctrl-C will end the command without a report: {error}"));
        }
    });
}

fn end_after_grace() {
    std::thread::sleep(GRACE);
    if REPORTING.swap(true, Ordering::SeqCst) {
        return;
    }
    let learned = LEARNED.lock().unwrap_or_else(PoisonError::into_inner);
    let learned = if learned.is_empty() { "nothing was learned yet" } else { &learned };
    complain(format_args!("\ninterrupted in the middle of a long step; {learned}"));
    std::process::exit(i32::from(EXIT_CODE));
}

/// Whether the command is requested to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Records in words what the command has learned so far, in case that it cannot report it itself.
pub(crate) fn learned(so_far: String) {
    *LEARNED.lock().unwrap_or_else(PoisonError::into_inner) = so_far;
}

/// The command prints: if it was requested to end, this is its last report, and it ends by itself.
pub(crate) fn begin_report() {
    if requested() {
        REPORTING.store(true, Ordering::SeqCst);
    }
}

/// Prints the progress at the interruption to the standard error, and ends the command.
pub(crate) fn report(progress: &str, out: &mut Output) -> Result<Ending, CommandError> {
    begin_report();
    out.flush()?;
    complain(format_args!("\n{progress}"));
    Ok(Ending::Interrupted)
}
