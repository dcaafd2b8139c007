//! Parsers of the values of flags. An error says what is wrong and shows a value that is allowed.

use std::fmt;
use std::ops::Range;
use sync_sim::prelude::SimDuration;

/// The longest span of time that a flag accepts: a year.
const MAX_SPAN_MS: u64 = 8_760 * 3_600_000;

/// Milliseconds in a day, the longest latency and the longest fault.
const DAY_MS: u64 = 86_400_000;

/// A probability between 0 and 1.
pub(super) fn probability(text: &str) -> Result<f64, String> {
    // A number that is too small for a float is read as zero, which would turn the fault off.
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !digits.contains(|digit| ('1'..='9').contains(&digit));
    match text.parse::<f64>() {
        Ok(p) if p == 0.0 && !is_zero => Err("the smallest probability is 0.000001, or 0 for never".into()),
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        Ok(_) => Err("a probability lies between 0 and 1, as in 0.2 for 20 %".into()),
        Err(_) => Err("not a number; a probability lies between 0 and 1, as in 0.2".into()),
    }
}

/// A span of time: `500ms`, `60s`, `5m`, `1h`, or a bare number of milliseconds. It prints as it parses, in
/// the largest unit that loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeSpan(pub(crate) SimDuration);

/// The units of a span of time and their milliseconds, from the largest.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = |&&(_, unit): &&(&str, u64)| millis > 0 && millis.is_multiple_of(unit);
        // A minute as `60s` and ten minutes as `10m`: the unit above starts at more than one of it.
        let readable = |&&(_, unit): &&(&str, u64)| millis / unit > 1 || unit == 1;
        let (name, unit) = UNITS.iter().filter(whole).find(readable).copied().unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

/// Parses a span of time.
pub(super) fn time_span(text: &str) -> Result<TimeSpan, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let expected =
        || "a span of time looks like 500ms, 60s, 5m or 1h; a bare number is in milliseconds".to_owned();
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(expected()),
    };
    match number.checked_mul(factor) {
        Some(millis) if (1..=MAX_SPAN_MS).contains(&millis) => Ok(TimeSpan(SimDuration::from_millis(millis))),
        _ => Err("a span of time lies between 1ms and 8760h".into()),
    }
}

/// A bandwidth: `500k`, `20M`, `1G` or a bare number, in bits per second. It prints as it parses, in the
/// largest unit that loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bandwidth {
    pub(crate) bytes_per_second: u64,
}

/// The units of a bandwidth and their bits per second, from the largest.
const BIT_UNITS: [(&str, u64); 4] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000), ("", 1)];

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bytes_per_second * 8;
        let whole = BIT_UNITS.iter().find(|(_, unit)| bits >= *unit && bits.is_multiple_of(*unit));
        let (name, unit) = whole.copied().unwrap_or(("", 1));
        write!(f, "{}{name}", bits / unit)
    }
}

/// Parses a bandwidth.
pub(super) fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor = BIT_UNITS.iter().find(|(name, _)| *name == unit).map_or(0, |(_, factor)| *factor);
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(bits @ 8_000..=1_000_000_000_000) => Ok(Bandwidth { bytes_per_second: bits / 8 }),
        Some(1..) => Err("a bandwidth lies between 8k and 1000G bits per second".into()),
        _ => Err("a bandwidth is bits per second, as in 500k, 20M or 1G".into()),
    }
}

/// Strictly increasing numbers: `1,10,100`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RisingNumbers(pub(crate) Vec<u64>);

/// Parses strictly increasing numbers.
pub(super) fn rising_numbers(text: &str) -> Result<RisingNumbers, String> {
    let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers {
        Some(numbers) if numbers.is_sorted_by(|a, b| a < b) => Ok(RisingNumbers(numbers)),
        _ => Err("rising numbers separated by commas, as in 1,10,100".into()),
    }
}

/// A latency and its jitter: `50` or `50,10`, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LatencyArg {
    pub(super) base_ms: u64,
    pub(super) jitter_ms: u64,
}

