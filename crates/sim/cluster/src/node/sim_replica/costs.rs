//! What the steps of a replica have cost and which rare branches they took.

use super::SimReplica;
use crate::budgets::OverBudget;
use syncline_types::Probes;

impl SimReplica {
    /// The rare branches that its steps took, over all restarts.
    pub const fn probes(&self) -> Probes {
        self.probes
    }

    /// The first budget that one of its steps exceeded.
    pub fn over_budget(&self) -> Option<&OverBudget> {
        self.spending.over()
    }

    /// The bytes of the rows that it has written so far, initial state included.
    pub const fn bytes_put(&self) -> u64 {
        self.spending.put()
    }
}
