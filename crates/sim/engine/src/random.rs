//! Randomness: every random decision of a run is drawn from one of several independent streams.
//!
//! Each stream is a ChaCha8 generator with the seed of the run and its own stream number. A draw in one
//! stream therefore leaves all others as they were, so that a new fault does not change what older faults do.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use syncline_types::{Choice, Entropy};

/// Identifies a stream of random draws.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stream {
    /// The faults of the frames that a node sends.
    Link(u32),
    /// The random decisions of a node itself.
    Node(u32),
    /// When a node crashes, and for how long.
    Crash(u32),
    /// When a node joins or leaves, and for how long it is away.
    Churn(u32),
    /// Which frames that a node sends are corrupted, and where.
    Corruption(u32),
    /// What the single links of a node do to its frames, if links have faults of their own.
    SingleLink(u32),
    /// The properties of these links.
    LinkTraits(u32),
    /// The faults of a node's clocks.
    Clock(u32),
    /// The faults of a node's disk.
    Disk(u32),
    /// When a node pauses, and whether it is slow.
    Pause(u32),
    /// The bits that rules flip.
    Rules,
    /// The times and shapes of random partitions.
    Partition,
    /// The operations of the workload, their nodes and times.
    Workload,
    /// The initial states of the nodes.
    Scenario,
    /// The context of each write, if nodes have several.
    Contexts,
}

impl Stream {
    /// The number of the stream in the generator. It must not change: published seeds depend on it.
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
            Self::SingleLink(node) => (20, node),
            Self::LinkTraits(node) => (21, node),
            Self::Clock(node) => (30, node),
            Self::Disk(node) => (31, node),
            Self::Pause(node) => (32, node),
        };
        kind << 32 | node as u64
    }
}

/// One draw of a recorded run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RandomDraw {
    /// The stream of the draw.
    pub stream: Stream,
    /// The purpose of the draw.
    pub choice: Choice,
    /// The exclusive upper bound.
    pub bound: u64,
    /// The number that was drawn.
    pub value: u64,
}

/// Where a run begins to draw as if it had another seed. What it drew before stays, so that the run is the same up to
/// there and differs after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Splice {
    /// The number of draws that come before, of all streams together.
    pub after_draws: u64,
    /// The seed of the draws from then on.
    pub seed: u64,
}

/// All draws of a run, in their order.
pub type Tape = Vec<RandomDraw>;

/// A stream of uniform 64-bit numbers: a ChaCha8 generator.
#[derive(Clone, Debug)]
pub struct NumberStream(ChaCha8Rng);

impl NumberStream {
    /// One of 2^64 streams of a key. Its number is the nonce of ChaCha, which makes the streams independent.
    pub fn new(key: [u8; 32], number: u64) -> Self {
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number);
        Self(rng)
    }

    /// Draws the next number, uniformly distributed over 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[derive(Clone, Debug, Default)]
struct Streams {
    nodes: Vec<[Option<Box<NumberStream>>; 10]>,
    shared: [Option<Box<NumberStream>>; 5],
}

