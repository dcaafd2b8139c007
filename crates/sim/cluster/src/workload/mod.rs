//! Workloads: what applications write before the run and while replicas sync.
//!
//! A [`Workload`] is plain data: the number of writes, their spread over time, nodes and entities, and the [`Mix`] of
//! operations. [`Workload::draw`] draws the writes.

mod disputed;
mod growth;
mod limits;
mod merge_faults;
mod mix;
mod moves;
mod odd_keys;
mod reuse;
mod together;
mod trace;
mod write;

pub use growth::Growth;
pub use limits::{MOST_SKEW, MOST_WRITES};
pub use merge_faults::{MergeFaults, MergeFunction};
pub(crate) use mix::COLLECTIONS;
pub use mix::{Mix, merges};
pub use write::Write;

use serde::{Deserialize, Serialize};
use std::ops::Range;
use sync_sim_engine::event::CrashPoint;
use sync_sim_engine::faults::{FaultConfig, Rate, serde_units};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::Operation;
use syncline_types::{Choice, SimDuration, SimTime};

/// The writes of a run: typed operations on few enough entities that nodes often write the same one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// The number of writes.
    pub writes: usize,
    /// The time over which the writes are spread.
    #[serde(with = "serde_units::time")]
    pub over: SimDuration,
    /// The share of writes made before the run begins: durable, and unknown to other nodes.
    pub before: Rate,
    /// The number of entities of each kind.
    pub keys: u64,
    /// How much writes prefer the first keys. Each unit draws the key once more, below the one that came: of eight
    /// keys the first has an eighth of the writes without skew, a third with one unit, more than a half with two.
    pub skew: u32,
    /// The most operations of one write.
    pub operations: u64,
    /// The probability that two nodes write the same entity at the same instant.
    pub clash: Rate,
    /// The probability that a write is followed by more of the same node within a few milliseconds.
    pub burst: Rate,
    /// The most writes that follow in a burst.
    pub burst_writes: u64,
    /// Whether texts and lists are edited anywhere, or only at their beginnings.
    pub anywhere: bool,
    /// The probability that a node crashes while it writes, somewhere between the commit and the last frame of the
    /// step, in runs whose faults include crashes.
    pub crash: Rate,
    /// The probability that a node loses its links just before it writes, in runs whose faults include departures.
    pub away: Rate,
    /// The operations and their weights.
    pub mix: Mix,
    /// The probability that an operation is about one of a few names that are deleted and written again, with the same
    /// type or another one, instead of an operation of the mix.
    pub reuse: Rate,
    /// The probability that all operations of a write are about one thing, such as a word that is replaced.
    pub together: Rate,
    /// The probability that an operation is about a name that other writers may give another type.
    pub disputed: Rate,
    /// The probability that an operation is about an entity that other writers may put at another place of the tree.
    pub moves: Rate,
    /// The probability that an operation is about a key that is any bytes.
    pub odd_keys: Rate,
    /// The probability that a node that has collected tombstones writes to such a name within half a second.
    pub after_collection: Rate,
    /// The probability that a node writes within half a second of a collection of tombstones: the node that has collected,
    /// or another one, which may have another horizon.
    pub around_collections: Rate,
    /// The probability that a node whose disk was replaced writes within 50 milliseconds of its restart, before it has
    /// synced.
    pub after_replacement: Rate,
    /// How often the writing stops. The parts between are equally long; together they are `over`.
    pub breaks: u64,
    /// How long it stops each time.
    #[serde(with = "serde_units::time")]
    pub break_for: SimDuration,
    /// What the writes make large, instead of writing at random. Then nothing is written before the run, and `clash`,
    /// `burst` and `mix` decide nothing but the writes during syncs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grows: Option<Growth>,
    /// How large the thing that grows may become, in the unit of its [`Growth`].
    #[serde(skip_serializing_if = "is_zero")]
    pub size: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(size: &u64) -> bool {
    *size == 0
}

/// Builds a workload of so many writes over so much time.
pub type WorkloadPreset = fn(usize, SimDuration) -> Workload;

/// One write of a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedWrite {
    /// The time of the write.
    pub at: SimTime,
    /// The node that writes.
    pub node: NodeId,
    /// The operations of the write.
    pub write: Write,
    /// A fault of the node around the write.
    pub mishap: Option<Mishap>,
}

/// A fault of a node around a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// A crash within the step of the write, and the time until the restart.
    Crash(CrashPoint, SimDuration),
    /// The links are lost just before the write, for this time.
    Away(SimDuration),
}

impl Default for Workload {
    /// Thirty writes over three seconds.
    fn default() -> Self {
        Self::new(30, SimDuration::from_secs(3))
    }
}

