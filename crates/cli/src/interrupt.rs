//! Ctrl-C: a command that has learnt something says so before it goes.

use crate::Ending;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit code of a command that was interrupted.
pub(crate) const CODE: u8 = 130;

/// From now on Ctrl-C asks the command to end; a second one ends it. A command that never calls this is
/// ended by the first.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let set = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(CODE));
            }
        });
        if let Err(error) = set {
            eprintln!("warning: Ctrl-C will end this at once: {error}");
        }
    });
}

/// Whether the command is to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Says how far the command has come, beside its output, and ends so.
pub(crate) fn said(how_far: &str) -> Ending {
    eprintln!("\n{how_far}");
    Ending::Interrupted
}
