//! What a replica has cost so far, and the first budget that it exceeded.

use crate::budgets::{OverBudget, StepUse, WrittenContent};
use crate::read_meter::ReadMeter;
use syncline_replica::{Event, SyncActions};

/// The bytes of a record of initial state, about.
const AN_INITIAL_RECORD: u64 = 256;

/// The costs of a replica over all its steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Spending {
    /// The bytes of all batches so far.
    put: u64,
    over: Option<Box<OverBudget>>,
}

/// A step that has begun: what causes its cost.
pub(super) struct BegunStep {
    write: Option<WrittenContent>,
    received: usize,
}

impl BegunStep {
    /// The step of this event begins.
    pub(super) fn of(event: &Event) -> Self {
        ReadMeter::reset();
        let write =
            if let Event::Write(operations) = event { Some(WrittenContent::of(operations)) } else { None };
        let received = if let Event::Frame { bytes, .. } = event { bytes.len() } else { 0 };
        Self { write, received }
    }
}

impl Spending {
    /// The costs of a replica that begins with so many records.
    pub(super) fn of_initial(records: u64) -> Self {
        Self { put: records * AN_INITIAL_RECORD, over: None }
    }

    /// A step ends with these effects. O(rows + frames).
    pub(super) fn on_step(&mut self, begun: &BegunStep, effects: &SyncActions) {
        let step = StepUse {
            write: begun.write.as_ref(),
            received: begun.received,
            batch: &effects.storage,
            messages: &effects.messages,
            notices: &effects.notices,
            read: ReadMeter::bytes(),
            state: self.put,
        };
        let put = step.put();
        if self.over.is_none() {
            self.over = step.check(put).map(Box::new);
        }
        self.put += put;
    }

    /// The bytes of all batches so far.
    pub(super) const fn put(&self) -> u64 {
        self.put
    }

    /// The first budget that a step exceeded.
    pub(super) fn over(&self) -> Option<&OverBudget> {
        self.over.as_deref()
    }
}
