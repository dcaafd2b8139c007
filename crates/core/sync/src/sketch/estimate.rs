//! How large a difference is, from how many records are in each cell.

/// Cells whose counts a handshake carries.
pub(super) const COUNTS: usize = 64;

/// In the first cells the probability below is a few per cent off.
const FIRST: usize = 8;

/// Every record that only one side has is in cell `i` with probability `p = 2 / (i + 2)`, and counts there
/// for one side or the other. The differences of the counts therefore have the mean `p` times the net
/// difference `net`, which both sides know, and the variance `p (1 - p)` times the whole difference, which
/// is what is looked for.
pub(super) fn difference(ours: &[u32], theirs: &[u16], net: i64) -> u64 {
    let net = i128::from(net);
    let (mut total, mut cells) = (0i128, 0i128);
    for (i, (own, other)) in (0..).zip(ours.iter().zip(theirs)).skip(FIRST) {
        // Counts are modulo 2^16: of the gaps that they allow, the one nearest to the mean is meant.
        let mean = 2 * net / (i + 2);
        let gap = (*own as u16).wrapping_sub(*other).wrapping_sub(mean as u16).cast_signed();
        let off = (i + 2) * (i128::from(gap) + mean) - 2 * net;
        total += off * off * 1_024 / (2 * i);
        cells += 1;
    }
    let spread = (total / 1_024).checked_div(cells).unwrap_or_default();
    u64::try_from(spread.max(net.abs())).unwrap_or(u64::MAX)
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
