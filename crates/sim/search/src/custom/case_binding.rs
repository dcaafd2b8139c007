//! From a case to a run of replicas of one's own, and back.

use crate::case::{Asked, Case, CaseError, What};
use crate::custom::Subject;
use crate::custom::disk_shim::Probe;
use crate::custom::run::Run;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::liveness::Watch;
use sync_sim_engine::event::SimEvent;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::world::World;
use syncline_types::{Choice, SimDuration, SimTime};

/// How a run is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Nothing is kept but how it ends.
    Nothing,
    /// What chance did, so that it can be pinned.
    Chance,
    /// Its history, so that it can be shown.
    History,
}

fn ask<S: Subject>(place: &str, what: &What) -> Result<S::Op, CaseError> {
    let problem = match what {
        What::Op(Asked { ask, .. }) => match ask.clone().try_into() {
            Ok(op) => return Ok(op),
            Err(error) => format!("this replica is not asked so: {error}"),
        },
        _ => "this replica is asked by `op`; a `write` is for ours".into(),
    };
    Err(CaseError::Impossible { place: place.to_owned(), problem })
}

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
    let problem = "replicas of one's own begin empty; only ours begin with entities".into();
    Err(CaseError::Impossible { place: place.into(), problem })
}

/// The run of a case, about to begin.
pub(super) fn build<'a, S: Subject>(
    subject: &'a S,
    case: &Case,
    keeping: Keeping,
) -> Result<Run<'a, S>, CaseError> {
    case.faults.validate()?;
    begins_empty(case)?;
    if case.faults.hostile != HostileFaults::none() || case.nodes.iter().any(|node| !node.hostile.is_none()) {
        let problem = "only replicas of ours can be hostile: lies are told in their frames".into();
        return Err(CaseError::Impossible { place: "nodes".into(), problem });
    }
    if case.contexts != 1 {
        let problem = "replicas of one's own keep one context; only ours keep several".into();
        return Err(CaseError::Impossible { place: "contexts".into(), problem });
    }
    let names = case.names(&case.beginning()?)?;
    let faults = case.faults.clone();
    let mut world = World::new(Choices::seeded(case.seed), faults).with_topology(case.topology);
    if keeping == Keeping::History {
        world.record_history(usize::MAX);
        if let Some(history) = world.history_mut() {
            history.nodes = names.0.clone();
            history.kinds = subject.kinds().iter().map(|kind| (*kind).to_owned()).collect();
        }
    }
    world.set_event_log((keeping == Keeping::Chance).then(Vec::new));
    let make = |world: &World<Probe<S::Node>>| Probe::new(subject.node(NodeId(world.len() as u32)));
    for _ in 0..case.nodes.len() {
        world.add(make(&world));
    }
    draw_ops(subject, case, &mut world);
    let chaos = case.calm_after.map_or(case.chaos_for, |after| case.chaos_for.min(after));
    world.set_chaos_until(SimTime::ZERO + chaos);
    for (at, _) in case.joiners() {
        world.add_late(make(&world), at);
    }
    for _ in 0..case.faults.late_joiners {
        let stream = Stream::Churn(world.len() as u32);
        let when = &case.faults.join_ms;
        let (low, high) = (when.start * 1_000, (when.end * 1_000).saturating_sub(1));
        let after = world.choices_mut().between(stream, Choice::JoinTime, low, high);
        world.add_late(make(&world), SimTime::from_micros(after));
    }
    let event_log = world.take_event_log();
    for (cue, event) in case.events(&names, ask::<S>)? {
        world.schedule_scripted(cue, event);
    }
    world.set_event_log(event_log);
    for line in &case.rules {
        world.add_rule(line.rule(|place, name| names.resolve(place, name))?);
    }
    world.set_frame_script(case.book(&names, keeping == Keeping::Chance)?);
    let calm_at = case.calm_after.map_or(SimTime::MAX, |after| SimTime::ZERO + after);
    Ok(Run {
        subject,
        case: case.clone(),
        world,
        names: names.0,
        calm_at,
        acknowledged: Vec::new(),
        undone: Vec::new(),
        watch: Watch::default(),
        moved_at: SimTime::ZERO,
        violation: None,
    })
}

fn draw_ops<S: Subject>(subject: &S, case: &Case, world: &mut World<Probe<S::Node>>) {
    const STREAM: Stream = Stream::Workload;
    for _ in 0..case.workload.writes {
        let after = world.choices_mut().below(STREAM, Choice::WriteTime, case.workload.over.as_micros());
        let nodes = world.len() as u64;
        let node = NodeId(world.choices_mut().below(STREAM, Choice::WriteNode, nodes) as u32);
        let op = subject.op(node, &mut world.choices_mut().source(STREAM));
        world.schedule_planned(SimTime::ZERO + SimDuration::from_micros(after), SimEvent::Op { node, op });
    }
}

/// A case that does the same as a run that has ended, with every cause a line of its own.
pub(super) fn pinned<S: Subject>(run: &Run<'_, S>) -> Result<Vec<Case>, CaseError> {
    let name = |node: NodeId| run.name(node);
    let mut scripted = run.case.clone();
    for (cue, happened) in run.world.event_log() {
        let mut unwritable = None;
        let ask = |node, op: &S::Op| {
            let ask = toml::Value::try_from(op).unwrap_or_else(|error| {
                unwritable = Some(CaseError::Unwritable(error.to_string()));
                toml::Value::Boolean(false)
            });
            What::Op(Asked { node, ask })
        };
        let what = What::of(happened, name, ask);
        if let Some(error) = unwritable {
            return Err(error);
        }
        scripted.script.extend(what.map(|what| crate::case::Happening {
            at: cue.at,
            after: cue.after,
            what,
        }));
    }
    let scripted = scripted.scripted();
    Ok(vec![scripted.clone().frames_in(run.world.router(), name), scripted, run.case.clone()])
}
