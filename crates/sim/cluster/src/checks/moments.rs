//! The moments of a run at which whole states are checked.

/// Draws the moments: the numbers of events after which one replica is checked. They depend on the seed alone and
/// take nothing from the random streams of the run, so that checking changes no run.
#[derive(Clone, Debug)]
pub struct CheckMoments {
    state: u64,
    next: u64,
}

/// The number of events before which the first moment comes.
const FIRST: u64 = 512;

impl CheckMoments {
    /// The moments of the run of a seed.
    pub fn of(seed: u64) -> Self {
        let mut moments = Self { state: seed, next: 0 };
        moments.next = 1 + moments.draw(FIRST);
        moments
    }

    /// Whether the moment has come after this many events: then a number that chooses what is checked. The distance
    /// between moments doubles, so that a run of n events has O(log n) of them.
    pub fn after(&mut self, events: u64) -> Option<u64> {
        if events < self.next {
            return None;
        }
        self.next = events + 1 + FIRST + self.draw(2 * events.max(FIRST));
        Some(self.draw(u64::MAX))
    }

    /// A number below `bound`: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    const fn draw(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_few_and_vary() {
        let moments = |seed| {
            let mut moments = CheckMoments::of(seed);
            (0..100_000).filter(|events| moments.after(*events).is_some()).collect::<Vec<u64>>()
        };
        assert_eq!(moments(3), moments(3));
        assert_ne!(moments(3), moments(4));
        assert!((0..100).all(|seed| (3..=20).contains(&moments(seed).len())));
        assert!((0..100).all(|seed| moments(seed)[0] <= FIRST));
    }
}
