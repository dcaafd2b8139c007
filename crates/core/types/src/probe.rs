//! Code probes: rare branches report that they ran, so that a test suite knows what it has exercised.
//!
//! A probe is a fact of the replica that ran the branch, not a guess from its settings. Probes have no effect
//! on what a replica does. The idea is from FoundationDB's simulation tests (`CODE_PROBE`).

use std::ops::BitOrAssign;

/// Lists the probes with what they say.
macro_rules! probes {
    ($($probe:ident = $words:literal;)*) => {
        /// A rare branch of the replica's code. A step reports those that it has taken, so that a test can demand them.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Probe {
            $(#[doc = $words] $probe,)*
        }

        impl Probe {
            /// All probes.
            pub const ALL: &'static [Self] = &[$(Self::$probe),*];

            /// What happened, in words.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$probe => $words,)* }
            }
        }
    };
}

probes! {
    SnapshotResumed = "a snapshot went on past its first page after it was cut off";
    SnapshotWalkResumed = "a snapshot with all its pages went on after it was cut off";
    LaterBoundary = "a snapshot went on at a later boundary";
    BoundariesUsedUp = "a snapshot met more boundaries than one session reads from";
    SnapshotMixed = "a snapshot of several boundaries was completed by a walk";
    SnapshotStartedOver = "a snapshot was started over because its source had collected tombstones";
    PageSplitsChildren = "a snapshot page ended among the children of an entity below the root";
    RemainsInPieces = "the remains of a snapshot were removed in several rounds";
    PeerSkipped = "a snapshot skipped a peer that had much less";
    StagedGivenUp = "staged records were given up for a peer that had much less";
    EarlyPublished = "a snapshot was published without records ahead of the clock";
    EarlyRipened = "a record staged ahead of the clock was acceptable when it was published";
    EarlyTooMany = "a snapshot had too many records ahead of the clock";
    PublishedOverWrites = "a snapshot was published over local writes";
    PublishedTooLate = "a snapshot was given up because tombstones were collected meanwhile";
    AgreedOnHandshake = "a session found equal roots once it had the handshake of its peer";
    TransferSuperseded = "another protocol took the place of an unfinished snapshot";
    ViewEvicted = "a view was evicted from the cache";
    ViewGone = "the view that a snapshot was read from was gone";
    ReplyCut = "a reply left questions or requests to the next round";
    ChildrenCut = "the children of one entity took several answers";
    SubtreeCut = "a subtree took several pages";
    SubtreeTooWide = "a subtree was too wide to be sent";
    ShortIdsCut = "records by short id took several pages";
    MissingCut = "a Bloom filter showed as many missing records as an answer lists";
    LocatedCut = "a located difference did not fit the handshake";
    CellsComputed = "cells beyond the stored sketch were computed";
    Filtered = "a large difference was located by filters";
    CellsRepeated = "a session asked for more cells";
    CellsUsedUp = "a session gave up decoding cells";
    PrefetchGivenUp = "a session compared the rest of its subtrees";
    PushesCut = "pushed records took several requests";
    OrphanJoined = "a record that had waited for its parent was joined";
    OrphansDropped = "records that waited for their parents were dropped";
    ManyChildren = "a bucket of the peer was compared with many children";
    SecondWalk = "a session walked twice";
    DeltasCut = "missing deltas took several pages";
    DeltasWalked = "deltas did not make two states equal";
    LogPruned = "a log pruned deltas";
    BelowFloor = "a peer that lacked pruned deltas was synced by its state";
    FetchCut = "requested deltas took several replies";
    FetchUnavailable = "a requested delta was not stored any more";
    FetchUsedUp = "missing deltas could not be fetched";
    FetchFull = "as many deltas were missing as one request names";
    HorizonAhead = "a delta waited until the tombstones that its author had collected were collected here";
    BufferFull = "a delta buffer was full";
    LongestBackoff = "the longest backoff was reached";
    LongestTimeout = "the longest timeout was reached";
    Fruitless = "a peer was backed off from because its sessions changed nothing";
    Overdue = "a session ran out of time";
    Crowded = "a session waited for a place";
    Forwarded = "a delta was passed on to others";
    WriteTooLarge = "a write was refused because it was too large";
    FrameTooLarge = "a frame was refused because it was too large";
}

/// A set of probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Probes(u64);

const _: () = assert!(Probe::ALL.len() <= 64, "a set has a bit for each probe");

impl Probes {
    /// Adds a probe: its branch ran.
    pub const fn note(&mut self, probe: Probe) {
        self.0 |= 1 << probe as u64;
    }

    /// Adds a probe if its branch ran.
    pub const fn note_if(&mut self, ran: bool, probe: Probe) {
        self.0 |= (ran as u64) << probe as u64;
    }

    /// Whether the branch of a probe ran.
    pub const fn contains(self, probe: Probe) -> bool {
        self.0 >> probe as u64 & 1 == 1
    }

    /// The set as bits: bit `i` stands for the probe `i` of [`Probe::ALL`].
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The probes in the set.
    pub fn iter(self) -> impl Iterator<Item = Probe> {
        Probe::ALL.iter().copied().filter(move |probe| self.contains(*probe))
    }
}

impl BitOrAssign for Probes {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_every_probe() {
        let mut all = Probes::default();
        for probe in Probe::ALL {
            let mut one = Probes::default();
            one.note(*probe);
            assert!(one.contains(*probe) && !all.contains(*probe), "{probe:?}");
            assert_eq!(one.iter().collect::<Vec<_>>(), [*probe]);
            all |= one;
        }
        assert_eq!(all.iter().count(), Probe::ALL.len());
        let mut none = Probes::default();
        none.note_if(false, Probe::BufferFull);
        assert_eq!(none, Probes::default());
    }
}
