//! Output for people.

use crate::spec::FatesReport;
use clap::ColorChoice;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use std::io::IsTerminal;
use std::sync::OnceLock;

/// A table with headings, numbers to the right.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    const UNDERLINED: TableStyle =
        TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(UNDERLINED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.to_vec());
    table
}

/// Aligns the columns from `from` on to the right.
pub(crate) fn numbers_from(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Whether output is coloured; decided once, from what was asked for.
static COLOURED: OnceLock<bool> = OnceLock::new();

/// Settles when to use colour. On a terminal, unless `NO_COLOR` is set (<https://no-color.org>), if nothing
/// else was asked for.
pub(crate) fn colour(when: ColorChoice) {
    let auto =
        || std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    COLOURED.get_or_init(|| match when {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => auto(),
    });
}

/// A verdict, green or red where colour is wanted.
pub(crate) fn verdict(good: bool, text: &str) -> String {
    if !COLOURED.get().is_some_and(|coloured| *coloured) {
        return text.to_owned();
    }
    format!("\x1b[1;{}m{text}\x1b[0m", if good { 32 } else { 31 })
}

/// A command of ours as the user would type it: by the path they called us by, or by name.
pub(crate) fn typed(command: &str) -> String {
    let called = std::env::args().next().filter(|path| path.contains(std::path::MAIN_SEPARATOR));
    match (called, command.strip_prefix("syncline ")) {
        (Some(path), Some(rest)) => format!("{path} {rest}"),
        _ => command.to_owned(),
    }
}

/// A number with its thousands apart.
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

/// Bytes in a unit a person reads.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_000_000 => format!("{} kB", grouped(n / 1_000)),
        _ => format!("{} MB", grouped(n / 1_000_000)),
    }
}

/// What became of every frame, and whether the account balances.
pub(crate) fn fates(fates: &FatesReport) -> Table {
    let mut table = table(&["frames", ""]);
    let mut row = |name: &str, count: u64| {
        table.add_row([name.to_owned(), grouped(count)]);
    };
    row("sent", fates.sent);
    row("doubled by the network", fates.duplicated);
    row("delivered", fates.delivered);
    for (cause, count) in &fates.dropped {
        row(cause.words(), *count);
    }
    row("still on their way", fates.in_flight);
    numbers_from(&mut table, 1);
    table
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
