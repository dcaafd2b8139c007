//! Every decision of chance, drawn from streams that do not disturb each other.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use syncline_types::{Choice, Entropy};

/// Who draws. Each stream is its own, so that one more draw in one place leaves all others as they
/// were.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stream {
    /// What happens to the frames a node sends.
    Link(u32),
    /// What a node itself leaves to chance.
    Node(u32),
    /// When a node crashes, and for how long.
    Crash(u32),
    /// When a node joins or leaves, and for how long it is away.
    Churn(u32),
    /// Which frames that a node sends are corrupted, and where.
    Corruption(u32),
    /// What a node's single links do to its frames, where they have faults of their own.
    Wire(u32),
    /// What those links are like.
    Wiring(u32),
    /// How a node's clocks go wrong.
    Clock(u32),
    /// What a node's disk does wrong.
    Disk(u32),
    /// When a node pauses, and whether it is slow.
    Pause(u32),
    /// Which bits rules flip.
    Rules,
    /// Spontaneous partitions.
    Partition,
    /// What is written, where and when.
    Workload,
    /// The initial states.
    Scenario,
    /// Which context is written to, where there are several.
    Contexts,
}

impl Stream {
    const fn number(self) -> u64 {
        let (kind, node) = match self {
            Self::Link(node) => (1, node),
            Self::Node(node) => (2, node),
            Self::Crash(node) => (3, node),
            Self::Partition => (4, 0),
            Self::Workload => (5, 0),
            Self::Scenario => (6, 0),
            Self::Contexts => (10, 0),
            Self::Churn(node) => (7, node),
            Self::Corruption(node) => (8, node),
            Self::Rules => (9, 0),
            Self::Wire(node) => (20, node),
            Self::Wiring(node) => (21, node),
            Self::Clock(node) => (30, node),
            Self::Disk(node) => (31, node),
            Self::Pause(node) => (32, node),
        };
        kind << 32 | node as u64
    }
}

/// One recorded draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// Who drew.
    pub stream: Stream,
    /// What it decided.
    pub choice: Choice,
    /// The draw was below this.
    pub bound: u64,
    /// What came.
    pub value: u64,
}

/// All draws of a run in their order.
pub type Tape = Vec<Drawn>;

#[derive(Clone, Debug, Default)]
struct Streams {
    nodes: Vec<[Option<Box<ChaCha8Rng>>; 10]>,
    shared: [Option<Box<ChaCha8Rng>>; 5],
}

impl Streams {
    fn get(&mut self, seed: u64, stream: Stream) -> &mut ChaCha8Rng {
        let place = match stream {
            Stream::Link(node)
            | Stream::Node(node)
            | Stream::Crash(node)
            | Stream::Churn(node)
            | Stream::Corruption(node)
            | Stream::Wire(node)
            | Stream::Wiring(node)
            | Stream::Clock(node)
            | Stream::Disk(node)
            | Stream::Pause(node) => {
                let node = node as usize;
                if self.nodes.len() <= node {
                    self.nodes.resize_with(node + 1, Default::default);
                }
                let [link, own, crash, churn, corruption, wire, wiring, clock, disk, pause] =
                    &mut self.nodes[node];
                match stream {
                    Stream::Link(_) => link,
                    Stream::Node(_) => own,
                    Stream::Crash(_) => crash,
                    Stream::Churn(_) => churn,
                    Stream::Wire(_) => wire,
                    Stream::Wiring(_) => wiring,
                    Stream::Clock(_) => clock,
                    Stream::Disk(_) => disk,
                    Stream::Pause(_) => pause,
                    _ => corruption,
                }
            }
            Stream::Partition => &mut self.shared[0],
            Stream::Workload => &mut self.shared[1],
            Stream::Scenario => &mut self.shared[2],
            Stream::Rules => &mut self.shared[3],
            Stream::Contexts => &mut self.shared[4],
        };
        place.get_or_insert_with(|| Box::new(fresh(seed, stream)))
    }
}

/// A uniform number as one in `0..bound`.
fn scaled(raw: u64, bound: u64) -> u64 {
    ((u128::from(raw) * u128::from(bound)) >> 64) as u64
}

fn fresh(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut key = *b"\0\0\0\0\0\0\0\0syncline choices, v. 001";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream.number());
    rng
}

/// The source of all chance of a run: seeded, and if wished recorded or replayed. Integers only,
/// so that every platform draws alike.
#[derive(Clone, Debug)]
pub struct Choices {
    seed: u64,
    streams: Streams,
    recording: Option<Tape>,
    replay: BTreeMap<Stream, VecDeque<Drawn>>,
    mismatches: u64,
}

