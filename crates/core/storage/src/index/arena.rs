//! Memory for what one batch holds.

/// About how many bytes are asked for at once. Much larger pieces are fetched from the system, page by page, and
/// given back after each batch.
const PIECE: usize = 1 << 16;

/// Where values are in an [`Arena`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    piece: u32,
    from: u32,
}

/// Runs of values, one after the other, that stay where they are.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Copy> Arena<T> {
    /// Adds a run of `values`, with room for `more` behind them that is filled with `empty`.
    pub(super) fn add(&mut self, values: &[T], more: usize, empty: T) -> Spot {
        let room = values.len() + more;
        let whole = PIECE / size_of::<T>();
        match self.pieces.last() {
            Some(last) if last.len() + room <= whole.max(last.capacity()) => {}
            // The first grows as it is needed: most batches are small.
            None => self.pieces.push(Vec::with_capacity(room)),
            Some(_) => self.pieces.push(Vec::with_capacity(room.max(whole))),
        }
        let piece = self.pieces.len() as u32 - 1;
        let Some(last) = self.pieces.last_mut() else { return Spot::default() };
        let from = last.len();
        last.extend_from_slice(values);
        last.resize(from + room, empty);
        Spot { piece, from: from as u32 }
    }

    /// The first `len` values of the run at `spot`.
    pub(super) fn get(&self, spot: Spot, len: usize) -> Option<&[T]> {
        let from = spot.from as usize;
        self.pieces.get(spot.piece as usize)?.get(from..from + len)
    }

    /// As [`Arena::get`], to be changed.
    pub(super) fn get_mut(&mut self, spot: Spot, len: usize) -> Option<&mut [T]> {
        let from = spot.from as usize;
        self.pieces.get_mut(spot.piece as usize)?.get_mut(from..from + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_keep_what_is_put_into_them(
            runs in proptest::collection::vec((0..9_000usize, 0..5_000usize, any::<u64>()), 0..40),
        ) {
            let mut arena = Arena::default();
            let mut spots = Vec::new();
            for &(len, more, value) in &runs {
                let spot = arena.add(&vec![value; len], more, 0);
                // What is written into the room belongs to this run alone.
                arena.get_mut(spot, len + more).unwrap()[len..].fill(!value);
                spots.push(spot);
            }
            for (spot, (len, more, value)) in spots.into_iter().zip(runs) {
                let found = arena.get(spot, len + more).unwrap();
                prop_assert!(found[..len].iter().all(|own| *own == value));
                prop_assert!(found[len..].iter().all(|own| *own == !value));
            }
        }
    }
}
