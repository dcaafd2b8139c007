//! Panics of the code under test. A command that runs many simulations reports a panic as the finding of one of them, so
//! the message of the standard library, with its backtrace, would be printed once for each and hide the report.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run`, and prints nothing for a panic of this thread meanwhile. The caller catches and reports it.
pub(crate) fn quietly<R>(run: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    /// Restores the flag, also if `run` panics.
    struct QuietGuard(bool);
    impl Drop for QuietGuard {
        fn drop(&mut self) {
            IS_QUIET.set(self.0);
        }
    }
    let _guard = QuietGuard(IS_QUIET.replace(true));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn panics_are_not_printed_while_they_are_findings() {
        static PRINTED: AtomicUsize = AtomicUsize::new(0);
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            let ours = panic.payload().downcast_ref::<&str>() == Some(&"a finding");
            if ours {
                PRINTED.fetch_add(1, Ordering::Relaxed);
            } else {
                usual(panic);
            }
        }));
        let find = || catch_unwind(|| panic!("a finding"));
        assert!(quietly(find).is_err());
        assert_eq!(PRINTED.load(Ordering::Relaxed), 0);
        assert!(find().is_err());
        assert_eq!(PRINTED.load(Ordering::Relaxed), 1, "outside, it is printed");
    }
}
