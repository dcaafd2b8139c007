//! The log format of ShiViz: one line per event, with its node and its vector clock.
//!
//! Source: Beschastnikh et al., "Debugging distributed systems: challenges and options for validation and
//! debugging", CACM 2016. The format is documented at <https://bestchai.bitbucket.io/shiviz/>. ShiViz asks
//! for a regular expression that parses the log: it is the first line of the log.

use std::fmt::Write as _;
use sync_sim_engine::history::History;

/// The regular expression that ShiViz needs to parse the log; it is also the first line of the log.
const PATTERN: &str = r"(?<host>\S*) (?<clock>{.*})\n(?<event>.*)";

/// The history as a ShiViz log. Timers without effect are left out. O(entries · nodes).
pub fn shiviz(history: &History) -> String {
    let mut log = format!("{PATTERN}\n\n");
    for (entry, clock) in history.entries.iter().zip(history.clocks()) {
        // ShiViz shows events of hosts only; a partition belongs to no single one.
        let Some(node) = entry.node else { continue };
        let clock: Vec<String> =
            clock.iter().map(|(node, count)| format!("\"{}\":{count}", history.name(*node))).collect();
        let _ = writeln!(log, "{} {{{}}}\n{}", history.name(node), clock.join(", "), history.words(entry));
    }
    log
}
