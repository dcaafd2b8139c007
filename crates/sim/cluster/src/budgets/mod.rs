//! Budgets: what a write, a step, a frame, a record and an idle minute may cost at most (**G1** to **G5**).
//!
//! The [checks](crate::checks) of all hosts compare with them. The size of frames has a check and a limit of its own (**G2**).
//!
//! Each budget is proportional: a base, and a factor for each unit of what causes the cost. No budget grows with what
//! merely *is there*: a write of one character to a long text may cost no more than one to a short text. Each constant
//! is about twice the most that 20,000 drawn seeds use, so that a run exceeds a budget only if its costs grow with
//! something that they must not grow with.
//!
//! | budget | of | is caused by |
//! |---|---|---|
//! | [`WriteBytes`](Budget::WriteBytes) | bytes put by a step that writes | the content of its operations |
//! | [`WriteReads`](Budget::WriteReads) | bytes read by a step that writes | the content of its operations |
//! | [`PositionBytes`](Budget::PositionBytes) | bytes of a position in a list | nothing: a constant |
//! | [`RecordBytes`](Budget::RecordBytes) | bytes of a record | the content that it shows |
//! | [`StepReads`](Budget::StepReads) | bytes read by any other step | bytes that it receives, sends and puts, and the state |
//! | [`IdleBytes`](Budget::IdleBytes) | bytes sent without progress | nodes, peers, pauses and the state; after ten minutes a kilobyte a minute and peer |
//! | [`DiskBytes`](Budget::DiskBytes) | bytes of all rows but deltas | the records and the content that they show |
//!
//! The measures cost a sum over the rows that a step writes and reads. The last one reads the disk of one node at the
//! end of a run.

mod content;
mod idle;
mod step;
mod stored;

pub use idle::{IdlePauses, IdleTraffic};
pub(crate) use step::{StepUse, WrittenContent};
pub(crate) use stored::check_disk;

use std::fmt;

/// A cost that is bounded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Budget {
    /// Bytes put by a step that writes.
    WriteBytes,
    /// Bytes read by a step that writes.
    WriteReads,
    /// Bytes of a position in a list.
    PositionBytes,
    /// Bytes of a record.
    RecordBytes,
    /// Bytes read by a step that does not write.
    StepReads,
    /// Bytes sent by all nodes together while nothing changes.
    IdleBytes,
    /// Bytes of all rows of a disk but the deltas.
    DiskBytes,
}

/// A base, and a factor for each unit of what causes the cost.
#[derive(Clone, Copy, Debug)]
struct Proportion {
    base: u64,
    per_unit: u64,
}

impl Proportion {
    const fn of(self, units: u64) -> u64 {
        self.base.saturating_add(self.per_unit.saturating_mul(units))
    }
}

impl Budget {
    /// All budgets.
    pub const ALL: [Self; 7] = [
        Self::WriteBytes,
        Self::WriteReads,
        Self::PositionBytes,
        Self::RecordBytes,
        Self::StepReads,
        Self::IdleBytes,
        Self::DiskBytes,
    ];

    /// The name in case files. Names are stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteBytes => "OverBudget(write bytes)",
            Self::WriteReads => "OverBudget(write reads)",
            Self::PositionBytes => "OverBudget(position bytes)",
            Self::RecordBytes => "OverBudget(record bytes)",
            Self::StepReads => "OverBudget(step reads)",
            Self::IdleBytes => "OverBudget(idle bytes)",
            Self::DiskBytes => "OverBudget(disk bytes)",
        }
    }

    /// The base and the factor. The unit is a byte of the cause, unless the comment names another.
    const fn proportion(self) -> Proportion {
        match self {
            // A record, its order row, the delta and the summary of the log, each with the content; the summary and
            // the parents of the delta have up to a hundred bytes for each of the few authors of an ordinary run.
            Self::WriteBytes => Proportion { base: 8 << 10, per_unit: 4 },
            // The records that change, their ancestors, and the siblings beside a position.
            Self::WriteReads => Proportion { base: 64 << 10, per_unit: 8 },
            // A position between two others needs about the logarithm of the number of items.
            Self::PositionBytes => Proportion { base: 768, per_unit: 0 },
            // Stamps and authors of a short edit take a few dozen bytes; deleted text takes less than it took.
            Self::RecordBytes => Proportion { base: 8 << 10, per_unit: 8 },
            // A page answers many small questions; the first sketch of a state reads all of it, once.
            Self::StepReads => Proportion { base: 128 << 10, per_unit: 4 },
            // Sessions that find nothing to repair compare states, and back off.
            Self::IdleBytes => Proportion { base: 16 << 10, per_unit: 1 },
            // Unit: a byte of content. Stamps, ids, index and labels of a record are counted by record.
            Self::DiskBytes => Proportion { base: 8 << 10, per_unit: 3 },
        }
    }

    /// What is over this budget, if `found` is, with `units` of the cause. `of` names the place.
    fn check(self, found: u64, units: u64, of: impl FnOnce() -> String) -> Option<OverBudget> {
        let allowed = self.proportion().of(units);
        (found > allowed).then(|| OverBudget { budget: self, found, allowed, of: of() })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteBytes => "bytes put by a write",
            Self::WriteReads => "bytes read by a write",
            Self::PositionBytes => "bytes of a position in a list",
            Self::RecordBytes => "bytes of a record",
            Self::StepReads => "bytes read by a step",
            Self::IdleBytes => "bytes sent while nothing changes",
            Self::DiskBytes => "bytes on disk beside the deltas",
        })
    }
}

/// A cost that is over its budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OverBudget {
    /// The budget.
    pub budget: Budget,
    /// The cost that was measured.
    pub found: u64,
    /// The most that this cause may cost.
    pub allowed: u64,
    /// Which write, frame, record or time it is.
    pub of: String,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, found, allowed, of } = self;
        write!(f, "{budget}: {found}, where {allowed} are allowed, for {of}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowance_grows_with_its_cause() {
        let of = || "a write".to_owned();
        let base = Budget::WriteBytes.proportion().base;
        assert_eq!(Budget::WriteBytes.check(base, 0, of), None);
        let over = Budget::WriteBytes.check(base + 1, 0, of).unwrap();
        assert_eq!((over.found, over.allowed), (base + 1, base));
        assert_eq!(Budget::WriteBytes.check(base + 1, 1, of), None);
        assert!(over.to_string().starts_with("bytes put by a write: 8193, where 8192 are allowed"), "{over}");
    }

    #[test]
    fn every_budget_has_its_name() {
        let names: std::collections::BTreeSet<_> = Budget::ALL.iter().map(|budget| budget.name()).collect();
        assert_eq!(names.len(), Budget::ALL.len());
    }
}
