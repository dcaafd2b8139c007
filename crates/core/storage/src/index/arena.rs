//! Memory of one batch: runs of values in a few large chunks.

/// The size of a chunk in bytes. The allocator takes much larger chunks from the operating system page by page
/// and returns them after each batch, which costs more than the batch itself.
const CHUNK_BYTES: usize = 1 << 16;

/// The position of a run of values in an [`Arena`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ArenaRef {
    chunk: u32,
    offset: u32,
}

/// Runs of values that never move. Invariant: a chunk never grows beyond the capacity that it was checked
/// against, so each run is contiguous and the runs of a chunk do not overlap.
#[derive(Clone, Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Copy> Arena<T> {
    /// Adds a run of `values` with reserved space for `spare` more, filled with `empty`.
    pub(super) fn add(&mut self, values: &[T], spare: usize, empty: T) -> ArenaRef {
        let room = values.len() + spare;
        let whole = CHUNK_BYTES / size_of::<T>();
        match self.chunks.last() {
            Some(last) if last.len() + room <= whole.max(last.capacity()) => {}
            // The first chunk grows with its content: most batches are small.
            None => self.chunks.push(Vec::with_capacity(room)),
            Some(_) => self.chunks.push(Vec::with_capacity(room.max(whole))),
        }
        let chunk = self.chunks.len() as u32 - 1;
        let Some(last) = self.chunks.last_mut() else {
            debug_assert!(false, "a chunk was pushed if there was none");
            return ArenaRef::default();
        };
        let offset = last.len();
        debug_assert!(u32::try_from(offset + room).is_ok(), "offsets fit into 32 bits");
        last.extend_from_slice(values);
        last.resize(offset + room, empty);
        ArenaRef { chunk, offset: offset as u32 }
    }

    /// The first `len` values of the run at `at`.
    pub(super) fn get(&self, at: ArenaRef, len: usize) -> Option<&[T]> {
        let from = at.offset as usize;
        self.chunks.get(at.chunk as usize)?.get(from..from + len)
    }

    /// As [`Arena::get`], to be changed.
    pub(super) fn get_mut(&mut self, at: ArenaRef, len: usize) -> Option<&mut [T]> {
        let from = at.offset as usize;
        self.chunks.get_mut(at.chunk as usize)?.get_mut(from..from + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_do_not_overlap(
            runs in proptest::collection::vec((0..9_000usize, 0..5_000usize, any::<u64>()), 0..40),
        ) {
            let mut arena = Arena::default();
            let mut refs = Vec::new();
            for &(len, spare, value) in &runs {
                let at = arena.add(&vec![value; len], spare, 0);
                // The reserved space belongs to this run alone.
                arena.get_mut(at, len + spare).unwrap()[len..].fill(!value);
                refs.push(at);
            }
            for (at, (len, spare, value)) in refs.into_iter().zip(runs) {
                let found = arena.get(at, len + spare).unwrap();
                prop_assert!(found[..len].iter().all(|own| *own == value));
                prop_assert!(found[len..].iter().all(|own| *own == !value));
            }
        }
    }
}
