//! Randomness, passed to each step as an argument.

/// The purpose of a random draw. A recorder stores the purpose beside each drawn number, so that a
/// recorded sequence of draws can be read, edited and shrunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "each name says what is drawn")]
pub enum Choice {
    LinkLoss = 1,
    LinkLatency = 2,
    LinkReorder = 3,
    LinkDuplicate = 4,
    LinkCorrupt = 5,
    FlippedBit = 6,
    PartitionGap = 10,
    PartitionLength = 11,
    PartitionSides = 12,
    PartitionKind = 13,
    PartitionGroups = 14,
    CrashGap = 20,
    CrashLength = 21,
    SlowNode = 22,
    ChurnGap = 23,
    ChurnLength = 24,
    JoinTime = 25,
    /// When a node learns of a late joiner.
    Naming = 26,
    WriteDuringSync = 30,
    WriteTime = 31,
    WriteNode = 32,
    WriteKind = 33,
    WriteKey = 34,
    WriteValue = 35,
    WriteClash = 36,
    WritePosition = 37,
    WriteBurst = 38,
    WriteMishap = 39,
    WriteContext = 45,
    /// Whether an operation is about a name that is deleted and written again.
    WriteReuse = 46,
    /// Whether and when a node writes after it has collected tombstones, or has come back with another disk.
    WriteAfterFault = 47,
    ScenarioShape = 40,
    ScenarioEntity = 41,
    PeerOrder = 50,
    TimerJitter = 51,
    LinkTail = 60,
    LinkTailLength = 61,
    LinkBurst = 62,
    LinkBurstLoss = 63,
    LinkBadLoss = 64,
    ConnectionReset = 65,
    Retransmissions = 66,
    BadLink = 67,
    BadLinkSlowdown = 68,
    FlappingLink = 69,
    FlapUp = 70,
    FlapDown = 71,
    FlapBegun = 72,
    ClockSkew = 100,
    ClockDrift = 101,
    TimerDrift = 102,
    ClockJumpGap = 103,
    ClockJump = 104,
    ClockFreezeGap = 105,
    ClockFreeze = 106,
    /// The time until a clock is far ahead.
    ClockAheadGap = 107,
    /// How far ahead a clock is, and for how long.
    ClockAhead = 108,
    PauseGap = 110,
    PauseLength = 111,
    SlowHost = 112,
    FailedWrite = 120,
    LyingSync = 121,
    TornWriteGap = 122,
    TornWrite = 123,
    RotGap = 124,
    RottenRow = 125,
    ScrubTime = 126,
    RestartDelay = 127,
    /// The time until a disk is backed up or restored, and which of them.
    RestoreGap = 128,
    /// The time until a disk is replaced by a copy of another one.
    CloneGap = 129,
    /// The node whose disk is copied.
    CloneSource = 133,
    /// The time until a disk is lost, and whether the host has counted the starts.
    LoseDiskGap = 134,
    Lie = 130,
    LieKind = 131,
    LieDetail = 132,
    ClockPhase = 135,
    /// The first number of a replica's sessions.
    SessionOffset = 136,
}

/// A source of random draws. A step that needs randomness takes one as an argument; the caller decides
/// whether the draws are fresh, seeded or replayed.
pub trait Entropy {
    /// Draws a number in `0..bound`, uniformly distributed; zero if `bound` is zero.
    fn below(&mut self, choice: Choice, bound: u64) -> u64;

    /// Draws a number in `low..=high`, uniformly distributed. If the range is empty or has one number,
    /// the result is `low` and nothing is drawn.
    fn between(&mut self, choice: Choice, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        // The whole range of 64 bits has 2^64 numbers, one more than `bound` can say: then `u64::MAX`
        // is never drawn.
        low + self.below(choice, (high - low).saturating_add(1))
    }
}