/// Parses a latency with or without a jitter.
pub(super) fn latency(text: &str) -> Result<LatencyArg, String> {
    let (base, jitter) = text.split_once(',').unwrap_or((text, "0"));
    let number = |text: &str| text.parse::<u64>().ok().filter(|ms| *ms <= DAY_MS);
    match (number(base), number(jitter)) {
        (Some(base_ms), Some(jitter_ms)) if jitter_ms <= base_ms => Ok(LatencyArg { base_ms, jitter_ms }),
        (Some(_), Some(_)) => Err("the jitter must not exceed the latency, as in 50,10".into()),
        _ => Err("a latency is milliseconds, or milliseconds and jitter, as in 50 or 50,10".into()),
    }
}

/// How likely a fault is, and the range of its length or size: `0.01` or `0.01,100..500`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Occurrence {
    pub(super) probability: f64,
    /// In milliseconds; `None` if the default applies.
    pub(super) range_ms: Option<Range<u64>>,
}

/// Parses how likely a fault is.
pub(super) fn occurrence(text: &str) -> Result<Occurrence, String> {
    let (chance, range) = match text.split_once(',') {
        Some((chance, range)) => (chance, Some(range)),
        None => (text, None),
    };
    let range_ms = range.map(|text| {
        let range = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
        range.filter(|range: &Range<u64>| range.start < range.end && range.end <= DAY_MS)
    });
    if let Some(None) = range_ms {
        return Err("a length is a rising range of milliseconds, as in 0.01,100..500".into());
    }
    Ok(Occurrence { probability: probability(chance)?, range_ms: range_ms.flatten() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_units() {
        let span = |text| time_span(text).map(|TimeSpan(span)| span);
        assert_eq!(span("60s"), Ok(SimDuration::from_secs(60)));
        assert_eq!(span("250"), Ok(SimDuration::from_millis(250)));
        assert_eq!(span("2m"), Ok(SimDuration::from_secs(120)));
        for bad in ["", "s", "0", "5 s", "9d", "-1s", "99999999999999999999", "9999999h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_of_times_say_what_a_bare_number_is() {
        let whole = crate::command_line();
        let args = whole.get_subcommands().flat_map(|command| command.get_arguments());
        let of_times = args.filter(|arg| {
            let names = arg.get_value_names().unwrap_or_default();
            names.iter().any(|name| name.split(|c: char| !c.is_ascii_uppercase()).any(|word| word == "TIME"))
        });
        let helps: Vec<String> =
            of_times.map(|arg| arg.get_help().map(ToString::to_string).unwrap_or_default()).collect();
        assert!(helps.len() > 7, "{helps:?}");
        let silent: Vec<&String> = helps.iter().filter(|help| !help.contains("milliseconds")).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn time_spans_print_as_they_parse() {
        for text in ["1ms", "50ms", "3s", "60s", "90s", "10m", "60m", "2h", "1500ms"] {
            assert_eq!(time_span(text).unwrap().to_string(), text);
        }
        assert_eq!(time_span("60000").unwrap().to_string(), "60s");
    }

    #[test]
    fn bandwidths_print_as_they_parse() {
        for text in ["500k", "20M", "1G", "12345k", "8001k"] {
            assert_eq!(bandwidth(text).unwrap().to_string(), text);
        }
        assert_eq!(bandwidth("20M"), Ok(Bandwidth { bytes_per_second: 2_500_000 }));
        assert!(bandwidth("7k").unwrap_err().contains("between 8k and 1000G"));
    }

    #[test]
    fn occurrences_and_latencies_are_checked() {
        assert_eq!(occurrence("0.01,100..500").unwrap().range_ms, Some(100..500));
        assert_eq!(occurrence("0.5").unwrap().range_ms, None);
        assert!(occurrence("0.5,9..3").unwrap_err().contains("rising range"));
        assert!(occurrence("2").unwrap_err().contains("between 0 and 1"));
        assert_eq!(latency("50,10"), Ok(LatencyArg { base_ms: 50, jitter_ms: 10 }));
        assert!(latency("5,10").unwrap_err().contains("must not exceed"));
        assert!(probability("NaN").is_err());
        assert!(probability("1e-400").unwrap_err().contains("smallest probability is 0.000001"));
        for zero in ["0", "0.0", "0e9", "-0"] {
            assert_eq!(probability(zero), Ok(0.0), "{zero}");
        }
    }
}