impl Streams {
    fn get(&mut self, seed: u64, stream: Stream) -> &mut NumberStream {
        let place = match stream {
            Stream::Link(node)
            | Stream::Node(node)
            | Stream::Crash(node)
            | Stream::Churn(node)
            | Stream::Corruption(node)
            | Stream::SingleLink(node)
            | Stream::LinkTraits(node)
            | Stream::Clock(node)
            | Stream::Disk(node)
            | Stream::Pause(node) => {
                let node = node as usize;
                if self.nodes.len() <= node {
                    self.nodes.resize_with(node + 1, Default::default);
                }
                let [link, own, crash, churn, corruption, direction, wiring, clock, disk, pause] =
                    &mut self.nodes[node];
                match stream {
                    Stream::Link(_) => link,
                    Stream::Node(_) => own,
                    Stream::Crash(_) => crash,
                    Stream::Churn(_) => churn,
                    Stream::SingleLink(_) => direction,
                    Stream::LinkTraits(_) => wiring,
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

/// Maps a uniform 64-bit number to `0..bound`, by multiplication (Lemire 2019, without the rejection step:
/// the bias is below 2^-40 for the bounds in use, and each draw takes exactly one number of the stream).
fn scaled(raw: u64, bound: u64) -> u64 {
    ((u128::from(raw) * u128::from(bound)) >> 64) as u64
}

/// The stream of a seed. Each seed has a key of its own.
fn fresh(seed: u64, stream: Stream) -> NumberStream {
    let mut key = *b"\0\0\0\0\0\0\0\0syncline choices, v. 001";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    NumberStream::new(key, stream.number())
}

/// The source of all randomness of a run: seeded, and, if wanted, recorded or replayed. It uses integers
/// only, so that every platform draws the same.
#[derive(Clone, Debug)]
pub struct Choices {
    seed: u64,
    /// The seed of the present draws: that of the run, or of the latest splice.
    drawing: u64,
    streams: Streams,
    /// The number of draws so far.
    draws: u64,
    /// The splices still to come, the next one last.
    splices: Vec<Splice>,
    recording: Option<Tape>,
    replay: BTreeMap<Stream, VecDeque<RandomDraw>>,
    mismatches: u64,
}

impl Choices {
    /// The draws of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            drawing: seed,
            streams: Streams::default(),
            draws: 0,
            splices: Vec::new(),
            recording: None,
            replay: BTreeMap::new(),
            mismatches: 0,
        }
    }

    /// The draws of a tape, stream by stream. Past the end of a stream, those of the seed.
    pub fn replayed(seed: u64, tape: &[RandomDraw]) -> Self {
        let mut choices = Self::seeded(seed);
        for drawn in tape {
            choices.replay.entry(drawn.stream).or_default().push_back(*drawn);
        }
        choices
    }

    /// Continues with the draws of other seeds, from the given places on.
    #[must_use]
    pub fn spliced(mut self, splices: &[Splice]) -> Self {
        self.splices = splices.to_vec();
        self.splices.sort_unstable_by(|one, two| two.cmp(one));
        self
    }

    /// The number of draws so far.
    pub const fn draws(&self) -> u64 {
        self.draws
    }

    /// Begins with the draws of the splices that are due before a draw.
    fn begin_splices(&mut self) {
        while let Some(splice) = self.splices.pop_if(|splice| splice.after_draws <= self.draws) {
            self.drawing = splice.seed;
            self.streams = Streams::default();
        }
    }

    /// Records every draw from now on.
    pub fn record(&mut self) {
        self.recording.get_or_insert_default();
    }

    /// The draws since [`Choices::record`].
    pub fn tape(&self) -> &[RandomDraw] {
        self.recording.as_deref().unwrap_or_default()
    }

    /// The seed of the run.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A uniform number in `0..bound`. If `bound` is at most 1, the result is 0 and nothing is drawn.
    pub fn below(&mut self, stream: Stream, choice: Choice, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        self.draw(stream, choice, bound)
    }

    /// As [`Choices::below`], but always draws, so that later draws do not depend on `bound`.
    pub fn draw(&mut self, stream: Stream, choice: Choice, bound: u64) -> u64 {
        if !self.splices.is_empty() {
            self.begin_splices();
        }
        self.draws += 1;
        // The generator advances with the tape, so that a replay may end anywhere and continue with the seed.
        let raw = self.streams.get(self.drawing, stream).draw();
        let mut value = scaled(raw, bound);
        if let Some(recorded) = self.replay.get_mut(&stream).and_then(VecDeque::pop_front) {
            if recorded.choice == choice && recorded.value < bound.max(1) {
                value = recorded.value;
            } else {
                // An edited tape has led the run elsewhere: this draw comes from the seed.
                self.mismatches += 1;
            }
        }
        debug_assert!(value < bound.max(1), "a draw is below its bound");
        if let Some(tape) = &mut self.recording {
            tape.push(RandomDraw { stream, choice, bound, value });
        }
        value
    }

    /// As that many calls of [`Choices::draw`], but the stream is looked up once.
    pub(crate) fn draw_all<const N: usize>(
        &mut self,
        stream: Stream,
        wanted: [(Choice, u64); N],
    ) -> [u64; N] {
        if self.recording.is_some() || !self.replay.is_empty() || !self.splices.is_empty() {
            return wanted.map(|(choice, bound)| self.draw(stream, choice, bound));
        }
        self.draws += N as u64;
        // `draw` without a tape scales one raw number per draw, too: recording a run must not change it.
        let rng = self.streams.get(self.drawing, stream);
        wanted.map(|(_, bound)| scaled(rng.draw(), bound))
    }

    /// How often the purpose of a draw differed from that on the tape.
    pub const fn mismatches(&self) -> u64 {
        self.mismatches
    }

    /// A uniform number in `low..=high`.
    pub fn between(&mut self, stream: Stream, choice: Choice, low: u64, high: u64) -> u64 {
        Source { choices: self, stream }.between(choice, low, high)
    }

    /// True with a probability of `ppm` in a million.
    pub fn chance(&mut self, stream: Stream, choice: Choice, ppm: u32) -> bool {
        // A certain outcome draws nothing: a fault that is off leaves its stream as it was.
        match ppm {
            0 => false,
            1_000_000.. => true,
            _ => self.below(stream, choice, 1_000_000) < u64::from(ppm),
        }
    }

    /// One stream, as the randomness of a step.
    pub const fn source(&mut self, stream: Stream) -> Source<'_> {
        Source { choices: self, stream }
    }
}

/// One stream of a [`Choices`].
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
    fn streams_are_independent() {
        let mut one = Choices::seeded(7);
        let mut two = Choices::seeded(7);
        draw(&mut one, Stream::Link(0), 100);
        assert_eq!(draw(&mut one, Stream::Link(1), 5), draw(&mut two, Stream::Link(1), 5));
        assert_ne!(draw(&mut two, Stream::Link(2), 5), draw(&mut two, Stream::Node(2), 5));
    }

    #[test]
    fn golden_draws_hold() {
        // A golden value: if it moves, every published seed means another run.
        assert_eq!(draw(&mut Choices::seeded(42), Stream::Workload, 2), GOLDEN);
    }
    const GOLDEN: [u64; 2] = [63_416_205_229, 423_449_868_682];

    #[test]
    fn spliced_draws_are_equal_up_to_the_splice() {
        let plain = draw(&mut Choices::seeded(3), Stream::Partition, 10);
        let other = draw(&mut Choices::seeded(4), Stream::Partition, 10);
        let mut spliced = Choices::seeded(3).spliced(&[Splice { after_draws: 4, seed: 4 }]);
        let drawn = draw(&mut spliced, Stream::Partition, 10);
        assert_eq!((&drawn[..4], &drawn[4..]), (&plain[..4], &other[..6]));
        assert_eq!((spliced.draws(), spliced.seed()), (10, 3));
        // Several draws at once count as several.
        let wanted = [(Choice::LinkLoss, 1 << 40); 3];
        let mut spliced = Choices::seeded(3).spliced(&[Splice { after_draws: 1, seed: 4 }]);
        assert_eq!(spliced.draw_all(Stream::Partition, wanted), [plain[0], other[0], other[1]]);
    }

    #[test]
    fn a_tape_replays_and_continues() {
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
