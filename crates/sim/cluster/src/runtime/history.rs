//! Records what replicas did in the history of a run.

use crate::node::ContextNotice;
use crate::runtime::sim_runtime::SimRuntime;
use crate::wording::{operations_words, outcome_words};
use std::fmt::Write as _;
use sync_sim_engine::faults::Rate;
use sync_sim_engine::history::{History, Note, SessionEnd};
use sync_sim_engine::world::StepReport;
use syncline_replica::{FrameKind, Notice};
use syncline_store::MemoryStore;
use syncline_sync::Outcome;
use syncline_types::{EntityId, SimDuration};

impl SimRuntime {
    /// The history of the run, if the settings ask for one.
    pub fn history(&self) -> Option<&History> {
        self.world.history()
    }

    /// Records a history of the last `limit` entries from now on.
    pub fn keep_history(&mut self, limit: usize) {
        self.world.record_history(limit);
        self.name_in_history();
    }

    /// The state that joins all acknowledged writes of a context. O(writes log n).
    pub fn expected(&self, context: usize) -> MemoryStore {
        self.oracle(context).joined().unwrap_or_default()
    }

    /// Ends all faults and continues the run for `span` of virtual time and up to `events` events. A reported
    /// violation is cleared.
    pub fn heal_for(&mut self, span: SimDuration, events: u64) {
        self.config.max_time = self.now() + span;
        self.config.max_events = self.events_processed() + events;
        self.violation = None;
        self.config.faults.write_during_sync_rate = Rate::ZERO;
        self.world.heal();
    }

    /// Sets the names of nodes and of frame kinds in the history.
    pub(super) fn name_in_history(&mut self) {
        let names = self.names.clone();
        if let Some(history) = self.world.history_mut() {
            history.nodes = names;
            history.kinds = FrameKind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
        }
    }

    /// Adds the notices of an event to the history.
    pub(super) fn record_notices(&mut self, stepped: &StepReport<ContextNotice>) {
        let Some(node) = stepped.node else {
            assert!(stepped.notices.is_empty(), "only nodes give notices");
            return;
        };
        for ContextNotice { context, notice } in &stepped.notices {
            let note = history_note(notice).of_context(usize::from(*context));
            self.world.note_in_history(node, note);
        }
    }
}

/// An entity id as 64 hexadecimal digits.
pub fn entity_hex(entity: EntityId) -> String {
    entity.0.iter().fold(String::with_capacity(64), |mut words, byte| {
        // Writing into a string cannot fail.
        let _ = write!(words, "{byte:02x}");
        words
    })
}

fn history_note(notice: &Notice) -> Note {
    match notice {
        Notice::SessionStarted { peer } => Note::SessionStarted { peer: (*peer).into() },
        Notice::SessionEnded { peer, started_at, outcome, protocol, stats } => {
            let ended = match outcome {
                Outcome::Converged { .. } => SessionEnd::Converged,
                Outcome::SyncPending(_) => SessionEnd::Pending,
                Outcome::Failed(_) => SessionEnd::Failed,
            };
            let why = outcome_words(outcome);
            Note::SessionEnded {
                peer: (*peer).into(),
                started_at_us: started_at.as_micros(),
                protocol: protocol.map(|protocol| protocol.to_string()),
                outcome: ended,
                why,
                round_trips: stats.round_trips,
                records: stats.records_received + stats.records_pushed,
            }
        }
        Notice::AheadOfTime(ahead) => Note::AheadOfTime { who: ahead.to_string() },
        Notice::DeltaApplied { actions, .. } => Note::DeltaApplied { actions: *actions },
        Notice::DeltaRefused { refusal, .. } => Note::DeltaRefused { why: refusal.to_string() },
        Notice::DeltaDiscarded { refusal, .. } => Note::DeltaRefused { why: refusal.to_string() },
        Notice::PendingDeltasDropped { deltas } => {
            let deltas = deltas.len();
            Note::DeltaRefused { why: format!("no peer has the parents of {deltas} deltas that waited") }
        }
        Notice::DeltaOverflowed { .. } => Note::DeltaRefused { why: "the buffer is full".to_owned() },
        Notice::WriteAccepted { operations, actions } => Note::WriteAccepted {
            entities: actions.iter().map(|action| entity_hex(action.id())).collect(),
            what: operations_words(operations),
        },
        Notice::WriteRefused { error } => Note::WriteRefused { why: error.to_string() },
        Notice::WriteReissued { actions, .. } => Note::WriteAccepted {
            entities: actions.iter().flatten().map(|action| entity_hex(action.id())).collect(),
            what: "what a former id had written, again".to_owned(),
        },
        Notice::HistoryConflict { conflict } => Note::WriteRefused { why: conflict.to_string() },
        Notice::LegacyRecovered { former } => Note::WriteAccepted {
            entities: Vec::new(),
            what: format!("all that {former} had written is accounted for"),
        },
        Notice::TombstonesCollected { records, .. } => Note::Forgot { records: *records },
    }
}
