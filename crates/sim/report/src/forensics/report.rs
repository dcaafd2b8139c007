//! What an investigation found.

use crate::forensics::entity_history::{Line, Touch};
use crate::forensics::index_path::Step;
use serde::Serialize;
use std::fmt::{self, Write};

/// When it went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Finding {
    /// Nothing did: the run converged.
    #[default]
    Converged,
    /// Without faults from this event on, the replicas would still not have agreed; from before it, they
    /// would have.
    Turned {
        /// The number of the event, from one.
        event: u64,
    },
    /// A check saw a promise broken by this event.
    Broken {
        /// The number of the event, from one.
        event: u64,
    },
    /// They would not have agreed even if nothing had ever gone wrong around them.
    NeverCould,
    /// They would have agreed if all faults had ended where the run stopped: it stopped too early.
    CouldStillAgree,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Converged => "nothing went wrong",
            Self::Turned { .. } => "the first event after which they could no longer agree",
            Self::Broken { .. } => "the event that broke the promise",
            Self::NeverCould => "they could not have agreed even if nothing had gone wrong around them",
            Self::CouldStillAgree => "they would still agree if all faults ended where the run stopped",
        })
    }
}

impl Finding {
    /// The event at which it went wrong, if it is one.
    pub const fn event(&self) -> Option<u64> {
        match self {
            Self::Turned { event } | Self::Broken { event } => Some(*event),
            Self::Converged | Self::NeverCould | Self::CouldStillAgree => None,
        }
    }
}

/// What an investigation found. As JSON, field names are stable.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The seed of the run.
    pub seed: u64,
    /// Why it stopped, in words.
    pub stop: String,
    /// After how many events.
    pub events: u64,
    /// When it went wrong.
    pub finding: Finding,
    /// Worlds that were let go on without faults to find that out.
    pub trials: u64,
    /// The entry of that event.
    pub turn: Option<Line>,
    /// Whose states are held beside each other, if any two differ: the left and the right.
    pub sides: Option<(String, String)>,
    /// Entities on which they differ, in words.
    pub differences: Vec<String>,
    /// The way down the index to the first of them.
    pub path: Vec<Step>,
    /// What happened to that entity on either side, in order.
    pub touches: Vec<Touch>,
    /// What happened before the turn and concerns it.
    pub slice: Vec<Line>,
    /// The run was too long for its whole history to be kept: the beginning is missing.
    pub truncated: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} events: {}", self.seed, self.events, self.stop)?;
        f.write_str(&self.details())
    }
}

impl Report {
    /// All of it in lines, but for the run and why it stopped.
    pub fn details(&self) -> String {
        let mut text = String::new();
        // Writing into memory cannot fail.
        let _ = self.write_details(&mut text);
        text
    }

    fn write_details(&self, f: &mut String) -> fmt::Result {
        let colon = if self.turn.is_some() { ":" } else { "" };
        writeln!(f, "{}{colon}", self.finding)?;
        if let Some(Line { event, words, .. }) = &self.turn {
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
        for Touch { at_us, name, how, record, .. } in &self.touches {
            let record = record.as_deref().unwrap_or("nothing");
            writeln!(f, "  {}.{:03} ms {name}, {how}: {record}", at_us / 1_000, at_us % 1_000)?;
        }
        if !self.slice.is_empty() {
            writeln!(f, "what led to it:")?;
        }
        for Line { event, words, lost, .. } in &self.slice {
            writeln!(f, "  event {event}: {words}")?;
            lost.iter().try_for_each(|lost| writeln!(f, "      lost: {lost}"))?;
        }
        if self.truncated {
            writeln!(f, "the run was long: what came first is not in this")?;
        }
        Ok(())
    }
}
