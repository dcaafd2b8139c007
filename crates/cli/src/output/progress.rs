//! Progress on a terminal. Nothing is shown where the standard error is not one.

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner whose `template` is one of indicatif's; hidden if `shown` is not set.
pub(crate) fn spinner(template: &str, shown: bool) -> ProgressBar {
    with_template(if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() }, template)
}

/// A bar that is full at `total`; hidden if `shown` is not set.
pub(crate) fn bar(template: &str, total: u64, shown: bool) -> ProgressBar {
    with_template(if shown { ProgressBar::new(total) } else { ProgressBar::hidden() }, template)
}

fn with_template(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the templates of this crate are valid"))
}
