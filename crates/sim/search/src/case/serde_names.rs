//! The text form of single values in a case: names of enum variants, optional times, integers beyond the
//! range of TOML, and bytes.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sync_sim_engine::event::CrashPoint;
use sync_sim_engine::faults::time;
use sync_sim_engine::network::Topology;
use syncline_replica::{Collection, FrameKind};
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::SimDuration;

/// A closed set of values that case files write by name, such as `after_commit`.
///
/// The names are part of the file format ([`FORMAT`](super::FORMAT)): they are written out here, so that
/// renaming a variant in the code changes no file.
pub(super) trait Named: Copy + 'static {
    /// All values, in the order in which error messages list them.
    const ALL: &'static [Self];

    /// The name of a value in case files.
    fn name(self) -> &'static str;

    /// The value with this name; the error lists all names.
    fn of<E: Error>(name: &str) -> Result<Self, E> {
        Self::ALL.iter().copied().find(|value| value.name() == name).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(|value| format!("`{}`", value.name())).collect();
            E::custom(format!("unknown name `{name}`, expected one of {}", names.join(", ")))
        })
    }
}

/// Implements [`Named`]. A new variant does not compile until it has a name here, since the match is exhaustive.
macro_rules! names {
    ($type:ident: $($variant:ident = $name:literal),* $(,)?) => {
        impl Named for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

names!(Topology: Mesh = "mesh", Ring = "ring", Star = "star", Line = "line");

names!(Selection: Table = "table", Adaptive = "adaptive");

names! { SyncProtocolKind:
    None = "none",
    DeltaSync = "delta_sync",
    HashComparison = "hash_comparison",
    Snapshot = "snapshot",
    BloomFilter = "bloom_filter",
    SubtreePrefetch = "subtree_prefetch",
    LevelWise = "level_wise",
    RatelessIblt = "rateless_iblt",
}

names! { FrameKind:
    Delta = "delta",
    Heartbeat = "heartbeat",
    DeltaFetch = "delta_fetch",
    Handshake = "handshake",
    DeltaSync = "delta_sync",
    Exchange = "exchange",
    Snapshot = "snapshot",
}

names! { CrashPoint:
    Now = "now",
    BeforeCommit = "before_commit",
    AfterCommit = "after_commit",
    AfterFirstSend = "after_first_send",
    AfterAllSends = "after_all_sends",
    MidCommit = "mid_commit",
}

names! { Collection:
    Map = "map",
    SortedMap = "sorted_map",
    Set = "set",
    SortedSet = "sorted_set",
    List = "list",
    UserStorage = "user_storage",
    FrozenStorage = "frozen_storage",
}

/// For `#[serde(with)]`: a value by its name.
pub(super) mod name {
    use super::*;

    pub(in crate::case) fn serialize<T: Named, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.name())
    }

    pub(in crate::case) fn deserialize<'de, T: Named, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        T::of(&String::deserialize(from)?)
    }
}

/// For `#[serde(with)]`: an optional value by its name.
pub(super) mod maybe_name {
    use super::*;

    pub(in crate::case) fn serialize<T: Named, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(T::name).serialize(to)
    }

    pub(in crate::case) fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        T::of(&String::deserialize(from)?).map(Some)
    }
}

/// For `#[serde(with)]`: a list of values by their names. An empty list stands for all and is left out; in a file it
/// reads like none, and is refused.
pub(super) mod names {
    use super::*;

    pub(in crate::case) fn serialize<T: Named, S: Serializer>(value: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|one| one.name()))
    }

    pub(in crate::case) fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        if names.is_empty() {
            return Err(D::Error::custom(
                "an empty list matches nothing; name one at least, or leave it out for all",
            ));
        }
        names.iter().map(|name| T::of(name)).collect()
    }
}

/// For `#[serde(with)]`: an optional time.
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

/// For `#[serde(with)]`: an integer; as a string if it is beyond the 63 bits that TOML holds.
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

/// For `#[serde(with)]`: bytes as text, or as `hex:00ff` if they are not UTF-8. Text that begins with
/// `hex:` is written in hexadecimal too, so that it is not misread.
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

/// Rounder spans below this one, the roundest first: the span truncated to hours, minutes, seconds and so
/// on.
pub(crate) fn rounded_down(span: SimDuration) -> Vec<SimDuration> {
    let micros = span.as_micros();
    let steps = [3_600_000_000, 60_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10];
    let rounded = steps.into_iter().map(|step| micros / step * step).filter(|round| *round != micros);
    let mut rounded: Vec<u64> = rounded.collect();
    // Each step is a multiple of the next, so that the candidates ascend and equal ones are adjacent.
    rounded.dedup();
    rounded.into_iter().map(SimDuration::from_micros).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of<T: Named + PartialEq + std::fmt::Debug>() -> Vec<&'static str> {
        for value in T::ALL {
            assert_eq!(T::of::<toml::de::Error>(value.name()), Ok(*value));
        }
        T::ALL.iter().map(|value| value.name()).collect()
    }

    /// The names in case files of version 1. A change here breaks stored files: it needs a new version.
    #[test]
    fn names_in_files_are_frozen() {
        assert_eq!(crate::case::FORMAT, 1);
        assert_eq!(names_of::<Topology>(), ["mesh", "ring", "star", "line"]);
        assert_eq!(names_of::<Selection>(), ["table", "adaptive"]);
        let protocols = [
            "none",
            "delta_sync",
            "hash_comparison",
            "snapshot",
            "bloom_filter",
            "subtree_prefetch",
            "level_wise",
            "rateless_iblt",
        ];
        assert_eq!(names_of::<SyncProtocolKind>(), protocols);
        assert_eq!(
            names_of::<FrameKind>(),
            ["delta", "heartbeat", "delta_fetch", "handshake", "delta_sync", "exchange", "snapshot"]
        );
        assert_eq!(
            names_of::<CrashPoint>(),
            ["now", "before_commit", "after_commit", "after_first_send", "after_all_sends", "mid_commit"]
        );
        assert_eq!(
            names_of::<Collection>(),
            ["map", "sorted_map", "set", "sorted_set", "list", "user_storage", "frozen_storage"]
        );
    }

    #[test]
    fn refuses_unknown_names() {
        let error = Topology::of::<toml::de::Error>("rinf").unwrap_err();
        assert_eq!(error.message(), "unknown name `rinf`, expected one of `mesh`, `ring`, `star`, `line`");
    }

    #[test]
    fn writes_binary_bytes_as_hex() {
        assert_eq!((bytes::write(b"abc"), bytes::write(&[0xff, 1])), ("abc".into(), "hex:ff01".into()));
        assert_eq!(bytes::write(b"hex:00"), "hex:6865783a3030");
        assert_eq!((from_hex("ff01"), from_hex("f"), from_hex("zz")), (Some(vec![0xff, 1]), None, None));
    }

    #[test]
    fn rounds_to_coarsest_unit_first() {
        let found: Vec<u64> = rounded_down(SimDuration::from_micros(1_234_567))
            .into_iter()
            .map(SimDuration::as_micros)
            .collect();
        assert_eq!(found, [0, 1_000_000, 1_200_000, 1_230_000, 1_234_000, 1_234_500, 1_234_560]);
    }
}
