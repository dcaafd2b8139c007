//! How the values of a case are written: names of choices, times that may be left out, whole numbers
//! beyond what TOML holds, bytes.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Debug;
use sync_sim_engine::event::CrashPoint;
use sync_sim_engine::faults::time;
use sync_sim_engine::network::Topology;
use syncline_replica::{Collection, FrameKind};
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::SimDuration;

/// One of a few things, written by its name: `AfterCommit` as `after_commit`.
pub(super) trait OneOf: Copy + Debug + 'static {
    /// All there are.
    const ALL: &'static [Self];

    /// Its name.
    fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The one of this name.
    fn of<E: Error>(name: &str) -> Result<Self, E> {
        Self::ALL.iter().copied().find(|one| one.name() == name).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(|one| format!("`{}`", one.name())).collect();
            E::custom(format!("unknown name `{name}`, expected one of {}", names.join(", ")))
        })
    }
}

impl OneOf for Topology {
    const ALL: &'static [Self] = &Self::ALL;
}

impl OneOf for Selection {
    const ALL: &'static [Self] = &[Self::Table, Self::Adaptive];
}

impl OneOf for SyncProtocolKind {
    const ALL: &'static [Self] = &Self::ALL;
}

impl OneOf for FrameKind {
    const ALL: &'static [Self] = &Self::ALL;
}

impl OneOf for CrashPoint {
    const ALL: &'static [Self] =
        &[Self::Now, Self::BeforeCommit, Self::AfterCommit, Self::AfterFirstSend, Self::AfterAllSends];
}

impl OneOf for Collection {
    const ALL: &'static [Self] = &[
        Self::Map,
        Self::SortedMap,
        Self::Set,
        Self::SortedSet,
        Self::List,
        Self::UserStorage,
        Self::FrozenStorage,
    ];
}

/// For `#[serde(with)]`: one of a few things.
pub(super) mod name {
    use super::*;

    pub(in crate::case) fn serialize<T: OneOf, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.name())
    }

    pub(in crate::case) fn deserialize<'de, T: OneOf, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::of(&String::deserialize(from)?)
    }
}

/// For `#[serde(with)]`: one of a few things, or none of them.
pub(super) mod maybe_name {
    use super::*;

    pub(in crate::case) fn serialize<T: OneOf, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(T::name).serialize(to)
    }

    pub(in crate::case) fn deserialize<'de, T: OneOf, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        T::of(&String::deserialize(from)?).map(Some)
    }
}

/// For `#[serde(with)]`: some of a few things.
pub(super) mod names {
    use super::*;

    pub(in crate::case) fn serialize<T: OneOf, S: Serializer>(value: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|one| one.name()))
    }

    pub(in crate::case) fn deserialize<'de, T: OneOf, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|name| T::of(name)).collect()
    }
}

/// For `#[serde(with)]`: a time that may be left out.
pub(super) mod maybe_time {
    use super::*;

    pub(in crate::case) fn serialize<T: time::Micros, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|value| time::write(value.micros())).serialize(to)
    }

    pub(in crate::case) fn deserialize<'de, T: time::Micros, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        time::deserialize(from).map(Some)
    }
}

/// For `#[serde(with)]`: a whole number; in quotes where it is beyond what TOML holds.
pub(super) mod whole {
    use super::*;

    pub(in crate::case) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(*value) {
            Ok(small) => to.serialize_i64(small),
            Err(_) => to.serialize_str(&value.to_string()),
        }
    }

    struct Whole;

    impl serde::de::Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::custom(format!("{value} is below zero")))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::custom(format!("{text:?} is no whole number")))
        }
    }

    pub(in crate::case) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        from.deserialize_any(Whole)
    }
}

/// For `#[serde(with)]`: bytes as text, or as `hex:00ff` if they are none.
pub(super) mod bytes {
    use super::*;

    const HEX: &str = "hex:";

    pub(in crate::case) fn write(bytes: &[u8]) -> String {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with(HEX) => text.to_owned(),
            _ => format!("{HEX}{}", to_hex(bytes)),
        }
    }

    pub(in crate::case) fn serialize<S: Serializer>(value: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&write(value))
    }

    pub(in crate::case) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let Some(digits) = text.strip_prefix(HEX) else { return Ok(text.into_bytes()) };
        from_hex(digits).ok_or_else(|| D::Error::custom(format!("{digits:?} are no bytes in hexadecimal")))
    }
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}

/// The nearest rounder span below: the same with fewer digits in the unit it is written in.
pub(crate) fn rounder(span: SimDuration) -> Vec<SimDuration> {
    let micros = span.as_micros();
    let steps = [3_600_000_000, 60_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10];
    let rounded = steps.into_iter().map(|step| micros / step * step).filter(|round| *round != micros);
    let mut rounded: Vec<u64> = rounded.collect();
    rounded.dedup();
    rounded.into_iter().map(SimDuration::from_micros).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_by_its_name() {
        assert_eq!(CrashPoint::AfterFirstSend.name(), "after_first_send");
        assert_eq!(Topology::of::<toml::de::Error>("ring"), Ok(Topology::Ring));
        for kind in <FrameKind as OneOf>::ALL {
            assert_eq!(FrameKind::of::<toml::de::Error>(&kind.name()), Ok(*kind));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_written_in_hexadecimal() {
        assert_eq!((bytes::write(b"abc"), bytes::write(&[0xff, 1])), ("abc".into(), "hex:ff01".into()));
        assert_eq!(bytes::write(b"hex:00"), "hex:6865783a3030");
        assert_eq!((from_hex("ff01"), from_hex("f"), from_hex("zz")), (Some(vec![0xff, 1]), None, None));
    }

    #[test]
    fn rounder_spans_come_from_the_roundest() {
        let found: Vec<u64> =
            rounder(SimDuration::from_micros(1_234_567)).into_iter().map(SimDuration::as_micros).collect();
        assert_eq!(found, [0, 1_000_000, 1_200_000, 1_230_000, 1_234_000, 1_234_500, 1_234_560]);
    }
}