impl Workload {
    /// The presets by name.
    pub const PRESETS: [(&str, WorkloadPreset); 12] = [
        ("balanced", Self::new),
        ("text-heavy", Self::text_heavy),
        ("counters", Self::counters),
        ("deletes", Self::deletes),
        ("hot-key", Self::hot_key),
        ("document", |writes, over| Self { size: 2_000, ..Self::growing(Growth::Document, writes, over) }),
        ("large-values", |writes, over| Self {
            size: 1 << 16,
            ..Self::growing(Growth::LargeValues, writes, over)
        }),
        ("import", |writes, over| Self { operations: 64, ..Self::growing(Growth::Import, writes, over) }),
        ("prefixes", |writes, over| Self { operations: 8, ..Self::growing(Growth::Prefixes, writes, over) }),
        ("list-in-turn", |writes, over| Self::growing(Growth::ListInTurn, writes, over)),
        ("long-list", |writes, over| Self { size: 140, ..Self::growing(Growth::LongList, writes, over) }),
        ("deep-tree", |writes, over| Self { size: 256, ..Self::growing(Growth::DeepTree, writes, over) }),
    ];
    /// How many of the presets write at random; the others make one thing large.
    pub const RANDOM_PRESETS: usize = 5;

    /// `writes` writes over `over`: something of every kind, on eight entities of each, a quarter clashing.
    pub const fn new(writes: usize, over: SimDuration) -> Self {
        Self {
            writes,
            over,
            before: Rate::ppm(100_000),
            keys: 8,
            skew: 1,
            operations: 2,
            clash: Rate::ppm(250_000),
            burst: Rate::ppm(100_000),
            burst_writes: 4,
            anywhere: true,
            crash: Rate::ppm(50_000),
            away: Rate::ppm(100_000),
            mix: Mix::BALANCED,
            reuse: Rate::ZERO,
            together: Rate::ZERO,
            disputed: Rate::ZERO,
            moves: Rate::ZERO,
            odd_keys: Rate::ZERO,
            after_collection: Rate::ZERO,
            around_collections: Rate::ZERO,
            after_replacement: Rate::ZERO,
            breaks: 0,
            break_for: SimDuration::ZERO,
            grows: None,
            size: 0,
        }
    }

    /// Two thirds of the operations edit one text, often several nodes at once.
    pub const fn text_heavy(writes: usize, over: SimDuration) -> Self {
        Self { clash: Rate::ppm(400_000), mix: Mix::TEXT_HEAVY, ..Self::new(writes, over) }
    }

    /// Mostly counters, in bursts.
    pub const fn counters(writes: usize, over: SimDuration) -> Self {
        Self { burst: Rate::ppm(300_000), mix: Mix::COUNTERS, ..Self::new(writes, over) }
    }

    /// A third of the operations delete something.
    pub const fn deletes(writes: usize, over: SimDuration) -> Self {
        Self { keys: 4, mix: Mix::DELETES, ..Self::new(writes, over) }
    }

    /// Nearly everything happens to one entity of each kind.
    pub const fn hot_key(writes: usize, over: SimDuration) -> Self {
        Self { keys: 64, skew: 5, clash: Rate::ppm(500_000), ..Self::new(writes, over) }
    }

    /// `writes` writes that make one thing large, of one operation each and as small as [`Workload::size`] may be.
    pub const fn growing(growth: Growth, writes: usize, over: SimDuration) -> Self {
        Self { grows: Some(growth), size: 1, operations: 1, ..Self::new(writes, over) }
    }

