//! An estimate of how many records differ, from the number of records in each cell.
//!
//! Every record is in cell `i` with probability `p = 2 / (i + 2)`. Records that both states have add the
//! same to both counts of a cell. The gap between the two counts is therefore a sum of independent terms,
//! one for each of the `d` differing records: `+1` or `-1` with probability `p`, by the side that has it.
//! Its mean is `p · net`, where `net` is the difference of the record counts, which both sides know. Its
//! variance is `p (1 - p) · d`. Each cell thus gives an unbiased estimate of `d`, and their mean has a
//! standard error that falls with the number of cells.

use std::ops::Range;
use syncline_types::{DecodeError, Reader, Writer};

/// Cells whose counts a handshake contains modulo 2^16. In the cells before them, the integer rounding of
/// gaps shifts the probability above by a few per cent.
const WIDE: Range<usize> = 8..32;
/// Cells whose counts it contains modulo 2^8, which suffices where few differing records are in each cell.
const NARROW: Range<usize> = 32..128;

/// The part of a sketch's counts that a handshake contains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CellCounts {
    wide: Vec<u16>,
    narrow: Vec<u8>,
}

impl CellCounts {
    pub(super) fn of(counts: &[u32]) -> Self {
        debug_assert!(counts.len() >= NARROW.end, "a sketch has at least the cells of a handshake");
        let some = |range| counts.get::<Range<usize>>(range).unwrap_or_default().iter();
        Self {
            wide: some(WIDE).map(|count| *count as u16).collect(),
            narrow: some(NARROW).map(|count| *count as u8).collect(),
        }
    }

    /// The estimated number of records that only one side has. `net` is our number of records minus the
    /// peer's.
    pub(super) fn difference(&self, ours: &[u32], net: i64) -> u64 {
        let net = i128::from(net);
        let mut variance = VarianceEstimate::default();
        for ((i, own), other) in (0..).zip(ours).skip(WIDE.start).zip(&self.wide) {
            let gap = |mean: i128| (*own as u16).wrapping_sub(*other).wrapping_sub(mean as u16);
            variance.add(i, net, |mean| i128::from(gap(mean).cast_signed()));
        }
        let rough = variance.mean().max(net.abs());
        for ((i, own), other) in (0..).zip(ours).skip(NARROW.start).zip(&self.narrow) {
            // A count modulo 2^8 leaves a choice of gaps, 256 apart. The nearest to the mean is the right one
            // as long as five standard deviations are less than 128; other cells are skipped.
            if rough.saturating_mul(2) > 650 * (i + 2) {
                continue;
            }
            let gap = |mean: i128| (*own as u8).wrapping_sub(*other).wrapping_sub(mean as u8);
            variance.add(i, net, |mean| i128::from(gap(mean).cast_signed()));
        }
        // At least `net` records differ, whatever the cells show.
        u64::try_from(variance.mean().max(net.abs())).unwrap_or(u64::MAX)
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

/// The mean of the cells' estimates, in integers with ten fractional bits.
#[derive(Default)]
struct VarianceEstimate {
    total: i128,
    cells: i128,
}

impl VarianceEstimate {
    /// Adds the estimate of cell `i`. `deviation` gives the distance of the cell's gap from a mean.
    fn add(&mut self, i: i128, net: i128, deviation: impl Fn(i128) -> i128) {
        debug_assert!(i > 0, "the first cell contains every record and shows no variance");
        // With p = 2 / (i + 2), the estimate (gap - p · net)² / (p (1 - p)) equals
        // ((i + 2) · gap - 2 · net)² / (2 i): no division comes before the square.
        let mean = 2 * net / (i + 2);
        let scaled = (i + 2) * (deviation(mean) + mean) - 2 * net;
        self.total += scaled * scaled * 1_024 / (2 * i);
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
    fn estimate_is_near_difference() {
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
            let mut off = 0.0;
            let runs = 40;
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
