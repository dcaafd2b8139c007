//! The coverage targets, by name.

use crate::case::{Case, RunResult};
use crate::coverage::fault_settings::FaultSetting;
use std::collections::BTreeSet;
use sync_sim_cluster::hostile::Lie;
use sync_sim_cluster::metrics::SimMetrics;
use sync_sim_cluster::runtime::{EndedSession, Phase, SimRuntime};
use sync_sim_cluster::scenarios::NAMED;
use sync_sim_engine::network::{DropCause, Topology};
use syncline_sync::{FailureReason, Outcome, RetryReason, Selection, SyncProtocolKind};
use syncline_types::Probe;

/// Something that a run can reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoverageTarget {
    /// The name: the kind of target and which one. The names are stored with sweeps and stay stable.
    pub name: String,
    /// Whether a large sweep must reach it in a run that converges.
    pub demanded: bool,
}

pub(super) fn fault(setting: &str) -> String {
    format!("fault {setting}")
}

fn chosen(kind: SyncProtocolKind) -> String {
    format!("protocol {kind} chosen")
}

fn ended(kind: SyncProtocolKind) -> String {
    format!("protocol {kind} converged")
}

fn fell_back(kind: SyncProtocolKind) -> String {
    format!("protocol {kind} ended in a walk")
}

fn drop_of(cause: DropCause) -> String {
    format!("drop {}", cause.words())
}

fn scenario(name: &str) -> String {
    format!("scenario {name}")
}

fn topology(topology: Topology) -> String {
    format!("topology {}", topology.name())
}

fn selection(selection: Selection) -> String {
    format!("selection {selection:?}").to_lowercase()
}

fn lie_of(lie: Lie) -> String {
    format!("lie {lie}")
}

/// A rare branch of a replica, which it reports itself.
fn branch(probe: Probe) -> String {
    format!("branch {}", probe.words())
}

/// Nodes have several contexts, and sessions made the roots of two of them equal.
const SEVERAL_CONTEXTS: &str = "contexts several";

fn phase(phase: Phase) -> String {
    format!("phase {}", phase.name())
}

/// Whether drawn runs can drop frames for this cause. Without rules and with correct clocks, any other
/// cause is a finding.
const fn may_drop(cause: DropCause) -> bool {
    match cause {
        DropCause::Loss
        | DropCause::PartitionAtSend
        | DropCause::PartitionAtDelivery
        | DropCause::ReceiverCrashed
        | DropCause::StaleIncarnation
        | DropCause::DuplicateSuppressed
        | DropCause::Corrupt
        | DropCause::BufferFull
        | DropCause::NoLink
        | DropCause::QueueFull
        | DropCause::LinkDown
        | DropCause::ConnectionReset
        | DropCause::Malformed
        | DropCause::NotAMember
        | DropCause::BadSignature => true,
        DropCause::ReceiverUnknown
        | DropCause::ClockDrift
        | DropCause::Rule
        | DropCause::LeftBehind
        | DropCause::OtherContext => false,
    }
}

/// The target of a session's outcome, if drawn runs can reach it.
fn outcome(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Converged { .. } => "session converged",
        Outcome::SyncPending(RetryReason::NewerWrites) => "session pending: newer writes",
        Outcome::SyncPending(RetryReason::Yielded) => "session yielded",
        Outcome::SyncPending(RetryReason::PeerRestarted) => "session with a peer that restarted",
        Outcome::Failed(FailureReason::Timeout) => "session timed out",
        // The replica itself reports that it skipped a peer that is behind.
        Outcome::SyncPending(RetryReason::PeerBehind) | Outcome::Failed(_) => {
            return None;
        }
        Outcome::SyncPending(RetryReason::ClockDrift) => "session pending: clocks",
    })
}

const OUTCOMES: [(&str, bool); 6] = [
    ("session converged", true),
    ("session pending: newer writes", true),
    ("session yielded", true),
    ("session pending: clocks", true),
    ("session with a peer that restarted", true),
    ("session timed out", true),
];

/// Rare states that the figures of a run show: their names, and whether they are demanded. The rare branches
/// that replicas report are targets too.
const STATES: [(&str, bool); 7] = [
    (FORGOTTEN, true),
    (LATE_SNAPSHOT, true),
    (RETRIED, true),
    (BROKEN, true),
    (LONG, true),
    (PUSHED, true),
    (BOTH_DOWN, true),
];

const FORGOTTEN: &str = "state tombstones forgotten";
const LATE_SNAPSHOT: &str = "state a late joiner took a snapshot";
const RETRIED: &str = "state a session converged after requests sent again";
const BROKEN: &str = "state a session converged beside broken connections";
const LONG: &str = "state a session of ten round trips or more";
const PUSHED: &str = "state a session that moved records both ways";
const BOTH_DOWN: &str = "state a crash while nodes were partitioned or away";

/// Whether drawn runs must take this branch. The others need several rare events in one transfer, so that a run of
/// thousands takes them or none.
const fn is_demanded(probe: Probe) -> bool {
    !matches!(
        probe,
        // A hostile member that announces writes for ever, in a run that takes that long.
        Probe::Fruitless
            // Tombstones are collected between the first and the last page of a snapshot.
            | Probe::SnapshotStartedOver
            | Probe::PublishedTooLate
            // Enough rows are left of a snapshot that was given up, when the next one begins.
            | Probe::RemainsInPieces
            // A session is cut off, and the next one is with a peer that has less than half of the state.
            | Probe::PeerSkipped
            | Probe::StagedGivenUp
            // Views are evicted several times within one session.
            | Probe::BoundariesUsedUp
            // A requested protocol becomes possible between two sessions of one transfer.
            | Probe::TransferSuperseded
    )
}