    /// The preset with this name, if there is one.
    pub fn preset(name: &str) -> Option<WorkloadPreset> {
        Self::PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, preset)| *preset)
    }

    /// Sets how much the first keys are preferred.
    pub const fn with_skew(mut self, skew: u32) -> Self {
        self.skew = skew;
        self
    }

    /// Sets the number of entities of each kind.
    pub const fn with_keys(mut self, keys: u64) -> Self {
        self.keys = keys;
        self
    }

    /// Sets the operations and their weights.
    pub const fn with_mix(mut self, mix: Mix) -> Self {
        self.mix = mix;
        self
    }

    /// Sets the most operations of one write.
    pub const fn with_operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self
    }

    /// Sets the probability that a node crashes while it writes, in runs whose faults include crashes.
    pub const fn with_crashes(mut self, crash: Rate) -> Self {
        self.crash = crash;
        self
    }

    /// How long the writing has stopped before the write that would be due after `offset_us` without breaks.
    pub const fn paused_before(&self, offset_us: u64) -> SimDuration {
        let part_us = self.over.as_micros() / (self.breaks + 1);
        // Rounding may leave a rest after the last part, in which the writing does not stop again.
        match offset_us.checked_div(part_us) {
            Some(over) if over < self.breaks => self.break_for.times(over),
            Some(_) => self.break_for.times(self.breaks),
            None => SimDuration::ZERO,
        }
    }

    /// When the breaks begin, after the start of the writes.
    pub fn break_times(&self) -> impl Iterator<Item = SimDuration> + use<> {
        let part = SimDuration::from_micros(self.over.as_micros() / (self.breaks + 1));
        let break_for = self.break_for;
        (1..=self.breaks).map(move |number| part.times(number) + break_for.times(number - 1))
    }

    /// The number of writes made before the run.
    pub const fn writes_before(&self) -> usize {
        if self.grows.is_some() {
            return 0;
        }
        (self.writes as u64 * self.before.as_ppm() as u64 / 1_000_000) as usize
    }

    /// Draws `count` writes for `nodes` nodes, spread over time from `start` on.
    pub fn draw(
        &self,
        count: usize,
        nodes: usize,
        start: SimTime,
        faults: &FaultConfig,
        choices: &mut Choices,
    ) -> Vec<PlannedWrite> {
        const STREAM: Stream = Stream::Workload;
        if let Some(growth) = self.grows {
            return self.draw_growth(growth, (count, nodes), start, faults, choices);
        }
        let mut planned = Vec::with_capacity(count);
        while nodes > 0 && planned.len() < count {
            let offset = choices.below(STREAM, Choice::WriteTime, self.over.as_micros());
            let mut at = start + SimDuration::from_micros(offset) + self.paused_before(offset);
            let node = NodeId(choices.below(STREAM, Choice::WriteNode, nodes as u64) as u32);
            // The order of the draws is part of the trace: a new draw goes to the end.
            let mishap = self.mishap(faults, choices);
            let write = self.write(choices);
            if choices.chance(STREAM, Choice::WriteClash, self.clash.as_ppm()) && planned.len() + 1 < count {
                let other = NodeId(choices.below(STREAM, Choice::WriteNode, nodes as u64) as u32);
                let write = Write { operations: self.rivals(&write, choices), ..write };
                planned.push(PlannedWrite { at, node: other, write, mishap: None });
            }
            planned.push(PlannedWrite { at, node, write, mishap });
            if choices.chance(STREAM, Choice::WriteBurst, self.burst.as_ppm()) {
                let more = choices.between(STREAM, Choice::WriteBurst, 1, self.burst_writes.max(1));
                assert!(planned.len() <= count, "clashes and bursts stay within the count");
                for _ in 0..more.min((count - planned.len()) as u64) {
                    let pause = choices.below(STREAM, Choice::WriteBurst, 5_000);
                    at += SimDuration::from_micros(pause);
                    planned.push(PlannedWrite { at, node, write: self.write(choices), mishap: None });
                }
            }
        }
        planned
    }

    /// Draws a fault of the node around a write; `None` for most writes.
    fn mishap(&self, faults: &FaultConfig, choices: &mut Choices) -> Option<Mishap> {
        const STREAM: Stream = Stream::Workload;
        let happens = |with: Rate, rate: Rate, choices: &mut Choices| {
            // A fault that is off draws nothing, so that runs without it keep their traces.
            with != Rate::ZERO && choices.chance(STREAM, Choice::WriteMishap, rate.as_ppm())
        };
        let lasting = |range: &Range<u64>, choices: &mut Choices| {
            let end = range.end.saturating_sub(1);
            SimDuration::from_millis(choices.between(STREAM, Choice::WriteMishap, range.start, end))
        };
        if happens(faults.crash_probability, self.crash, choices) {
            let point = match choices.below(STREAM, Choice::WriteMishap, 4) {
                0 => CrashPoint::BeforeCommit,
                1 => CrashPoint::AfterCommit,
                2 => CrashPoint::AfterFirstSend,
                _ => CrashPoint::AfterAllSends,
            };
            return Some(Mishap::Crash(point, lasting(&faults.restart_delay_ms, choices)));
        }
        happens(faults.churn_probability, self.away, choices)
            .then(|| Mishap::Away(lasting(&faults.away_duration_ms, choices)))
    }

    /// Draws the operations of one write.
    pub fn write(&self, choices: &mut Choices) -> Write {
        let count = choices.between(Stream::Workload, Choice::WriteKind, 1, self.operations.max(1));
        // Without such writes nothing is drawn, so that other workloads keep their traces.
        if choices.chance(Stream::Workload, Choice::WriteKind, self.together.as_ppm()) {
            return Write { operations: self.about_one_thing(count, choices), wraps: true, context: 0 };
        }
        let operations = (0..count).map(|_| self.operation(choices)).collect();
        Write { operations, wraps: self.anywhere, context: 0 }
    }

    /// Conflicting operations of another node on the same entities.
    fn rivals(&self, write: &Write, choices: &mut Choices) -> Vec<Operation> {
        write.operations.iter().map(|operation| self.rival(operation, choices)).collect()
    }
}
