//! The error of a broken invariant.

use std::fmt;
use std::panic::Location;

/// An invariant of Syncline's own code does not hold: a bug in the program, never the fault of a
/// peer, a file or a disk.
///
/// The host must stop a replica that returns this error, because its memory can no longer be trusted. The
/// store is not changed: a step that fails commits nothing. Code that returns this error also has a
/// `debug_assert!` of the same invariant, so tests fail where the invariant is broken.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "internal error at {location}: {invariant} does not hold; this replica has stopped, its store is unchanged; \
     please report this"
)]
pub struct InternalError {
    invariant: &'static str,
    location: &'static Location<'static>,
}

impl InternalError {
    /// The error of a broken `invariant`, a sentence that should have been true, at the location of the
    /// caller.
    #[track_caller]
    pub const fn broken(invariant: &'static str) -> Self {
        Self { invariant, location: Location::caller() }
    }

    /// The sentence that should have been true.
    pub const fn invariant(&self) -> &'static str {
        self.invariant
    }
}

impl fmt::Debug for InternalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InternalError({:?} at {})", self.invariant, self.location)
    }
}

#[cfg(test)]
mod tests {
    use super::InternalError;

    #[test]
    fn names_invariant_and_place() {
        let error = InternalError::broken("the queue is sorted").to_string();
        assert!(error.contains("the queue is sorted does not hold"), "{error}");
        assert!(error.contains(file!()), "{error}");
    }
}
