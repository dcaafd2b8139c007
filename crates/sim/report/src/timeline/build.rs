//! The timeline of a run of the built-in replicas.

use crate::forensics::FailureReport;
use crate::timeline::final_records::ShownRecords;
use crate::timeline::{FailureSummary, Timeline, TimelineNode};
use std::collections::BTreeMap;
use sync_sim_cluster::hostile::Adversary;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::StopCondition;
use sync_sim_engine::history::History;
use sync_sim_engine::node_id::NodeId;
use syncline_storage::StorageError;

/// The most records that a timeline holds; a page with more becomes slow.
const MOST_RECORDS: usize = 2_000;

impl Timeline {
    /// The timeline of a run that has stopped, or `None` if its settings did not ask for a history.
    ///
    /// # Errors
    ///
    /// If the state of a node cannot be read.
    pub fn of_run(rt: &SimRuntime, stop: &StopCondition) -> Result<Option<Self>, StorageError> {
        let Some(history) = rt.history() else { return Ok(None) };
        let mut timeline = Self::of(history, rt.now().as_micros());
        let nodes = rt.node_ids();
        let context = rt.context_in_question();
        let disks: Vec<_> = nodes.iter().map(|node| rt.node(*node).in_context(context).disk()).collect();
        timeline.records = ShownRecords::of(&disks, MOST_RECORDS)?;
        timeline.good = *stop == StopCondition::Converged;
        timeline.verdict = if timeline.good { "CONVERGED".into() } else { "NOT CONVERGED".into() };
        timeline.title = format!("seed {}: {} replicas", rt.config().seed, nodes.len());
        let mut facts = vec![
            format!("{} of virtual time", rt.now()),
            format!("{} events", rt.events_processed()),
            format!("{} frames", rt.metrics().protocol.messages_sent),
            format!("trace {}", rt.trace_digest()),
        ];
        let hostile: Vec<String> =
            nodes.iter().filter(|node| rt.is_hostile(**node)).map(|node| rt.name(*node)).collect();
        if !hostile.is_empty() {
            facts.push(format!("hostile, and not waited for: {}", hostile.join(", ")));
        }
        if rt.contexts() > 1 {
            facts.push(format!(
                "{} contexts on each node; the records are those of context {context}",
                rt.contexts()
            ));
        }
        // The facts about the run come before those about its history, such as that it is truncated.
        facts.append(&mut timeline.facts);
        if !timeline.good {
            facts.insert(0, stop.to_string());
        }
        timeline.facts = facts;
        timeline.nodes = nodes.iter().map(|node| figures(rt, *node)).collect();
        Ok(Some(timeline))
    }
}

impl FailureSummary {
    /// Summarizes the report of an investigation, with the time of the event that it names.
    pub fn of(report: &FailureReport, history: &History) -> Self {
        let event = report.turn.as_ref().map(|turn| turn.event);
        let entry = event.and_then(|event| history.entries.iter().rev().find(|entry| entry.event <= event));
        let at = entry.map(|entry| entry.at_us);
        Self { headline: report.finding.to_string(), at, text: report.details() }
    }
}

fn figures(rt: &SimRuntime, node: NodeId) -> TimelineNode {
    let mut name = rt.name(node);
    let metrics = rt.node_metrics(node);
    let figures = [
        ("frames sent", metrics.messages_sent),
        ("frames received", metrics.messages_received),
        ("bytes sent", metrics.bytes_sent),
        ("bytes received", metrics.bytes_received),
        ("sessions begun", metrics.syncs_initiated),
        ("sessions that converged", metrics.syncs_completed),
    ];
    let mut figures: BTreeMap<String, u64> =
        figures.into_iter().map(|(what, figure)| (what.to_owned(), figure)).collect();
    if rt.node(node).adversaries().next().is_some() {
        name += " (hostile)";
    }
    for (lie, count) in rt.node(node).adversaries().flat_map(Adversary::lie_counts) {
        *figures.entry(format!("lies: {lie}")).or_default() += count;
    }
    TimelineNode { name, figures }
}
