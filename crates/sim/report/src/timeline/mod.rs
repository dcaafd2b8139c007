//! Timelines: the history of a run in the form that the viewer and other programs read.
//!
//! [`Timeline::of`] converts a [`History`] into columns of numbers. [`Timeline::page`] makes one
//! self-contained HTML page of them, [`Timeline::perfetto`] the JSON that Chrome's trace viewer and
//! Perfetto read, and [`shiviz`] the log that ShiViz reads.

mod build;
mod columns;
mod final_records;
mod html;
mod perfetto;
mod shiviz;
mod state_looks;

pub use final_records::{ShownRecord, ShownRecords};
pub use shiviz::shiviz;

use crate::timeline::columns::{Columns, Digests, Frames, Mark, Span};
use crate::timeline::state_looks::StateLooks;
use serde::Serialize;
use sync_sim_engine::history::History;

/// The version of the JSON that the viewer reads.
const FORMAT: u32 = 2;

/// A run as data for a viewer. Times are in microseconds of virtual time. As JSON, the names of the fields
/// are the contract with the viewer's scripts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Timeline {
    format: u32,
    /// One line that identifies the run.
    pub title: String,
    /// The verdict on the run, in a word or two.
    pub verdict: String,
    /// Whether the run converged.
    pub good: bool,
    /// Further facts, one line each, the most important first.
    pub facts: Vec<String>,
    /// The command that repeats the run.
    pub repeat: Option<String>,
    /// The summary of the investigation, if the run failed.
    pub forensics: Option<FailureSummary>,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<TimelineNode>,
    /// The records that the nodes ended with.
    pub records: ShownRecords,
    /// The time at which the run ended.
    pub end: u64,
    kinds: Vec<String>,
    fates: Vec<&'static str>,
    #[serde(rename = "lostOnWay")]
    lost_on_way: Vec<bool>,
    /// For each fate, whether it is expected in a healthy run.
    harmless: Vec<bool>,
    protocols: Vec<String>,
    frames: Frames,
    #[serde(rename = "digestNames")]
    digest_names: Vec<String>,
    digests: Vec<Digests>,
    #[serde(rename = "stateLooks")]
    state_looks: StateLooks,
    marks: Vec<Mark>,
    spans: Vec<Span>,
}

/// A summary of what an investigation found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FailureSummary {
    /// The finding in one line.
    pub headline: String,
    /// The time of the event to look at, in microseconds, if the finding names one.
    pub at: Option<u64>,
    /// The whole report as text.
    pub text: String,
}

/// One node of a timeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TimelineNode {
    /// The name of the node.
    pub name: String,
    /// Counters of the node, by name.
    pub figures: std::collections::BTreeMap<String, u64>,
}

impl Timeline {
    /// Builds the timeline of a history that ended at `end` microseconds. O(entries + frames).
    pub fn of(history: &History, end: u64) -> Self {
        let columns = Columns::of(history, end);
        let mut facts = Vec::new();
        if history.is_truncated() {
            facts.push(format!("only the last {} events were retained", history.entries.len()));
        }
        let node = |name: &String| TimelineNode { name: name.clone(), figures: Default::default() };
        Self {
            format: FORMAT,
            title: String::new(),
            verdict: String::new(),
            good: true,
            facts,
            repeat: None,
            forensics: None,
            nodes: history.nodes.iter().map(node).collect(),
            records: ShownRecords::default(),
            end,
            kinds: history.kinds.clone(),
            fates: columns.fates,
            lost_on_way: columns.lost_on_way,
            harmless: columns.harmless,
            protocols: columns.protocols,
            frames: columns.frames,
            state_looks: StateLooks::of(&columns.digests, columns.digest_names.len(), end),
            digest_names: columns.digest_names,
            digests: columns.digests,
            marks: columns.marks,
            spans: columns.spans,
        }
    }
}
