//! Builds the run of a case with custom replicas, and the case of a run.

use crate::case::{Case, CaseError, CustomOp, ScriptAction};
use crate::custom::Subject;
use crate::custom::disk_shim::DiskShim;
use crate::custom::run::LabRun;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::liveness::LivenessMonitor;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::world::World;
use syncline_types::{Choice, SimDuration, SimTime};

/// What a run records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// Nothing but its end.
    EndOnly,
    /// The outcomes of its random draws, so that they can be pinned.
    Randomness,
    /// Its history, so that it can be rendered.
    History,
}

/// The operation that a line of the script asks for.
fn ask<S: Subject>(place: &str, what: &ScriptAction) -> Result<S::Op, CaseError> {
    let problem = match what {
        ScriptAction::Op(CustomOp { ask, .. }) => match ask.clone().try_into() {
            Ok(op) => return Ok(op),
            Err(error) => format!("the operation is not one of this replica: {error}"),
        },
        _ => "this replica takes `op` lines; `write` is for Syncline's own".into(),
    };
    Err(CaseError::Impossible { place: place.to_owned(), problem })
}

/// Refuses cases with initial entities: only Syncline's own replicas can be given any.
fn begins_empty(case: &Case) -> Result<(), CaseError> {
    let place = if case.scenario.is_some() {
        "scenario"
    } else if !case.shared.is_empty() {
        "shared"
    } else if case.nodes.iter().any(|node| !node.entities.is_empty() || !node.writes.is_empty()) {
        "nodes"
    } else {
        return Ok(());
    };
    let problem = "custom replicas begin empty; only Syncline's own begin with entities".into();
    Err(CaseError::Impossible { place: place.into(), problem })
}

/// The run of a case, before its first event.
pub(super) fn build<'a, S: Subject>(
    subject: &'a S,
    case: &Case,
    recording: Recording,
) -> Result<LabRun<'a, S>, CaseError> {
    case.faults.validate()?;
    case.check_counts()?;
    begins_empty(case)?;
    if case.faults.hostile != HostileFaults::none() || case.nodes.iter().any(|node| !node.hostile.is_none()) {
        let problem =
            "only Syncline's own replicas can be hostile: attacks alter the fields of their frames".into();
        return Err(CaseError::Impossible { place: "nodes".into(), problem });
    }
    if case.contexts != 1 {
        let problem = "custom replicas have one context; only Syncline's own have several".into();
        return Err(CaseError::Impossible { place: "contexts".into(), problem });
    }
    let names = case.names(&case.initial_scenario()?)?;
    let faults = case.faults.clone();
    let mut world = World::new(Choices::seeded(case.seed), faults).with_topology(case.topology);
    if recording == Recording::History {
        world.record_history(usize::MAX);
        if let Some(history) = world.history_mut() {
            history.nodes = names.0.clone();
            history.kinds = subject.kinds().iter().map(|kind| (*kind).to_owned()).collect();
        }
    }
    world.set_event_log((recording == Recording::Randomness).then(Vec::new));
    let make = |world: &World<DiskShim<S::Node>>| DiskShim::new(subject.node(NodeId(world.len() as u32)));
    for _ in 0..case.nodes.len() {
        world.add(make(&world));
    }
    // The order of the draws below decides every run of a seed. It must not change.
    draw_ops(subject, case, &mut world);
    let chaos = case.calm_after.map_or(case.chaos_for, |after| case.chaos_for.min(after));
    world.set_chaos_until(SimTime::ZERO + chaos);
    // The lines of the script are in the case already, so the log must not record them once more.
    let event_log = world.take_event_log();
    for (at, _) in case.joiners() {
        world.add_late(make(&world), at);
    }
    world.set_event_log(event_log);
    for _ in 0..case.faults.late_joiners {
        let stream = Stream::Churn(world.len() as u32);
        let when = &case.faults.join_ms;
        let low = when.start * 1_000;
        let high = (when.end * 1_000).saturating_sub(1);
        let after = world.choices_mut().between(stream, Choice::JoinTime, low, high);
        world.add_late(make(&world), SimTime::from_micros(after));
    }
    // Scripted events are recorded when they happen, in the order of the run, and not when they are scheduled.
    let event_log = world.take_event_log();
    for (time, event) in case.events(&names, ask::<S>)? {
        world.schedule_scripted(time, event);
    }
    world.set_event_log(event_log);
    for line in &case.rules {
        world.add_rule(line.rule(|place, name| names.resolve(place, name))?);
    }
    world.set_frame_script(case.book(&names, recording == Recording::Randomness)?);
    let calm_at = case.calm_after.map_or(SimTime::MAX, |after| SimTime::ZERO + after);
    Ok(LabRun {
        subject,
        case: case.clone(),
        world,
        names: names.0,
        calm_at,
        acknowledged: Vec::new(),
        undone: Vec::new(),
        watch: LivenessMonitor::default(),
        moved_at: SimTime::ZERO,
        violation: None,
    })
}

/// Draws the time, the node and the operation of each write of the workload.
fn draw_ops<S: Subject>(subject: &S, case: &Case, world: &mut World<DiskShim<S::Node>>) {
    const STREAM: Stream = Stream::Workload;
    for _ in 0..case.workload.writes {
        let after = world.choices_mut().below(STREAM, Choice::WriteTime, case.workload.over.as_micros());
        let nodes = world.len() as u64;
        let node = NodeId(world.choices_mut().below(STREAM, Choice::WriteNode, nodes) as u32);
        let op = subject.op(node, &mut world.choices_mut().source(STREAM));
        world.schedule_planned(SimTime::ZERO + SimDuration::from_micros(after), SimEvent::Op { node, op });
    }
}

/// Cases that do the same as a run that has ended, the most explicit one first: with every fault and every
/// frame as a line of its own, then with every fault as a line, then the case of the run itself.
pub(super) fn pinned<S: Subject>(run: &LabRun<'_, S>) -> Result<Vec<Case>, CaseError> {
    let name = |node: NodeId| run.name(node);
    let mut scripted = run.case.clone();
    // The events of the script that happened are in the log; only joins are not.
    scripted.script.retain(|line| matches!(line.what, ScriptAction::Join(_)));
    for (time, happened) in run.world.event_log() {
        let mut unwritable = None;
        let ask = |node, op: &S::Op| {
            let ask = toml::Value::try_from(op).unwrap_or_else(|error| {
                unwritable = Some(CaseError::Unwritable(error.to_string()));
                toml::Value::Boolean(false)
            });
            ScriptAction::Op(CustomOp { node, ask })
        };
        let what = ScriptAction::of(happened, name, ask);
        if let Some(error) = unwritable {
            return Err(error);
        }
        scripted.script.extend(what.map(|what| crate::case::ScriptLine {
            at: time.at,
            after: time.after,
            what,
        }));
    }
    let scripted = scripted.scripted();
    Ok(vec![scripted.clone().frames_in(run.world.router(), name), scripted, run.case.clone()])
}
