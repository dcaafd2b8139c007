//! The result of an investigation, as data and as text.

use crate::forensics::entity_history::{HistoryLine, RecordChange};
use crate::forensics::index_path::PathStep;
use serde::Serialize;
use std::fmt::{self, Write};

/// Whether and when convergence became impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Finding {
    /// The run converged: there is nothing to explain.
    #[default]
    Converged,
    /// The turn: had all faults ended before this event, the replicas would have converged; had they ended
    /// after it, they would not.
    Turned {
        /// The number of the event; the first is 1.
        event: u64,
    },
    /// This event violated an invariant that is checked after every event.
    Broken {
        /// The number of the event; the first is 1.
        event: u64,
    },
    /// The replicas would not have converged even without any fault.
    NeverCould,
    /// The replicas would have converged if all faults had ended where the run stopped: the run was too
    /// short.
    CouldStillAgree,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Converged => "nothing went wrong",
            Self::Turned { .. } => "the first event after which they could no longer agree",
            Self::Broken { .. } => "the event that broke the promise",
            Self::NeverCould => "they would not have converged even without faults",
            Self::CouldStillAgree => "they would still agree if all faults ended where the run stopped",
        })
    }
}

impl Finding {
    /// The number of the event that the finding names, if it names one.
    pub const fn event(&self) -> Option<u64> {
        match self {
            Self::Turned { event } | Self::Broken { event } => Some(*event),
            Self::Converged | Self::NeverCould | Self::CouldStillAgree => None,
        }
    }
}

/// The result of an investigation. As JSON, the names of the fields are stable.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FailureReport {
    /// The seed of the run.
    pub seed: u64,
    /// The reason why the run stopped, as a sentence.
    pub stop: String,
    /// The number of events that the run processed.
    pub events: u64,
    /// Whether and when convergence became impossible.
    pub finding: Finding,
    /// The number of worlds that were run without faults to find the turn.
    pub trials: u64,
    /// The history entry of the event that the finding names.
    pub turn: Option<HistoryLine>,
    /// The names of the two sides that are compared, if two differ: left and right.
    pub sides: Option<(String, String)>,
    /// The entities on which the sides differ, as text; the first ones only.
    pub differences: Vec<String>,
    /// The path down the index to the first of these entities.
    pub path: Vec<PathStep>,
    /// All changes of that entity on either side, in the order of time.
    pub touches: Vec<RecordChange>,
    /// The events that explain the difference, in the order of time.
    pub slice: Vec<HistoryLine>,
    /// Whether the history lacks the beginning of the run, because the run was too long to keep all of it.
    pub truncated: bool,
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} events: {}", self.seed, self.events, self.stop)?;
        f.write_str(&self.details())
    }
}

impl FailureReport {
    /// The report as text, without the seed and the reason for the stop.
    pub fn details(&self) -> String {
        let mut text = String::new();
        // Writing into a `String` cannot fail.
        let _ = self.write_details(&mut text);
        text
    }

    fn write_details(&self, f: &mut String) -> fmt::Result {
        let colon = if self.turn.is_some() { ":" } else { "" };
        writeln!(f, "{}{colon}", self.finding)?;
        if let Some(HistoryLine { event, words, .. }) = &self.turn {
            writeln!(f, "  event {event}: {words}")?;
        }
        if let Some((left, right)) = &self.sides {
            writeln!(f, "where they differ ({left} | {right}):")?;
            self.differences.iter().try_for_each(|difference| writeln!(f, "  {difference}"))?;
        }
        if !self.path.is_empty() {
            writeln!(f, "the way there, by hashes of the index:")?;
            self.path.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        }
        if !self.touches.is_empty() {
            writeln!(f, "how each side came by what it has of the first:")?;
        }
        for RecordChange { at_us, name, how, record, .. } in &self.touches {
            let record = record.as_deref().unwrap_or("nothing");
            writeln!(f, "  {}.{:03} ms {name}, {how}: {record}", at_us / 1_000, at_us % 1_000)?;
        }
        if !self.slice.is_empty() {
            writeln!(f, "what led to it:")?;
        }
        for HistoryLine { event, words, lost, .. } in &self.slice {
            writeln!(f, "  event {event}: {words}")?;
            lost.iter().try_for_each(|lost| writeln!(f, "      lost: {lost}"))?;
        }
        if self.truncated {
            writeln!(f, "the run was long: what came first is not in this")?;
        }
        Ok(())
    }
}
