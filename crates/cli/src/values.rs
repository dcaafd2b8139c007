//! Values on the command line: what they may be, and what is said when they are not.

use std::ops::Range;
use std::path::PathBuf;
use sync_sim::prelude::SimDuration;

/// A probability between 0 and 1.
pub(crate) fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        Ok(_) => Err("a probability lies between 0 and 1, as in 0.2 for 20 %".into()),
        Err(_) => Err("not a number; a probability lies between 0 and 1, as in 0.2".into()),
    }
}

/// A span of time: `500ms`, `60s`, `5m`, `1h`, or a bare number of milliseconds.
pub(crate) fn span(text: &str) -> Result<SimDuration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let expected = || "a span of time looks like 500ms, 60s, 5m or 1h".to_owned();
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let factor = match text.get(digits.len()..) {
        Some("" | "ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err(expected()),
    };
    match number.checked_mul(factor) {
        Some(millis) if (1..=MAX_SPAN_MS).contains(&millis) => Ok(SimDuration::from_millis(millis)),
        _ => Err("a span of time lies between 1ms and 8760h".into()),
    }
}

/// A rate in bits per second, `20M` or `1G` or a bare number, as bytes per second.
pub(crate) fn bandwidth(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..) {
        Some("") => 1,
        Some("k") => 1_000,
        Some("M") => 1_000_000,
        Some("G") => 1_000_000_000,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(bits @ 8_000..=1_000_000_000_000) => Ok(bits / 8),
        Some(1..) => Err("a bandwidth lies between 8k and 1000G bits per second".into()),
        _ => Err("a bandwidth is bits per second, as in 500k, 20M or 1G".into()),
    }
}

/// Numbers, rising: `1,10,100`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rising(pub(crate) Vec<u64>);

pub(crate) fn rising(text: &str) -> Result<Rising, String> {
    let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.is_sorted_by(|a, b| a < b) => Ok(Rising(numbers)),
        _ => Err("rising numbers with commas between them, as in 1,10,100".into()),
    }
}

const MAX_SPAN_MS: u64 = 8_760 * 3_600_000;

/// A delay and how far it may stray: `50` or `50,10`, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Latency {
    pub(crate) base_ms: u64,
    pub(crate) jitter_ms: u64,
}

pub(crate) fn latency(text: &str) -> Result<Latency, String> {
    let (base, jitter) = text.split_once(',').unwrap_or((text, "0"));
    let number = |text: &str| text.parse::<u64>().ok().filter(|ms| *ms <= 86_400_000);
    match (number(base), number(jitter)) {
        (Some(base_ms), Some(jitter_ms)) if jitter_ms <= base_ms => Ok(Latency { base_ms, jitter_ms }),
        (Some(_), Some(_)) => Err("the jitter must not exceed the latency, as in 50,10".into()),
        _ => Err("a latency is milliseconds, or milliseconds and jitter, as in 50 or 50,10".into()),
    }
}

/// How often something happens and for how long: `0.01` or `0.01,100..500`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Spell {
    pub(crate) probability: f64,
    pub(crate) lasting_ms: Option<Range<u64>>,
}

pub(crate) fn spell(text: &str) -> Result<Spell, String> {
    let (chance, lasting) = match text.split_once(',') {
        Some((chance, lasting)) => (chance, Some(lasting)),
        None => (text, None),
    };
    let lasting_ms = lasting.map(|text| {
        let range = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
        range.filter(|range: &Range<u64>| range.start < range.end && range.end <= 86_400_000)
    });
    if let Some(None) = lasting_ms {
        return Err("a length is a rising range of milliseconds, as in 0.01,100..500".into());
    }
    Ok(Spell { probability: probability(chance)?, lasting_ms: lasting_ms.flatten() })
}

/// Which seeds: `0..1000`, `3,7,9`, `42`, or `@FILE` with one seed or range a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seeds {
    /// Ranges, in order.
    Ranges(Vec<Range<u64>>),
    /// A file of ranges.
    File(PathBuf),
}

const SEEDS_LOOK_LIKE: &str = "seeds look like 0..1000, or 3,7,9, or @FILE with one seed or range a line";

pub(crate) fn seeds(text: &str) -> Result<Seeds, String> {
    if let Some(path) = text.strip_prefix('@') {
        return Ok(Seeds::File(path.into()));
    }
    text.split(',').map(seed_range).collect::<Result<_, _>>().map(Seeds::Ranges)
}

fn seed_range(text: &str) -> Result<Range<u64>, String> {
    let text = text.trim();
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no seed; {SEEDS_LOOK_LIKE}"));
    let Some((from, to)) = text.split_once("..") else {
        let seed = number(text)?;
        return match seed.checked_add(1) {
            Some(end) => Ok(seed..end),
            None => Err(format!("{seed} is beyond the last seed, {}", u64::MAX - 1)),
        };
    };
    let range = number(from)?..number(to)?;
    if range.is_empty() {
        return Err(format!("{text} holds no seed: the end must lie above the start"));
    }
    Ok(range)
}

impl Seeds {
    /// The seeds, in order, with the file read if there is one.
    pub(crate) fn ranges(&self) -> Result<Vec<Range<u64>>, String> {
        match self {
            Self::Ranges(ranges) => Ok(ranges.clone()),
            Self::File(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the seeds in {shown}: {error}"))?;
                let lines = text
                    .lines()
                    .enumerate()
                    .map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
                let ranges = lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| {
                    seed_range(line).map_err(|error| format!("{shown}, line {at}: {error}"))
                });
                let ranges: Vec<Range<u64>> = ranges.collect::<Result<_, _>>()?;
                if ranges.is_empty() {
                    Err(format!("{shown} holds no seed; {SEEDS_LOOK_LIKE}"))
                } else {
                    Ok(ranges)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_with_their_unit() {
        assert_eq!(span("60s"), Ok(SimDuration::from_secs(60)));
        assert_eq!(span("250"), Ok(SimDuration::from_millis(250)));
        assert_eq!(span("2m"), Ok(SimDuration::from_secs(120)));
        for bad in ["", "s", "0", "5 s", "9d", "-1s", "99999999999999999999", "9999999h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seeds_are_ranges_lists_or_files() {
        assert_eq!(seeds("0..3,9"), Ok(Seeds::Ranges(vec![0..3, 9..10])));
        assert_eq!(seeds("@a.txt"), Ok(Seeds::File("a.txt".into())));
        for bad in ["", "5..5", "7..3", "x", "1..", "..4", "-1"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spells_and_latencies_say_what_is_allowed() {
        assert_eq!(spell("0.01,100..500").unwrap().lasting_ms, Some(100..500));
        assert_eq!(spell("0.5").unwrap().lasting_ms, None);
        assert!(spell("0.5,9..3").unwrap_err().contains("rising range"));
        assert!(spell("2").unwrap_err().contains("between 0 and 1"));
        assert_eq!(latency("50,10"), Ok(Latency { base_ms: 50, jitter_ms: 10 }));
        assert!(latency("5,10").unwrap_err().contains("must not exceed"));
        assert!(probability("NaN").is_err());
    }
}
