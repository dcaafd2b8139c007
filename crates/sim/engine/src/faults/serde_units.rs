//! The text form of settings in files that people read and edit: a time as `250ms`, a probability as `0.1`, a
//! range as `100..500`.

use crate::faults::config::Rate;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use syncline_types::{SimDuration, SimTime};

/// A time or a duration: a whole number with its unit, `us`, `ms`, `s`, `m` or `h`.
pub mod time {
    use super::*;

    /// A type that counts microseconds.
    pub trait Micros: Copy {
        /// The value of so many microseconds.
        fn of(micros: u64) -> Self;
        /// The value in microseconds.
        fn micros(self) -> u64;
    }

    impl Micros for SimTime {
        fn of(micros: u64) -> Self {
            Self::from_micros(micros)
        }
        fn micros(self) -> u64 {
            self.as_micros()
        }
    }

    impl Micros for SimDuration {
        fn of(micros: u64) -> Self {
            Self::from_micros(micros)
        }
        fn micros(self) -> u64 {
            self.as_micros()
        }
    }

    /// The units with their lengths in microseconds, from the longest.
    const UNITS: [(&str, u64); 5] =
        [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

    /// The text in the longest unit that needs no fraction; zero is `0ms`.
    pub fn write(micros: u64) -> String {
        let (unit, size) = UNITS
            .into_iter()
            .find(|(_, size)| micros > 0 && micros.is_multiple_of(*size))
            .unwrap_or(("ms", 1_000));
        format!("{}{unit}", micros / size)
    }

    /// Reads what [`write()`] writes, in any of the units.
    ///
    /// # Errors
    ///
    /// If the text is not a time: a message that shows what a time looks like.
    pub fn read(text: &str) -> Result<u64, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let size = UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, size)| size);
        let micros = digits.parse::<u64>().ok().zip(size).and_then(|(number, size)| number.checked_mul(size));
        micros.ok_or_else(|| format!("{text:?} is no time; a time looks like 500us, 250ms, 20s, 5m or 1h"))
    }

    /// The function that `#[serde(with)]` calls.
    pub fn serialize<T: Micros, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write(value.micros()))
    }

    /// The function that `#[serde(with)]` calls.
    pub fn deserialize<'de, T: Micros, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        read(&text).map(T::of).map_err(D::Error::custom)
    }
}

/// A half-open range of whole numbers, `100..500`.
pub mod range {
    use super::*;
    use std::ops::Range;

    /// The function that `#[serde(with)]` calls.
    pub fn serialize<S: Serializer>(value: &Range<u64>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}..{}", value.start, value.end))
    }

    /// The function that `#[serde(with)]` calls.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Range<u64>, D::Error> {
        let text = String::deserialize(from)?;
        let range =
            text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
        range.ok_or_else(|| D::Error::custom(format!("{text:?} is no range; a range looks like 100..500")))
    }
}

impl Serialize for Rate {
    #[allow(
        clippy::float_arithmetic,
        reason = "for a reader; what is read back is rounded to the same integer"
    )]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(f64::from(self.as_ppm()) / 1e6)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let probability = f64::deserialize(from)?;
        Self::from_probability("the probability", probability).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::time::{read, write};

    #[test]
    fn writes_the_longest_exact_unit() {
        for (micros, text) in
            [(0, "0ms"), (1, "1us"), (2_500, "2500us"), (250_000, "250ms"), (90_000_000, "90s")]
        {
            assert_eq!((write(micros).as_str(), read(text)), (text, Ok(micros)));
        }
        assert_eq!((write(3_600_000_000).as_str(), read("60m")), ("1h", Ok(3_600_000_000)));
        for bad in ["", "5", "5 s", "-1s", "s", "1.5s", "99999999999999999999h"] {
            assert!(read(bad).unwrap_err().contains("looks like"), "{bad}");
        }
    }
}
