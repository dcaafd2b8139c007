//! How large a difference is, from how many records are in each cell.

use std::ops::Range;
use syncline_types::{DecodeError, Reader, Writer};

/// Cells whose counts a handshake carries modulo 2^16. In those before them, the probability below is a few
/// per cent off.
const WIDE: Range<usize> = 8..32;
/// Cells whose counts it carries modulo 2^8: enough where few of the records that differ are in each.
const NARROW: Range<usize> = 32..128;

/// What a handshake says of the counts of a sketch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    wide: Vec<u16>,
    narrow: Vec<u8>,
}

impl Counts {
    pub(super) fn of(counts: &[u32]) -> Self {
        let some = |range| counts.get::<Range<usize>>(range).unwrap_or_default().iter();
        Self {
            wide: some(WIDE).map(|count| *count as u16).collect(),
            narrow: some(NARROW).map(|count| *count as u8).collect(),
        }
    }

    /// About how many records only one side has. Every such record is in cell `i` with probability
    /// `p = 2 / (i + 2)`, and counts there for one side or the other. The differences of the counts
    /// therefore have the mean `p` times the net difference `net`, which both sides know, and the variance
    /// `p (1 - p)` times the whole difference, which is what is looked for.
    pub(super) fn difference(&self, ours: &[u32], net: i64) -> u64 {
        let net = i128::from(net);
        let mut spread = Spread::default();
        for ((i, own), other) in (0..).zip(ours).skip(WIDE.start).zip(&self.wide) {
            let gap = |mean: i128| (*own as u16).wrapping_sub(*other).wrapping_sub(mean as u16);
            spread.add(i, net, |mean| i128::from(gap(mean).cast_signed()));
        }
        let rough = spread.mean().max(net.abs());
        for ((i, own), other) in (0..).zip(ours).skip(NARROW.start).zip(&self.narrow) {
            // Of the gaps that a count modulo 2^8 allows, the nearest to the mean is meant: it is, while
            // five standard deviations stay within.
            if rough.saturating_mul(2) > 650 * (i + 2) {
                continue;
            }
            let gap = |mean: i128| (*own as u8).wrapping_sub(*other).wrapping_sub(mean as u8);
            spread.add(i, net, |mean| i128::from(gap(mean).cast_signed()));
        }
        u64::try_from(spread.mean().max(net.abs())).unwrap_or(u64::MAX)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        self.wide.iter().for_each(|count| out.raw(&count.to_le_bytes()));
        out.raw(&self.narrow);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let wide = WIDE.map(|_| Ok(u16::from_le_bytes(input.array()?)));
        let wide = wide.collect::<Result<_, DecodeError>>()?;
        Ok(Self { wide, narrow: input.raw(NARROW.len(), "the counts of a sketch")?.to_vec() })
    }
}

/// The mean of what each cell's gap says of the difference.
#[derive(Default)]
struct Spread {
    total: i128,
    cells: i128,
}

impl Spread {
    /// Takes in the gap of cell `i`, told by how far it is off its mean.
    fn add(&mut self, i: i128, net: i128, off: impl Fn(i128) -> i128) {
        let mean = 2 * net / (i + 2);
        let off = (i + 2) * (off(mean) + mean) - 2 * net;
        self.total += off * off * 1_024 / (2 * i);
        self.cells += 1;
    }

    fn mean(&self) -> i128 {
        (self.total / 1_024).checked_div(self.cells).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::sketch::{Sketch, SketchKey};
    use syncline_types::{ContextId, Digest, EntityId};

    #[test]
    fn an_estimate_is_near_the_difference_however_much_is_shared() {
        let key = SketchKey::of(ContextId::from_u64(7));
        let add = |sketch: &mut Sketch, from: u64, count: u64| {
            for n in from..from + count {
                let digest = Digest::of(9, &n.to_le_bytes());
                sketch.toggle(key.symbol(EntityId(digest.0), digest), 1);
            }
        };
        for (ours, theirs) in [(0, 0), (10, 0), (50, 50), (1_000, 0), (500, 500), (3_000, 9_000), (7_000, 0)]
        {
            let difference = ours + theirs;
            let (mut off, runs) = (0.0, 40);
            for run in 0..runs {
                let base = run * 1_000_000;
                let [mut left, mut right] = [Sketch::new(key, 0), Sketch::new(key, 0)];
                for sketch in [&mut left, &mut right] {
                    add(sketch, base, 2_000);
                }
                add(&mut left, base + 100_000, ours);
                add(&mut right, base + 200_000, theirs);
                let estimate = left.estimate(&right.head(), 2_000 + theirs);
                off += (estimate as f64 / difference.max(1) as f64 - 1.0).powi(2);
                if difference == 0 {
                    assert_eq!(estimate, 0);
                }
            }
            let error = (off / runs as f64).sqrt();
            assert!(difference == 0 || error < 0.35, "{ours} and {theirs}: {error}");
            println!("{ours} and {theirs}: standard error {error:.3}");
        }
    }
}
