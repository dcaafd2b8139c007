//! A run as text and as a timeline.

use crate::case::RunResult;
use crate::custom::Subject;
use crate::custom::run::LabRun;
use sync_sim_engine::history::{EntryKind, Fate, History, HistoryEntry};
use sync_sim_engine::node_id::NodeId;
use sync_sim_report::timeline::{FailureSummary, Timeline, TimelineNode};

/// The lines of the report that a timeline shows.
const LINES: usize = 40;

impl<S: Subject> LabRun<'_, S> {
    /// The last `most` events that changed a node, were operations or were faults, each with those of its frames
    /// that were dropped. Empty if the run recorded no history. O(events).
    pub fn report(&self, most: usize) -> String {
        let Some(history) = self.world.history() else { return String::new() };
        let matters = |entry: &&HistoryEntry| {
            entry.changed
                || entry.is_fault()
                || matches!(entry.what, EntryKind::Write { .. })
                || !entry.notes.is_empty()
        };
        let shown: Vec<&HistoryEntry> = history.entries.iter().filter(matters).collect();
        let skipped = shown.len().saturating_sub(most);
        let mut lines = Vec::new();
        if skipped > 0 {
            lines.push(format!("({skipped} earlier events)"));
        }
        for entry in shown.into_iter().skip(skipped) {
            let digest =
                if entry.changed { format!("  [{:016x}]", entry.digest.swap_bytes()) } else { String::new() };
            lines.push(format!("{}{digest}", history.words(entry)));
            lines.extend(entry.sent.iter().filter_map(|frame| describe_dropped(history, *frame)));
        }
        lines.join("\n")
    }

    /// The run as a timeline; `None` if it recorded no history.
    pub fn timeline(&self, ended: &RunResult) -> Option<Timeline> {
        let mut timeline = Timeline::of(self.world.history()?, ended.at.as_micros());
        timeline.good = ended.class.is_converged();
        timeline.verdict = if timeline.good { "CONVERGED".into() } else { "NOT CONVERGED".into() };
        timeline.title = format!("seed {}: {} replicas", self.case.seed, self.names.len());
        let sent = self.world.router().fates().sent;
        let mut facts = vec![
            format!("{} of virtual time", ended.at),
            format!("{} events", ended.events),
            format!("{sent} frames"),
            format!("{} operations", self.acknowledged.len()),
            format!("trace {}", ended.trace),
        ];
        facts.append(&mut timeline.facts);
        if !timeline.good {
            facts.insert(0, ended.reason.clone());
            let headline = ended.reason.clone();
            let at = Some(ended.at.as_micros());
            let divergence = self.divergence().map(|text| format!("{text}\n\n")).unwrap_or_default();
            timeline.forensics =
                Some(FailureSummary { headline, at, text: format!("{divergence}{}", self.report(LINES)) });
        }
        timeline.facts = facts;
        timeline.nodes =
            (0..).map(NodeId).zip(&self.names).map(|(node, name)| self.figures(node, name)).collect();
        Some(timeline)
    }

    fn figures(&self, node: NodeId, name: &str) -> TimelineNode {
        let traffic = self.world.traffic(node);
        let figures = [
            ("frames sent", traffic.sent),
            ("frames received", traffic.received),
            ("bytes sent", traffic.bytes_sent),
            ("bytes received", traffic.bytes_received),
        ];
        let figures = figures.into_iter().map(|(what, figure)| (what.to_owned(), figure));
        TimelineNode { name: name.to_owned(), figures: figures.collect() }
    }
}

/// Why a frame was dropped; `None` if a copy of it was delivered or is in flight.
pub(super) fn describe_dropped(history: &History, number: u64) -> Option<String> {
    let frame = history.frame(number)?;
    let lost = |copy: &sync_sim_engine::history::FrameCopy| match copy.fate {
        Fate::Dropped(cause) => Some(cause.words()),
        Fate::Delivered | Fate::InFlight | Fate::Unrecorded => None,
    };
    let causes: Vec<_> = frame.copies.iter().filter_map(lost).collect();
    let why = causes.first().filter(|_| causes.len() == frame.copies.len())?;
    Some(format!("    {} {number} to {}: {why}", history.kind(frame), history.name(frame.to)))
}
