//! The bounds of a workload: a run makes its writes in memory before it begins.

use crate::workload::{Growth, Workload};
use sync_sim_engine::faults::ConfigError;

/// The most writes of a workload.
pub const MOST_WRITES: u32 = 1_000_000;
/// The most [`Workload::skew`]: each unit is one draw more for each key.
pub const MOST_SKEW: u32 = 32;
/// The most names that writes choose from.
const MOST_KEYS: u64 = 1_000_000_000;
/// The most operations of one write.
const MOST_OPERATIONS: u64 = 100_000;
/// The most that a thing that grows may become.
const MOST_SIZE: u64 = 1 << 30;
/// The most bytes of all writes together, as [`Workload::planned_bytes`] estimates them: what one machine holds.
const MOST_PLANNED_BYTES: u64 = 8 << 30;
/// About what an operation takes in memory beside its content.
const AN_OPERATION: u128 = 128;
/// What each level of the path to an entity takes.
const A_LEVEL: u128 = 32;

impl Workload {
    /// Checks every count. The error names the first that is out of bounds.
    ///
    /// # Errors
    ///
    /// If a count is above its bound, or the writes together are.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let most_writes = u64::from(MOST_WRITES);
        for (field, found, max) in [
            ("workload.writes", self.writes as u64, most_writes),
            ("workload.keys", self.keys, MOST_KEYS),
            ("workload.skew", u64::from(self.skew), u64::from(MOST_SKEW)),
            ("workload.operations", self.operations, MOST_OPERATIONS),
            ("workload.burst_writes", self.burst_writes, most_writes),
            ("workload.breaks", self.breaks, most_writes),
            ("workload.size", self.size, MOST_SIZE),
        ] {
            if found > max {
                return Err(ConfigError::OutOfBounds { field, found, min: 0, max });
            }
        }
        let found = self.planned_bytes();
        if found > MOST_PLANNED_BYTES {
            let field = "the size of all writes of the workload in bytes, from writes, operations and size,";
            return Err(ConfigError::OutOfBounds { field, found, min: 0, max: MOST_PLANNED_BYTES });
        }
        Ok(())
    }

    /// An upper estimate of the bytes of all writes.
    fn planned_bytes(&self) -> u64 {
        let operations = self.writes as u128 * u128::from(self.operations.max(1));
        let size = u128::from(self.size.max(1));
        let (once, content) = match self.grows {
            // Each key is longer than the one before.
            Some(Growth::Prefixes) => (0, operations / 2),
            Some(Growth::LargeValues) => (0, size),
            Some(Growth::DeepTree) => (0, A_LEVEL * operations.min(size)),
            Some(Growth::Document) => (size, 0),
            Some(Growth::Import | Growth::ListInTurn | Growth::LongList) | None => (0, 0),
        };
        u64::try_from(once + operations * (AN_OPERATION + content)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::SimDuration;

    #[test]
    fn refuses_what_no_machine_holds() {
        let refused = |workload: Workload| workload.validate().unwrap_err().to_string();
        let usual = Workload::default;
        for (workload, field) in [
            (Workload { writes: usize::MAX, ..usual() }, "workload.writes"),
            (Workload { keys: u64::MAX, ..usual() }, "workload.keys"),
            (Workload { skew: u32::MAX, ..usual() }, "workload.skew"),
            (Workload { operations: u64::MAX, ..usual() }, "workload.operations"),
            (Workload { burst_writes: u64::MAX, ..usual() }, "workload.burst_writes"),
            (Workload { breaks: u64::MAX, ..usual() }, "workload.breaks"),
            (Workload { size: u64::MAX, ..usual() }, "workload.size"),
        ] {
            let said = refused(workload);
            assert!(said.starts_with(field) && said.contains("must lie between 0 and"), "{said}");
        }
        // Each number is within its bound, and together they are not.
        let long = |growth| Workload::growing(growth, 1_000_000, SimDuration::from_secs(9));
        for growth in [Growth::Prefixes, Growth::LargeValues, Growth::DeepTree] {
            let said = refused(Workload { size: 1 << 20, ..long(growth) });
            assert!(said.contains("from writes, operations and size"), "{growth:?}: {said}");
        }
        assert!(refused(Workload { operations: 1_000, ..long(Growth::Import) }).contains("operations"));
    }

    #[test]
    fn presets_are_valid() {
        for (name, preset) in Workload::PRESETS {
            preset(1_000, SimDuration::from_secs(9))
                .validate()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let most = Workload::new(MOST_WRITES as usize, SimDuration::from_secs(9));
        assert_eq!(most.validate(), Ok(()));
    }
}
