//! A run as a picture: its history in the form that the viewer's page and other programs read.
//!
//! [`Film::of`] turns a [`History`] into columns of plain numbers. [`Film::page`] makes one self-contained
//! HTML page of it, [`Film::perfetto`] the JSON of Chrome's trace viewer and Perfetto, and [`shiviz`] the
//! log that ShiViz reads.

mod build;
mod columns;
mod final_records;
mod html;
mod perfetto;
mod shiviz;

pub use final_records::{ShownRecord, ShownRecords};
pub use shiviz::shiviz;

use crate::timeline::columns::{Columns, Digests, Frames, Mark, Span};
use serde::Serialize;
use sync_sim_engine::history::History;

/// The version of the film's form.
const FORMAT: u32 = 1;

/// A run as a picture. Times are microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Film {
    format: u32,
    /// What run it is, in a line.
    pub title: String,
    /// How it ended, in a word or two.
    pub verdict: String,
    /// Whether it ended well.
    pub good: bool,
    /// What else a reader should know at once.
    pub facts: Vec<String>,
    /// The command that repeats it.
    pub repeat: Option<String>,
    /// What is known of a failure.
    pub forensics: Option<Finding>,
    /// The nodes, by number.
    pub nodes: Vec<FilmNode>,
    /// The records that nodes ended with.
    pub records: ShownRecords,
    /// When it ended.
    pub end: u64,
    kinds: Vec<String>,
    fates: Vec<&'static str>,
    #[serde(rename = "lostOnWay")]
    lost_on_way: Vec<bool>,
    /// Fates that nobody need worry about.
    harmless: Vec<bool>,
    protocols: Vec<String>,
    frames: Frames,
    #[serde(rename = "digestNames")]
    digest_names: Vec<String>,
    digests: Vec<Digests>,
    marks: Vec<Mark>,
    spans: Vec<Span>,
}

/// What is known of a failure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// In a line.
    pub headline: String,
    /// The moment to look at, if there is one.
    pub at: Option<u64>,
    /// All of it, in lines.
    pub text: String,
}

/// A node of a film.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FilmNode {
    /// Its name.
    pub name: String,
    /// Figures about it, by name.
    pub figures: std::collections::BTreeMap<String, u64>,
}

impl Film {
    /// The film of a history that ended at `end` microseconds. O(entries + frames).
    pub fn of(history: &History, end: u64) -> Self {
        let columns = Columns::of(history, end);
        let mut facts = Vec::new();
        if history.is_truncated() {
            facts.push(format!("only the last {} events were kept", history.entries.len()));
        }
        let node = |name: &String| FilmNode { name: name.clone(), figures: Default::default() };
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
            digest_names: columns.digest_names,
            digests: columns.digests,
            marks: columns.marks,
            spans: columns.spans,
        }
    }
}