/// All targets, in the order in which reports list them.
pub fn targets() -> Vec<CoverageTarget> {
    let mut targets = Vec::new();
    let mut add = |name: String, demanded: bool| targets.push(CoverageTarget { name, demanded });
    FaultSetting::all().for_each(|setting| add(fault(setting.name), true));
    for kind in SyncProtocolKind::EXECUTABLE {
        add(chosen(kind), true);
        add(ended(kind), true);
        if !matches!(kind, SyncProtocolKind::None | SyncProtocolKind::HashComparison) {
            add(fell_back(kind), false);
        }
    }
    for cause in DropCause::ALL.into_iter().filter(|cause| may_drop(*cause)) {
        // Few lies consist of single frames that break a rule and nothing else.
        add(drop_of(cause), cause != DropCause::Malformed);
    }
    OUTCOMES.iter().chain(&STATES).for_each(|(name, demanded)| add((*name).to_owned(), *demanded));
    Probe::ALL.iter().for_each(|probe| add(branch(*probe), is_demanded(*probe)));
    [Phase::Safety, Phase::Liveness].into_iter().for_each(|in_phase| add(phase(in_phase), true));
    NAMED.iter().for_each(|named| add(scenario(named.name), true));
    Lie::ALL.into_iter().for_each(|lie| add(lie_of(lie), true));
    add(SEVERAL_CONTEXTS.to_owned(), true);
    Topology::ALL.into_iter().for_each(|shape| add(topology(shape), true));
    [Selection::Table, Selection::Adaptive].into_iter().for_each(|how| add(selection(how), true));
    targets
}

/// Adds the names of the targets that a run reached, except those of fault settings.
pub(super) fn reached_by(
    rt: &SimRuntime,
    case: &Case,
    metrics: &SimMetrics,
    ending: &RunResult,
    names: &mut Vec<String>,
) {
    let dropped = |cause: &DropCause| may_drop(*cause) && metrics.dropped(*cause) > 0;
    names.extend(DropCause::ALL.into_iter().filter(dropped).map(drop_of));
    names.extend(rt.probes().iter().map(branch));
    names.extend(metrics.hostile.lies.keys().copied().map(lie_of));
    if ending.class.is_converged() {
        names.extend(rt.phase().map(phase));
    }
    names.extend(case.scenario.as_ref().map(|spec| scenario(&spec.name)));
    names.push(topology(case.topology));
    names.push(selection(case.selection));
    let mut protocols = BTreeSet::new();
    let mut states = BTreeSet::new();
    let mut synced: BTreeSet<usize> = BTreeSet::new();
    for session in rt.sessions() {
        states.extend(outcome(&session.outcome));
        add_protocol(session, &mut protocols);
        add_states(session, &mut states);
        if matches!(session.outcome, Outcome::Converged { .. }) {
            synced.insert(session.context);
        }
    }
    if synced.len() > 1 {
        names.push(SEVERAL_CONTEXTS.to_owned());
    }
    for (kind, what) in protocols {
        names.push([chosen, ended, fell_back][what](kind));
    }
    add_run(metrics, &mut states);
    names.extend(states.into_iter().map(str::to_owned));
}

/// Records what a session contributed to the targets of its protocol: chosen (0), converged (1), ended in a
/// walk (2).
fn add_protocol(session: &EndedSession, protocols: &mut BTreeSet<(SyncProtocolKind, usize)>) {
    // A session that ended before the handshake never selected a protocol.
    let Some(kind) = session.protocol else { return };
    protocols.insert((kind, 0));
    if matches!(session.outcome, Outcome::Converged { .. }) {
        protocols.insert((kind, 1));
    }
    if session.stats.walks > 0 && !matches!(kind, SyncProtocolKind::None | SyncProtocolKind::HashComparison) {
        protocols.insert((kind, 2));
    }
}

/// Adds the rare states that a session shows.
fn add_states(session: &EndedSession, states: &mut BTreeSet<&'static str>) {
    let stats = &session.stats;
    let converged = matches!(session.outcome, Outcome::Converged { .. });
    if converged && stats.retries > 0 {
        states.insert(RETRIED);
    }
    if stats.round_trips >= 10 {
        states.insert(LONG);
    }
    if stats.records_received > 0 && stats.records_pushed > 0 {
        states.insert(PUSHED);
    }
}

/// Adds the rare states that the counters of the whole run show.
fn add_run(metrics: &SimMetrics, states: &mut BTreeSet<&'static str>) {
    let protocol = &metrics.protocol;
    let effects = &metrics.effects;
    let mut note = |state: &'static str, holds: bool| {
        if holds {
            states.insert(state);
        }
    };
    note(FORGOTTEN, protocol.records_collected > 0);
    note(LATE_SNAPSHOT, effects.late_joins > 0 && protocol.snapshots > 0);
    note(BROKEN, effects.links.connection_resets > 0 && protocol.sessions_converged > 0);
    note(BOTH_DOWN, effects.node_crashes > 0 && effects.partitions + effects.departures > 0);
}
