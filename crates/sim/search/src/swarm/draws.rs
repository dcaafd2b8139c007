//! The random draws for whole cases.

use sync_sim_engine::faults::Rate;
use sync_sim_engine::random::NumberStream;

/// A stream of random numbers that no run draws from. Integers only, so that every platform draws alike.
pub(super) struct Dice(NumberStream);

impl Dice {
    /// The stream for one part of the case of a seed. The streams of different parts are independent.
    pub(super) fn new(seed: u64, part: u64) -> Self {
        let mut key = *b"\0\0\0\0\0\0\0\0syncline swarm, ver. 001";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(NumberStream::new(key, part))
    }

    /// A number in `low..=high`, uniformly distributed.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        // Multiply-shift (Lemire) maps 64 random bits to the range without a division; the bias is below 2^-32
        // for the small ranges here.
        let bound = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.0.draw()) * bound) >> 64) as u64
    }

    /// True with a probability of `percent` in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }

    /// A number in `low..=high`, log-uniform: each doubling is equally likely, so that small numbers come
    /// as often as large ones. Both bounds must be above zero.
    pub(super) fn scaled(&mut self, low: u64, high: u64) -> u64 {
        assert!(low > 0, "a log-uniform draw starts above zero");
        let doublings = (high / low.max(1)).max(1).ilog2();
        let from = low << self.between(0, u64::from(doublings));
        self.between(from, (2 * from).min(high).max(from))
    }

    /// A log-uniform rate between two bounds in parts per million.
    pub(super) fn rate(&mut self, low: u32, high: u32) -> Rate {
        Rate::ppm(self.scaled(u64::from(low), u64::from(high)) as u32)
    }

    /// One of the values, uniformly distributed.
    pub(super) fn one_of<T: Copy>(&mut self, first: T, others: &[T]) -> T {
        let at = self.between(0, others.len() as u64) as usize;
        at.checked_sub(1).and_then(|at| others.get(at)).copied().unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_covers_whole_range() {
        let mut dice = Dice::new(1, 1);
        let drawn: Vec<u64> = (0..2_000).map(|_| dice.scaled(3, 50)).collect();
        assert!(drawn.iter().all(|value| (3..=50).contains(value)));
        assert!(drawn.iter().any(|value| *value < 5) && drawn.iter().any(|value| *value > 40));
        assert_eq!(dice.scaled(7, 7), 7);
    }

    #[test]
    fn one_of_draws_every_value() {
        let mut dice = Dice::new(1, 1);
        for wanted in 0..4 {
            assert!((0..200).any(|_| dice.one_of(0, &[1, 2, 3]) == wanted));
        }
    }
}
