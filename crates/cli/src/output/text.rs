//! Text for people: tables, numbers with units, verdicts in colour, commands to type.

use clap::ColorChoice;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use std::io::IsTerminal;
use std::sync::OnceLock;

/// A table with underlined headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    const UNDERLINED: TableStyle =
        TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(UNDERLINED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.to_vec());
    table
}

/// Aligns the columns from index `from` on to the right, for numbers.
pub(crate) fn numbers_from(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Whether output is coloured. Set once, by [`set_colour`].
static COLOURED: OnceLock<bool> = OnceLock::new();

/// Decides whether output is coloured. `Auto` means: on a terminal, unless `NO_COLOR` is set
/// (<https://no-color.org>).
pub(crate) fn set_colour(when: ColorChoice) {
    COLOURED.get_or_init(|| match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_coloured(&std::io::stdout()),
    });
}

/// Whether text is coloured where nothing else is asked for: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn is_coloured(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// A verdict, in green or red if output is coloured.
pub(crate) fn verdict(good: bool, text: &str) -> String {
    if !COLOURED.get().is_some_and(|coloured| *coloured) {
        return text.to_owned();
    }
    format!("\x1b[1;{}m{text}\x1b[0m", if good { 32 } else { 31 })
}

/// A `syncline` command as the user would type it: by the path under which this process was called, if it
/// was called by a path.
pub(crate) fn typed(command: &str) -> String {
    let called = std::env::args().next().filter(|path| path.contains(std::path::MAIN_SEPARATOR));
    match (called, command.strip_prefix("syncline ")) {
        (Some(path), Some(rest)) => format!("{path} {rest}"),
        _ => command.to_owned(),
    }
}

/// A word quoted such that a POSIX shell reads it as one word.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:@=+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in B, kB or MB (powers of ten).
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{} kB", grouped(n / 1_000)),
        _ => format!("{} MB", grouped(n / 1_000_000)),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(12_345_678)],
            ["0", "999", "1 000", "12 345 678"]
        );
    }
}
