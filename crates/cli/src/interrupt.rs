//! Ctrl-C: a command that has results reports them before it ends.

use crate::commands::Ending;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

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
        });
        if let Err(error) = set {
            eprintln!("warning: Ctrl-C will end the command without a report: {error}");
        }
    });
}

/// Whether the command is requested to end.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Prints the progress at the interruption to the standard error, and ends the command.
pub(crate) fn report(progress: &str) -> Ending {
    eprintln!("\n{progress}");
    Ending::Interrupted
}
