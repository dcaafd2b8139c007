//! Randomness as an argument.

/// What a random draw decides. Labels are recorded beside each draw, so that a tape of choices can
/// be read, edited and shrunk.
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
    CrashGap = 20,
    CrashLength = 21,
    SlowNode = 22,
    ChurnGap = 23,
    ChurnLength = 24,
    JoinTime = 25,
    WriteDuringSync = 30,
    WriteTime = 31,
    WriteNode = 32,
    WriteKind = 33,
    WriteKey = 34,
    WriteValue = 35,
    WriteClash = 36,
    ScenarioShape = 40,
    ScenarioEntity = 41,
    PeerOrder = 50,
    TimerJitter = 51,
    ClockSkew = 60,
    ClockDrift = 61,
    TimerDrift = 62,
    ClockJumpGap = 63,
    ClockJump = 64,
    ClockFreezeGap = 65,
    ClockFreeze = 66,
    PauseGap = 70,
    PauseLength = 71,
    SlowHost = 72,
    FailedWrite = 80,
    LyingSync = 81,
    TornWriteGap = 82,
    TornWrite = 83,
    RotGap = 84,
    RottenRow = 85,
    ScrubTime = 86,
    RestartDelay = 87,
}

/// A source of random draws. A step that needs chance takes one as an argument; who provides it
/// decides whether the draws are fresh, seeded or replayed.
pub trait Entropy {
    /// A number in `0..bound`, uniform; zero when `bound` is zero.
    fn below(&mut self, choice: Choice, bound: u64) -> u64;

    /// A number in `low..=high`, uniform; `low` when the range is empty.
    fn between(&mut self, choice: Choice, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        low + self.below(choice, (high - low).saturating_add(1))
    }
}
