//! What hostile peers say that is not so.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A way to lie. A lie is a frame of the real replica, read with the real codec, changed, and written again:
/// it parses (but for [`Lie::Garbage`]), its checksum is right, and it is signed where its sender can sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Its root is another, which nobody has.
    LyingRoot,
    /// Its root is the one that the receiver said it has itself.
    EchoedRoot,
    /// Hashes in what it shows of its index, its sketch and its filters are others.
    WrongHashes,
    /// Records that it gives hold other values, and are valid.
    TamperedRecords,
    /// Records that it gives do not decode.
    BrokenRecords,
    /// A frame that it sent before comes instead, to whomever it was meant for then.
    ReplayedFrames,
    /// Deltas are not given, and the answer says that there are no others.
    WithheldDeltas,
    /// Deltas have other content, or another author, than what is signed.
    ForgedDeltas,
    /// A delta of its own, well signed, follows one that nobody ever wrote.
    ForgedParents,
    /// A delta of its own, well signed, puts what it writes in another place.
    ForgedPositions,
    /// What it says that it covers, keeps, has forgotten and what its clock shows is not so.
    ForgedVersions,
    /// Far more comes than was asked for: lists at their bounds, pages that claim to unpack to more than a
    /// frame holds, frames beyond what one may be.
    OversizedPages,
    /// Lists and pages that do not end: each says that there is more, and more comes.
    EndlessLists,
    /// Answers come late, one item each.
    SlowDrip,
    /// It says that it can run what it cannot and the other way round, chooses by no rule, and refuses in the
    /// middle of what it agreed to.
    FalseCapabilities,
    /// What stands behind a right checksum is no message.
    Garbage,
    /// Some field or some bytes of an answer are changed, whichever.
    RandomChanges,
}

impl Lie {
    /// Every kind.
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

    /// Its name, as cases and flags have it.
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

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lie| lie.name() == name)
    }

    /// Whether a member that tells it is believed: no honest member can know that it is not so, since a
    /// record bears no signature, and since what a member covers and has forgotten is its own to say. Where
    /// a member may tell such a lie, it is promised that honest members agree, and not on what.
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

/// Some kinds of lies, each once. As a list of names where it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lies(u32);

impl Lies {
    /// None.
    pub const NONE: Self = Self(0);

    /// All.
    pub fn all() -> Self {
        Lie::ALL.into_iter().collect()
    }

    /// Whether there is none.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub const fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// Those in it, in the order of [`Lie::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Lie> {
        Lie::ALL.into_iter().filter(move |lie| self.0 & 1 << *lie as u32 != 0)
    }

    /// The same without one.
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
    fn each_lie_is_written_by_its_name_and_found_by_it() {
        for lie in Lie::ALL {
            assert_eq!(serde_json::to_value(lie).unwrap(), lie.name());
            assert_eq!(Lie::named(lie.name()), Some(lie));
        }
        assert_eq!(Lie::named("white"), None);
    }

    #[test]
    fn a_set_of_lies_is_written_as_their_names_and_read_again() {
        let some: Lies = [Lie::SlowDrip, Lie::LyingRoot, Lie::SlowDrip].into_iter().collect();
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(text, r#"["lying_root","slow_drip"]"#);
        assert_eq!(serde_json::from_str::<Lies>(&text).unwrap(), some);
        assert_eq!(some.without(Lie::SlowDrip).iter().collect::<Vec<_>>(), [Lie::LyingRoot]);
        assert!(Lies::NONE.is_none() && Lies::all().iter().eq(Lie::ALL));
    }
}
