//! The log that ShiViz reads: each event in a line, with its node and its vector clock.
//!
//! Source: Beschastnikh et al., "Debugging distributed systems: challenges and options for validation and
//! debugging", CACM 2016; the form is that of <https://bestchai.bitbucket.io/shiviz/>. In its dialogue, the
//! regular expression to give is the log's first line.

use std::fmt::Write as _;
use sync_sim_engine::history::History;

/// What ShiViz asks for to read the log: it stands in the log's first line too.
const PATTERN: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

/// A history as a log for ShiViz. Timers without effect are left out. O(entries · nodes).
pub fn shiviz(history: &History) -> String {
    let mut log = format!("{PATTERN}\n\n");
    for (entry, clock) in history.entries.iter().zip(history.clocks()) {
        let Some(node) = entry.node else { continue };
        let clock: Vec<String> =
            clock.iter().map(|(node, count)| format!("\"{}\":{count}", history.name(*node))).collect();
        let _ = writeln!(log, "{} {{{}}}\n{}", history.name(node), clock.join(", "), history.words(entry));
    }
    log
}