impl Choices {
    /// The choices of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, streams: Streams::default(), recording: None, replay: BTreeMap::new(), mismatches: 0 }
    }

    /// The choices of a tape, stream by stream; past the end of a stream, those of the seed.
    pub fn replayed(seed: u64, tape: &[Drawn]) -> Self {
        let mut choices = Self::seeded(seed);
        for drawn in tape {
            choices.replay.entry(drawn.stream).or_default().push_back(*drawn);
        }
        choices
    }

    /// From now on keeps every draw.
    pub fn record(&mut self) {
        self.recording.get_or_insert_default();
    }

    /// What was drawn since [`Choices::record`].
    pub fn tape(&self) -> &[Drawn] {
        self.recording.as_deref().unwrap_or_default()
    }

    /// The seed.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A number in `0..bound`, uniform; zero, without a draw, when there is no choice.
    pub fn below(&mut self, stream: Stream, choice: Choice, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        self.drawn(stream, choice, bound)
    }

    /// As [`Choices::below`], but draws even when there is no choice, so that what follows does not
    /// depend on whether there was one.
    pub fn drawn(&mut self, stream: Stream, choice: Choice, bound: u64) -> u64 {
        // The seed's stream goes on in step with the tape, so that a replay may end anywhere.
        let raw = self.streams.get(self.seed, stream).next_u64();
        let mut value = scaled(raw, bound);
        if let Some(drawn) = self.replay.get_mut(&stream).and_then(VecDeque::pop_front) {
            if drawn.choice == choice && drawn.value < bound.max(1) {
                value = drawn.value;
            } else {
                // An edited tape has led the run elsewhere; here the seed decides.
                self.mismatches += 1;
            }
        }
        if let Some(tape) = &mut self.recording {
            tape.push(Drawn { stream, choice, bound, value });
        }
        value
    }

    /// As that many calls of [`Choices::drawn`], with the stream found once.
    pub(crate) fn drawn_all<const N: usize>(
        &mut self,
        stream: Stream,
        wanted: [(Choice, u64); N],
    ) -> [u64; N] {
        if self.recording.is_some() || !self.replay.is_empty() {
            return wanted.map(|(choice, bound)| self.drawn(stream, choice, bound));
        }
        let rng = self.streams.get(self.seed, stream);
        wanted.map(|(_, bound)| scaled(rng.next_u64(), bound))
    }

    /// How often a tape held another choice than was asked for.
    pub const fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// A number in `low..=high`, uniform.
    pub fn between(&mut self, stream: Stream, choice: Choice, low: u64, high: u64) -> u64 {
        Source { choices: self, stream }.between(choice, low, high)
    }

    /// True with a probability of `ppm` in a million.
    pub fn chance(&mut self, stream: Stream, choice: Choice, ppm: u32) -> bool {
        match ppm {
            0 => false,
            1_000_000.. => true,
            _ => self.below(stream, choice, 1_000_000) < u64::from(ppm),
        }
    }

    /// One stream as a source of chance for a step.
    pub const fn source(&mut self, stream: Stream) -> Source<'_> {
        Source { choices: self, stream }
    }
}

/// One stream of the choices.
#[derive(Debug)]
pub struct Source<'a> {
    choices: &'a mut Choices,
    stream: Stream,
}

impl Entropy for Source<'_> {
    fn below(&mut self, choice: Choice, bound: u64) -> u64 {
        self.choices.below(self.stream, choice, bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(choices: &mut Choices, stream: Stream, count: usize) -> Vec<u64> {
        (0..count).map(|_| choices.below(stream, Choice::LinkLoss, 1 << 40)).collect()
    }

    #[test]
    fn draws_in_one_stream_leave_the_others_as_they_were() {
        let (mut one, mut two) = (Choices::seeded(7), Choices::seeded(7));
        draw(&mut one, Stream::Link(0), 100);
        assert_eq!(draw(&mut one, Stream::Link(1), 5), draw(&mut two, Stream::Link(1), 5));
        assert_ne!(draw(&mut two, Stream::Link(2), 5), draw(&mut two, Stream::Node(2), 5));
    }

    #[test]
    fn draws_of_a_seed_never_change() {
        // A golden value: if it moves, every published seed means another run.
        assert_eq!(draw(&mut Choices::seeded(42), Stream::Workload, 2), GOLDEN);
    }
    const GOLDEN: [u64; 2] = [63_416_205_229, 423_449_868_682];

    #[test]
    fn a_tape_replays_and_runs_on_as_its_seed_would() {
        let mut first = Choices::seeded(3);
        first.record();
        let drawn = draw(&mut first, Stream::Partition, 10);
        let mut again = Choices::replayed(3, &first.tape()[..4]);
        assert_eq!(draw(&mut again, Stream::Partition, 10), drawn);
        let mut edited = first.tape().to_vec();
        edited[0].value = 11;
        let mut other = Choices::replayed(3, &edited);
        assert_eq!(draw(&mut other, Stream::Partition, 10)[1..], drawn[1..]);
    }
}
