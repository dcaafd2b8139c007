//! The log of a run: a line for each event, a column for each node.

use std::io::{BufWriter, Write};
use sync_sim::history::{EntryKind, History, HistoryEntry};

/// Columns narrower than this hold nothing that can be read.
const NARROWEST: usize = 22;
/// Room for the time.
const TIME: usize = 13;

/// Prints the entries of a history as they come.
pub(crate) struct Log {
    printed: u64,
    width: usize,
}

impl Log {
    /// A log as wide as the terminal; without one, as wide as `COLUMNS` says, or 120.
    pub(crate) fn new() -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = console_width().or(columns).unwrap_or(120);
        Self { printed: 0, width: terminal.max(60) }
    }

    /// Prints what has come since it was last called. With the next event frames get their fates, so the
    /// words of an entry are final when it is printed.
    pub(crate) fn follow(&mut self, history: Option<&History>) {
        let Some(history) = history else { return };
        let mut out = BufWriter::new(std::io::stdout().lock());
        let first = self.printed.max(history.forgotten);
        if first > self.printed {
            let _ = writeln!(out, "… {} events that were not kept", first - self.printed);
        }
        if self.printed == 0 {
            let _ = writeln!(out, "{}", self.heading(history));
        }
        for entry in history.entries.iter().skip((first - history.forgotten) as usize) {
            if !is_idle(entry) {
                let _ = writeln!(out, "{}", self.line(history, entry));
            }
        }
        self.printed = history.forgotten + history.entries.len() as u64;
    }

    /// How wide a node's column is; `None` if there is no room for columns.
    fn column(&self, history: &History) -> Option<usize> {
        let each = (self.width - TIME) / history.nodes.len().max(1);
        (each >= NARROWEST).then_some(each)
    }

    fn heading(&self, history: &History) -> String {
        let mut line = format!("{:TIME$}", "time");
        if let Some(width) = self.column(history) {
            for name in &history.nodes {
                line += &format!("{:width$}", cut(name, width - 2));
            }
        }
        line.trim_end().to_owned()
    }

    fn line(&self, history: &History, entry: &HistoryEntry) -> String {
        let time = format!("{}.{:03} ms", entry.at_us / 1_000, entry.at_us % 1_000);
        let words = history.words(entry);
        // The words begin with the time and the node, which have their columns here.
        let words = words.split_once(": ").map_or(words.as_str(), |(_, words)| words);
        let words = if entry.changed { format!("* {words}") } else { words.to_owned() };
        let (Some(node), Some(width)) = (entry.node, self.column(history)) else {
            let name = entry.node.map_or("the network", |node| history.name(node));
            return format!("{time:TIME$}{name}: {words}");
        };
        // The last column may be as long as it likes.
        let last = node.index() + 1 == history.nodes.len();
        let room = if last { self.width - TIME - node.index() * width } else { width - 2 };
        let lines = wrapped(&words, room);
        let indent = TIME + node.index() * width;
        let mut out = String::new();
        for (at, part) in lines.iter().enumerate() {
            let before = if at == 0 { format!("{time:indent$}") } else { format!("\n{:indent$}", "") };
            out += &before;
            out += part;
        }
        out
    }
}

/// Whether nothing came of it and nobody asked for it.
fn is_idle(entry: &HistoryEntry) -> bool {
    matches!(entry.what, EntryKind::Timer { .. })
        && entry.sent.is_empty()
        && entry.notes.is_empty()
        && !entry.changed
}

fn console_width() -> Option<usize> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    Some(usize::from(columns))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The words in lines of at most so many characters; a longer word is a line of its own, cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let with = line.chars().count() + usize::from(!line.is_empty()) + word.chars().count();
        if with <= width {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        } else if line.is_empty() {
            *line = cut(word, width);
        } else {
            lines.push(cut(word, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_where_they_may_be() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 6), ["incom…"]);
        assert_eq!(wrapped("", 6), [""]);
    }
}
