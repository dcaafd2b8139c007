//! Which protocol a session runs: by a decision table over counts, or by a cost model.

mod cost_model;
mod decision_table;

pub use cost_model::{ProtocolCost, costs, select_adaptively};
pub use decision_table::{ProtocolSelection, Selection, SelectionReason, SyncProtocol, select_protocol};
pub(crate) use decision_table::{can_run, with_parameters};
