//! A run in words and as a picture.

use crate::case::Ended;
use crate::custom::Subject;
use crate::custom::run::Run;
use sync_sim_engine::history::{EntryKind, Fate, History, HistoryEntry};
use sync_sim_engine::node_id::NodeId;
use sync_sim_report::timeline::{Film, FilmNode, Finding};

/// Lines of its story that a picture shows.
const LINES: usize = 40;

impl<S: Subject> Run<'_, S> {
    /// What happened, if a history was kept: the last `most` events that changed a node, were asked for, or
    /// went wrong, with the frames they sent that never came to anything.
    pub fn story(&self, most: usize) -> String {
        let Some(history) = self.world.history() else { return String::new() };
        let matters = |entry: &&HistoryEntry| {
            entry.changed || entry.is_fault() || entry.what == EntryKind::Write || !entry.notes.is_empty()
        };
        let told: Vec<&HistoryEntry> = history.entries.iter().filter(matters).collect();
        let skipped = told.len().saturating_sub(most);
        let mut lines = Vec::new();
        if skipped > 0 {
            lines.push(format!("({skipped} earlier events)"));
        }
        for entry in told.into_iter().skip(skipped) {
            let digest =
                if entry.changed { format!("  [{:016x}]", entry.digest.swap_bytes()) } else { String::new() };
            lines.push(format!("{}{digest}", history.words(entry)));
            lines.extend(entry.sent.iter().filter_map(|frame| missed(history, *frame)));
        }
        lines.join("\n")
    }

    /// The run as a picture, if its history was kept.
    pub fn film(&self, ended: &Ended) -> Option<Film> {
        let mut film = Film::of(self.world.history()?, ended.at.as_micros());
        film.good = ended.class.is_converged();
        film.verdict = if film.good { "CONVERGED".into() } else { "NOT CONVERGED".into() };
        film.title = format!("seed {}: {} replicas", self.case.seed, self.names.len());
        let sent = self.world.router().fates().sent;
        let mut facts = vec![
            format!("{} of virtual time", ended.at),
            format!("{} events", ended.events),
            format!("{sent} frames"),
            format!("{} operations", self.acknowledged.len()),
            format!("trace {}", ended.trace),
        ];
        facts.append(&mut film.facts);
        if !film.good {
            facts.insert(0, ended.reason.clone());
            let (headline, at) = (ended.reason.clone(), Some(ended.at.as_micros()));
            let parting = self.parting().map(|parting| format!("{parting}\n\n")).unwrap_or_default();
            film.forensics = Some(Finding { headline, at, text: format!("{parting}{}", self.story(LINES)) });
        }
        film.facts = facts;
        film.nodes =
            (0..).map(NodeId).zip(&self.names).map(|(node, name)| self.figures(node, name)).collect();
        Some(film)
    }

    fn figures(&self, node: NodeId, name: &str) -> FilmNode {
        let traffic = self.world.traffic(node);
        let figures = [
            ("frames sent", traffic.sent),
            ("frames received", traffic.received),
            ("bytes sent", traffic.bytes_sent),
            ("bytes received", traffic.bytes_received),
        ];
        let figures = figures.into_iter().map(|(what, figure)| (what.to_owned(), figure));
        FilmNode { name: name.to_owned(), figures: figures.collect() }
    }
}

/// What became of a frame that never came to anything.
pub(super) fn missed(history: &History, number: u64) -> Option<String> {
    let frame = history.frame(number)?;
    let lost = |copy: &sync_sim_engine::history::FrameCopy| match copy.fate {
        Fate::Dropped(cause) => Some(cause.words()),
        Fate::Delivered | Fate::InFlight | Fate::Unrecorded => None,
    };
    let causes: Vec<_> = frame.copies.iter().filter_map(lost).collect();
    let why = causes.first().filter(|_| causes.len() == frame.copies.len())?;
    Some(format!("    {} {number} to {}: {why}", history.kind(frame), history.name(frame.to)))
}
