//! The seeds of a sweep as a flag or a file gives them.

use crate::files;
use std::ops::Range;
use std::path::PathBuf;

/// The largest number of seeds in one sweep. The convergence times of all seeds are stored in memory.
pub(crate) const MAX_SEEDS: u64 = 10_000_000;

/// A set of seeds: `0..1000`, `3,7,9`, `42`, or `@FILE` with one seed or range a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SeedSet {
    /// Half-open ranges, in the order in which they run.
    Ranges(Vec<Range<u64>>),
    /// A file with one range a line; `#` begins a comment.
    File(PathBuf),
}

const SEEDS_LOOK_LIKE: &str = "seeds look like 0..1000, or 3,7,9, or @FILE with one seed or range a line";

/// Parses a set of seeds. A file is read later, by [`SeedSet::ranges`].
pub(super) fn seed_set(text: &str) -> Result<SeedSet, String> {
    if let Some(path) = text.strip_prefix('@') {
        return Ok(SeedSet::File(path.into()));
    }
    text.split(',').map(seed_range).collect::<Result<_, _>>().map(SeedSet::Ranges)
}

fn seed_range(text: &str) -> Result<Range<u64>, String> {
    let text = text.trim();
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is not a seed; {SEEDS_LOOK_LIKE}"));
    let Some((from, to)) = text.split_once("..") else {
        let seed = number(text)?;
        // A range is half-open, so that the largest number cannot be its last seed.
        return match seed.checked_add(1) {
            Some(end) => Ok(seed..end),
            None => Err(format!("{seed} is beyond the last seed, {}", u64::MAX - 1)),
        };
    };
    let range = number(from)?..number(to)?;
    if range.is_empty() {
        return Err(format!("{text} contains no seed: the end must lie above the start"));
    }
    Ok(range)
}

impl SeedSet {
    /// The seeds in the order in which they run, each once. Reads the file if the set is one.
    pub(crate) fn ranges(&self) -> Result<Vec<Range<u64>>, String> {
        let path = match self {
            Self::Ranges(ranges) => return once(ranges.clone()),
            Self::File(path) => path,
        };
        let shown = path.display();
        let text = files::read(path, "the seeds in")?;
        let lines =
            text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
        let ranges = lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(at, line)| seed_range(line).map_err(|error| format!("{shown}, line {at}: {error}")));
        let ranges: Vec<Range<u64>> = ranges.collect::<Result<_, _>>()?;
        if ranges.is_empty() {
            return Err(format!("{shown} contains no seed; {SEEDS_LOOK_LIKE}"));
        }
        once(ranges).map_err(|error| format!("{shown}: {error}"))
    }
}

/// Checks that no two ranges share a seed: a sweep counts each of its seeds once.
fn once(ranges: Vec<Range<u64>>) -> Result<Vec<Range<u64>>, String> {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let next = sorted.iter().skip(1);
    match sorted.iter().zip(next).find(|(range, next)| next.start < range.end) {
        Some((_, next)) => Err(format!("seed {} is named twice; name each seed once", next.start)),
        None => Ok(ranges),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_lists_or_files() {
        assert_eq!(seed_set("0..3,9"), Ok(SeedSet::Ranges(vec![0..3, 9..10])));
        assert_eq!(seed_set("@a.txt"), Ok(SeedSet::File("a.txt".into())));
        for bad in ["", "5..5", "7..3", "x", "1..", "..4", "-1"] {
            assert!(seed_set(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seed_is_named_once() {
        let ranges = |text| seed_set(text).and_then(|set| set.ranges());
        assert_eq!(ranges("5..9,0..5,9"), Ok(vec![5..9, 0..5, 9..10]));
        for (bad, seed) in [("3,3", 3), ("5,0..9", 5), ("0..9,2..4", 2), ("7,0..8,9", 7)] {
            let said = ranges(bad).unwrap_err();
            assert_eq!(said, format!("seed {seed} is named twice; name each seed once"), "{bad}");
        }
    }
}
