//! The log of a run: a line for each event, a column for each node.

use crate::error::CommandError;
use crate::output::writer::Output;
use sync_sim::history::{EntryKind, History, HistoryEntry};

/// The narrowest column, in characters, whose text is still readable.
const MIN_COLUMN: usize = 22;
/// The width of the column of times, in characters.
const TIME: usize = 13;

/// Prints the entries of a history as they are recorded.
pub(crate) struct EventPrinter {
    /// How many entries of the history, from its first, have been printed or skipped.
    printed: u64,
    /// The width of the terminal in characters.
    width: usize,
}

impl EventPrinter {
    /// A log as wide as the terminal; without one, as wide as `COLUMNS` says, or 120.
    pub(crate) fn new() -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = console_width().or(columns).unwrap_or(120);
        Self { printed: 0, width: terminal.max(60) }
    }

    /// Prints the entries recorded since the last call. The frames of an entry get their fates before the next
    /// event, so that the text of an entry is final when it is printed.
    pub(crate) fn follow(&mut self, history: Option<&History>, out: &mut Output) -> Result<(), CommandError> {
        let Some(history) = history else { return Ok(()) };
        let first = self.printed.max(history.forgotten);
        if first > self.printed {
            writeln!(out, "… {} events that were not retained", first - self.printed)?;
        }
        if self.printed == 0 {
            writeln!(out, "{}", self.heading(history))?;
        }
        for entry in history.entries.iter().skip((first - history.forgotten) as usize) {
            if !is_idle(entry) {
                writeln!(out, "{}", self.line(history, entry))?;
            }
        }
        self.printed = history.forgotten + history.entries.len() as u64;
        Ok(())
    }

    /// The width of a node's column in characters; `None` if columns would be too narrow.
    fn column(&self, history: &History) -> Option<usize> {
        let each = (self.width - TIME) / history.nodes.len().max(1);
        (each >= MIN_COLUMN).then_some(each)
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
        // The words begin with the time and the node, which are columns of their own here.
        let words = words.split_once(": ").map_or(words.as_str(), |(_, words)| words);
        let words = if entry.changed { format!("* {words}") } else { words.to_owned() };
        let columns = entry.node.zip(self.column(history));
        let Some((node, width)) = columns else {
            let name = entry.node.map_or("the network", |node| history.name(node));
            return format!("{time:TIME$}{name}: {words}");
        };
        // The last column takes what the others leave, since their widths are rounded down.
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

/// Whether an entry is a timer without any effect; printing those would bury the others.
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

/// Breaks a text between words into lines of at most `width` characters. A longer word is cut.
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
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 6), ["incom…"]);
        assert_eq!(wrapped("", 6), [""]);
    }
}
