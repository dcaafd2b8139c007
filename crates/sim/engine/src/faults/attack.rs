//! The attacks of hostile peers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A kind of attack. An adversary takes a frame of a real replica, decodes it, alters it and encodes it
/// again: the frame decodes (except for [`Lie::Garbage`]), its checksum is right, and it is signed if its
/// sender can sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// The root is altered to one that no replica has.
    LyingRoot,
    /// The root is replaced by the receiver's own root.
    EchoedRoot,
    /// Hashes in index nodes, sketches and filters are altered.
    WrongHashes,
    /// Values in records are altered, and the records are valid.
    TamperedRecords,
    /// Records are altered so that they do not decode.
    BrokenRecords,
    /// A frame that was sent before is sent instead, to its receiver at that time.
    ReplayedFrames,
    /// Deltas are withheld, and the response says that there are no others.
    WithheldDeltas,
    /// The content or the author of deltas differs from what is signed, or the signature is damaged. Deltas of others are
    /// passed on like that, too.
    ForgedDeltas,
    /// A delta of the adversary's own, correctly signed, has a parent, or a number after one, that does not exist.
    ForgedParents,
    /// A delta of the adversary's own, correctly signed, writes to altered positions.
    ForgedPositions,
    /// Version vectors, retention, horizon and clock are altered.
    ForgedVersions,
    /// Responses are far larger than requested: lists at their limits, pages that claim to decompress to more
    /// than a frame holds, frames above the size limit.
    OversizedPages,
    /// Lists and pages never end: each announces another one. Deltas are sent, and asked for in the same message.
    EndlessLists,
    /// Responses are late and contain one item each.
    SlowDrip,
    /// The announced capabilities are false, the selected protocol follows no rule, and sessions are refused
    /// after they were agreed to.
    FalseCapabilities,
    /// The bytes behind a correct checksum are not a message.
    Garbage,
    /// A random field or random bytes of a response are altered.
    RandomChanges,
}

impl Lie {
    /// Every kind of attack.
    pub const ALL: [Self; 17] = [
        Self::LyingRoot,
        Self::EchoedRoot,
        Self::WrongHashes,
        Self::TamperedRecords,
        Self::BrokenRecords,
        Self::ReplayedFrames,
        Self::WithheldDeltas,
        Self::ForgedDeltas,
        Self::ForgedParents,
        Self::ForgedPositions,
        Self::ForgedVersions,
        Self::OversizedPages,
        Self::EndlessLists,
        Self::SlowDrip,
        Self::FalseCapabilities,
        Self::Garbage,
        Self::RandomChanges,
    ];

    /// The name in case files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LyingRoot => "lying_root",
            Self::EchoedRoot => "echoed_root",
            Self::WrongHashes => "wrong_hashes",
            Self::TamperedRecords => "tampered_records",
            Self::BrokenRecords => "broken_records",
            Self::ReplayedFrames => "replayed_frames",
            Self::WithheldDeltas => "withheld_deltas",
            Self::ForgedDeltas => "forged_deltas",
            Self::ForgedParents => "forged_parents",
            Self::ForgedPositions => "forged_positions",
            Self::ForgedVersions => "forged_versions",
            Self::OversizedPages => "oversized_pages",
            Self::EndlessLists => "endless_lists",
            Self::SlowDrip => "slow_drip",
            Self::FalseCapabilities => "false_capabilities",
            Self::Garbage => "garbage",
            Self::RandomChanges => "random_changes",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lie| lie.name() == name)
    }

    /// Whether honest members cannot detect the attack if a member makes it: records carry no signature, and
    /// no one else knows what a member covers and has collected. Under such attacks the promise is that
    /// honest members agree, and not on which state.
    pub const fn is_taken_on_trust(self) -> bool {
        matches!(
            self,
            Self::EchoedRoot
                | Self::TamperedRecords
                | Self::ForgedPositions
                | Self::ForgedVersions
                | Self::RandomChanges
        )
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kinds of attacks. Its serialized form is a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lies(u32);

impl Lies {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of all kinds.
    pub fn all() -> Self {
        Lie::ALL.into_iter().collect()
    }

    /// Whether the set is empty.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub const fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// The kinds in the set, in the order of [`Lie::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Lie> {
        Lie::ALL.into_iter().filter(move |lie| self.0 & 1 << *lie as u32 != 0)
    }

    /// The set without one kind.
    pub const fn without(self, lie: Lie) -> Self {
        Self(self.0 & !(1 << lie as u32))
    }
}

impl FromIterator<Lie> for Lies {
    fn from_iter<I: IntoIterator<Item = Lie>>(lies: I) -> Self {
        Self(lies.into_iter().fold(0, |all, lie| all | 1 << lie as u32))
    }
}

impl Serialize for Lies {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Lies {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<Lie>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for lie in Lie::ALL {
            assert_eq!(serde_json::to_value(lie).unwrap(), lie.name());
            assert_eq!(Lie::named(lie.name()), Some(lie));
        }
        assert_eq!(Lie::named("white"), None);
    }

    #[test]
    fn sets_serialize_as_names() {
        let some: Lies = [Lie::SlowDrip, Lie::LyingRoot, Lie::SlowDrip].into_iter().collect();
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"["lying_root","slow_drip"]"#);
        assert_eq!(serde_json::from_str::<Lies>(&text).unwrap(), some);
        assert_eq!(some.without(Lie::SlowDrip).iter().collect::<Vec<_>>(), [Lie::LyingRoot]);
        assert!(Lies::NONE.is_none() && Lies::all().iter().eq(Lie::ALL));
    }
}
