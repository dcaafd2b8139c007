//! What went wrong in a run that failed: when its replicas could no longer agree, on what, and what had
//! happened to that.
//!
//! [`investigate`] runs the same simulation again, twice. The first time it keeps copies of the whole
//! world on the way, and then asks of one after the other whether its replicas *could still agree*: it
//! takes all faults away and lets that world go on for a while. A search over the events finds the first
//! after which they could not. The second time it keeps a [`History`] and notes each change to the record
//! of the entity on which they differ.
//!
//! The search takes it that what is lost stays lost: that worlds can agree up to some event and none can
//! after it. Where that does not hold, the event it names is one such turn and perhaps not the only one.

mod entity_history;
mod index_path;
mod report;
mod search;

pub use entity_history::{Line, Touch};
pub use index_path::{Place, Step};
pub use report::{Finding, Report};
pub use search::Limits;

use sync_sim_cluster::node::{RecordDifference, differences};
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::{Check, StopCondition};
use sync_sim_engine::history::History;
use sync_sim_engine::node_id::NodeId;
use syncline_store::MemoryStore;
use syncline_types::EntityId;

/// Entries of the history that are kept.
const ENTRIES: usize = 1 << 20;

/// Two states that differ: what one node has, and what another has or all should have.
struct Sides {
    context: usize,
    names: (String, String),
    nodes: Vec<NodeId>,
    stores: (MemoryStore, MemoryStore),
}

/// Investigates the run that `build` makes: a simulation about to begin, the same each time. Costs about
/// thirty runs of it, or fewer if it is long; see [`Limits`].
pub fn investigate(build: impl Fn() -> SimRuntime) -> Report {
    investigate_within(&Limits::default(), build)
}

/// As [`investigate`], within these limits.
pub fn investigate_within(limits: &Limits, build: impl Fn() -> SimRuntime) -> Report {
    let mut searched = search::run(limits, &build);
    let stop = searched.stop.clone();
    let mut report = Report {
        seed: searched.end.config().seed,
        stop: stop.to_string(),
        events: searched.end.events_processed(),
        ..Report::default()
    };
    if stop == StopCondition::Converged {
        return report;
    }
    report.finding = match &stop {
        StopCondition::Violated(check) if is_moment(check) => Finding::Broken { event: report.events },
        _ => searched.last_hope(limits),
    };
    report.trials = searched.trials;
    let sides = sides(&searched.end, &stop);
    let mut entity = None;
    if let Some(sides) = &sides {
        report.sides = Some(sides.names.clone());
        let (left, right) = (&sides.stores.0, &sides.stores.1);
        let found = differences(left, right, limits.entities).unwrap_or_default();
        entity = found.first().map(|difference| difference.entity);
        report.path = entity.map(|entity| index_path::between((left, right), entity)).unwrap_or_default();
        report.differences = found.iter().map(RecordDifference::to_string).collect();
    }
    let (context, nodes) = sides.map(|sides| (sides.context, sides.nodes)).unwrap_or_default();
    retrace(&mut report, build(), (context, entity), &nodes);
    report
}

/// Whether the check that failed says of one moment that it went wrong, and not of the end of a long way.
const fn is_moment(check: &Check) -> bool {
    !is_loss(check) && !matches!(check, Check::StickyLoop { .. } | Check::Storm { .. })
}

/// Whether the check that failed says that all agree on something that was not written.
const fn is_loss(check: &Check) -> bool {
    matches!(check, Check::Lost { .. } | Check::WrongValue { .. } | Check::HiddenDifference { .. })
}

/// Which states to hold beside each other.
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

/// Runs once more with a history, and tells of what happened to `entity` of a context on `nodes`.
fn retrace(
    report: &mut Report,
    mut again: SimRuntime,
    (context, entity): (usize, Option<EntityId>),
    nodes: &[NodeId],
) {
    again.keep_history(ENTRIES);
    let (events, mut trail) = (report.events, entity_history::Trail::new(context, entity));
    again.run_until(|rt| {
        trail.look(rt);
        rt.events_processed() >= events
    });
    // The run may have stopped before it asked again.
    trail.look(&again);
    let Some(history) = again.history() else { return };
    let turn = report.finding.event().and_then(|event| entry_of(history, event));
    report.turn = turn.and_then(|turn| history.entry(turn)).map(|entry| Line::of(history, entry));
    report.truncated = history.is_truncated();
    report.slice = entity_history::slice(history, &trail, turn, nodes);
    report.touches = trail.into_touches(nodes);
}

/// The entry of an event, or of the last before it that did anything.
fn entry_of(history: &History, event: u64) -> Option<u64> {
    history.entries.iter().rev().find(|entry| entry.event <= event).map(|entry| entry.number)
}
