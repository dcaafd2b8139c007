//! Explains why a run did not converge: the event after which convergence was no longer possible, the
//! records that differ, and the history of the first of them.
//!
//! [`investigate`] repeats the simulation twice. The first repetition stores snapshots of the whole world.
//! For a snapshot, the investigation tests whether its replicas *could still converge*: it disables all
//! faults in a copy of that world and runs the copy for a limited time. A bisection over the events finds the
//! first event after which they could not. The second repetition records a [`History`] and each change of the
//! entity on which the replicas differ.
//!
//! The bisection relies on an invariant: once a world cannot converge, no later world can. Where this does
//! not hold, the reported event is one such turn, and there may be others.

mod entity_history;
mod index_path;
mod report;
mod search;

pub use entity_history::{HistoryLine, RecordChange};
pub use index_path::{IndexPosition, PathStep};
pub use report::{FailureReport, Finding};
pub use search::InvestigationLimits;

use sync_sim_cluster::node::{differences, state_differences};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::{Check, StopCondition};
use sync_sim_engine::history::History;
use sync_sim_engine::node_id::NodeId;
use syncline_store::MemoryStore;
use syncline_types::EntityId;

/// The most history entries that the second repetition keeps.
const MAX_ENTRIES: usize = 1 << 20;

/// Two states that differ: those of two nodes, or that of one node and the expected state.
struct Sides {
    context: usize,
    names: (String, String),
    nodes: Vec<NodeId>,
    stores: (MemoryStore, MemoryStore),
}

/// Investigates the run that `build` makes. `build` must return the same simulation each time, before its
/// first event. Costs up to about thirty runs; fewer for long runs, see [`InvestigationLimits`].
pub fn investigate(build: impl Fn() -> SimRuntime) -> FailureReport {
    investigate_within(&InvestigationLimits::default(), build)
}

/// Like [`investigate`], with limits on the cost.
pub fn investigate_within(limits: &InvestigationLimits, build: impl Fn() -> SimRuntime) -> FailureReport {
    report_on(&mut || true, limits, &build).unwrap_or_default()
}

/// Like [`investigate_within`], as long as `go_on` returns true, which is called before each event. `None` once it
/// does not.
pub fn investigate_while(
    go_on: &mut dyn FnMut() -> bool,
    limits: &InvestigationLimits,
    build: impl Fn() -> SimRuntime,
) -> Option<FailureReport> {
    report_on(go_on, limits, &build)
}

/// The body of [`investigate_while`]. It is not generic, so that it is compiled once.
fn report_on(
    go_on: &mut dyn FnMut() -> bool,
    limits: &InvestigationLimits,
    build: &dyn Fn() -> SimRuntime,
) -> Option<FailureReport> {
    let mut searched = search::run(go_on, limits, build)?;
    let stop = searched.stop.clone();
    let mut report = FailureReport {
        seed: searched.end.config().seed,
        stop: stop.to_string(),
        events: searched.end.events_processed(),
        ..FailureReport::default()
    };
    if stop == StopCondition::Converged {
        return Some(report);
    }
    report.finding = match &stop {
        StopCondition::Violated(check) if is_moment(check) => Finding::Broken { event: report.events },
        _ => searched.find_turn(go_on, limits)?,
    };
    report.trials = searched.trials;
    let sides = sides(&searched.end, &stop);
    let mut entity = None;
    if let Some(sides) = &sides {
        report.sides = Some(sides.names.clone());
        let left = &sides.stores.0;
        let right = &sides.stores.1;
        let found = differences(left, right, limits.entities).unwrap_or_default();
        entity = found.first().map(|difference| difference.entity);
        report.path = entity.map(|entity| index_path::between((left, right), entity)).unwrap_or_default();
        let names = (sides.names.0.as_str(), sides.names.1.as_str());
        report.differences = state_differences((left, right), names, limits.entities).unwrap_or_default();
    }
    let (context, nodes) = sides.map(|sides| (sides.context, sides.nodes)).unwrap_or_default();
    retrace(go_on, &mut report, build(), (context, entity), &nodes)?;
    Some(report)
}

/// Whether the failed check names the event that caused the violation. Other checks fail at the end of a
/// long development: a loss shows when the run is compared with what was written, a livelock after many
/// repetitions.
const fn is_moment(check: &Check) -> bool {
    let is_livelock =
        matches!(check, Check::StickyLoop { .. } | Check::Storm { .. } | Check::EndlessPending { .. });
    !is_loss(check) && !is_livelock && !matches!(check, Check::GaveUp { .. })
}

/// Whether the failed check says that all replicas agree on a state that was not written.
const fn is_loss(check: &Check) -> bool {
    matches!(check, Check::Lost { .. } | Check::WrongValue { .. } | Check::HiddenDifference { .. })
}

/// Chooses the two states to compare: two honest nodes with different roots, or, if all nodes agree on a
/// wrong state, the expected state and that of the first node.
fn sides(end: &SimRuntime, stop: &StopCondition) -> Option<Sides> {
    let nodes: Vec<NodeId> = end.honest().map(|(node, _)| node).collect();
    let (&first, rest) = nodes.split_first()?;
    let context = end.context_in_question();
    let disk = |node: NodeId| end.node(node).in_context(context).disk().clone();
    let root = |node: NodeId| end.root_in(context, node);
    if let Some(&other) = rest.iter().find(|node| root(**node) != root(first)) {
        return Some(Sides {
            context,
            names: (end.name_in(context, first), end.name_in(context, other)),
            nodes: vec![first, other],
            stores: (disk(first), disk(other)),
        });
    }
    matches!(stop, StopCondition::Violated(check) if is_loss(check)).then(|| Sides {
        context,
        names: ("what was written".to_owned(), end.name_in(context, first)),
        nodes,
        stores: (end.expected(context), disk(first)),
    })
}

/// Repeats the run with a history, and fills in the part of the report that explains `entity` on `nodes`.
fn retrace(
    go_on: &mut dyn FnMut() -> bool,
    report: &mut FailureReport,
    mut again: SimRuntime,
    (context, entity): (usize, Option<EntityId>),
    nodes: &[NodeId],
) -> Option<()> {
    again.keep_history(MAX_ENTRIES);
    let events = report.events;
    let mut tracker = entity_history::ChangeTracker::new(context, entity);
    let mut stopped = false;
    again.run_until(|rt| {
        tracker.observe(rt);
        stopped = stopped || !go_on();
        stopped || rt.events_processed() >= events
    });
    if stopped {
        return None;
    }
    // The run may have stopped before the predicate was called again, so the last event is observed here.
    tracker.observe(&again);
    assert_eq!(again.events_processed(), events, "the same simulation processes the same events");
    let history = again.history().expect("the repeated run keeps a history");
    let turn = report.finding.event().and_then(|event| entry_of(history, event));
    report.turn = turn.and_then(|turn| history.entry(turn)).map(|entry| HistoryLine::of(history, entry));
    report.truncated = history.is_truncated();
    report.slice = entity_history::slice(history, &tracker, turn, nodes);
    report.touches = tracker.into_changes(nodes);
    Some(())
}

/// The number of the entry of an event, or of the last entry before it: an event without effect has none.
fn entry_of(history: &History, event: u64) -> Option<u64> {
    history.entries.iter().rev().find(|entry| entry.event <= event).map(|entry| entry.number)
}
