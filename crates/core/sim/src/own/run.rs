//! One run of replicas of one's own.

use super::probe::Probe;
use super::{Acknowledged, Subject, Wrong};
use crate::case::{Case, Ended};
use crate::engine::{Stepped, World};
use crate::film::Film;
use crate::runtime::{Check, Debt, Owed, Property, StopCondition};
use crate::types::NodeId;
use crate::watch::Moves;
use syncline_types::{SimDuration, SimTime};

/// For how long all may be up and linked, with nothing to do and different states, before they are
/// taken to be done with each other.
const PATIENCE: SimDuration = SimDuration::from_secs(10);

/// A run: nodes, network, clock, and the checks over all of them.
pub struct Run<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) case: Case,
    pub(super) world: World<Probe<S::Node>>,
    pub(super) names: Vec<String>,
    pub(super) calm_at: SimTime,
    pub(super) acknowledged: Vec<Acknowledged<S::Op>>,
    pub(super) moved: (Moves, SimTime),
    pub(super) wrong: Option<Wrong>,
}

impl<S: Subject> Run<'_, S> {
    /// Runs until everything has converged, time or events run out, or something is wrong.
    pub fn run(&mut self) -> Ended {
        let caught = Ended::caught(|| self.go());
        Ended {
            at: self.world.clock.now(),
            events: self.world.events(),
            trace: self.world.trace(),
            ..caught
        }
    }

    fn go(&mut self) -> StopCondition {
        for stepped in self.world.start_added() {
            self.observe(stepped);
        }
        let stop = loop {
            if let Some(wrong) = self.wrong.take() {
                break violated(wrong);
            }
            if self.world.tally().is_converged() {
                break self.judged();
            }
            if self.is_stuck() {
                break StopCondition::Diverged(self.owed());
            }
            if self.world.events() >= self.case.max_events {
                break StopCondition::MaxEvents(self.owed());
            }
            match self.world.next_time() {
                None if self.world.tally().is_quiet() => break StopCondition::Diverged(self.owed()),
                None => break StopCondition::Deadlock(self.owed()),
                Some(at) if at >= self.case.max_time => break StopCondition::MaxTime(self.owed()),
                Some(at) => self.advance(at),
            }
        };
        let fates = self.world.router.fates();
        if fates.is_balanced() || matches!(stop, StopCondition::Violated(_)) {
            return stop;
        }
        let out = fates.delivered + fates.dropped_total() + fates.in_flight;
        StopCondition::Violated(Check::FatesUnbalanced { in_: fates.sent + fates.duplicated, out })
    }

    fn advance(&mut self, next: SimTime) {
        if next >= self.calm_at {
            self.world.clock.advance_to(self.calm_at);
            self.calm_at = SimTime::MAX;
            self.world.heal();
        }
        if let Some(stepped) = self.world.step() {
            self.observe(stepped);
        }
    }

    fn observe(&mut self, stepped: Stepped<S::Op>) {
        let now = self.world.clock.now();
        let moves = self.world.moves();
        if moves != self.moved.0 {
            self.moved = (moves, now.max(self.world.last_arrival()));
        }
        let Some(node) = stepped.node else { return };
        for op in stepped.notices {
            self.acknowledged.push(Acknowledged { at: now, node, op });
        }
        if let Some(actor) = self.world.actor(node)
            && let Err(wrong) = self.subject.invariant(&actor.node)
        {
            let wrong = Wrong { detail: format!("{}: {}", self.name(node), wrong.detail), ..wrong };
            self.wrong.get_or_insert(wrong);
        }
    }

    /// Whether nothing but the nodes keeps them from agreeing, and for long enough none of them changed.
    fn is_stuck(&self) -> bool {
        let now = self.world.clock.now();
        self.world.tally().is_quiet()
            && !self.world.router.partitions.any_up(now)
            && now.since(self.moved.1) >= PATIENCE
    }

    fn judged(&self) -> StopCondition {
        let nodes: Vec<&S::Node> = self.world.actors().map(|(_, actor)| &actor.node).collect();
        self.subject.judge(&self.acknowledged, &nodes).map_or_else(violated, |()| StopCondition::Converged)
    }

    /// What is unfinished, and by whom. O(nodes).
    pub fn owed(&self) -> Owed {
        let tally = self.world.tally();
        let mut debts = Vec::new();
        if tally.frames > 0 {
            let what = format!("{} frames on their way", tally.frames);
            debts.push(Debt { node: None, who: "the network".into(), what });
        }
        for (node, _) in self.world.actors() {
            let (unfinished, timers) = self.world.unfinished(node);
            let said = [
                (!self.world.is_up(node), "is down".to_owned()),
                (self.world.is_away(node), "is away".to_owned()),
                (unfinished.sessions > 0, format!("{} exchanges under way", unfinished.sessions)),
                (unfinished.waiting > 0, format!("{} things waiting", unfinished.waiting)),
                (timers > 0, format!("{timers} timers set")),
                (tally.distinct_digests() > 1, format!("digest {}", self.world.digest(node))),
            ];
            for (_, what) in said.into_iter().filter(|(holds, _)| *holds) {
                debts.push(Debt { node: Some(node), who: self.name(node), what });
            }
        }
        Owed { blocking: Property::blocking(tally), debts }
    }

    /// What was acknowledged so far, in order.
    pub fn acknowledged(&self) -> &[Acknowledged<S::Op>] {
        &self.acknowledged
    }

    /// The nodes, in the order of joining.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &S::Node)> {
        self.world.actors().map(|(node, actor)| (node, &actor.node))
    }

    /// A node's name.
    pub fn name(&self, node: NodeId) -> String {
        self.names.get(node.index()).cloned().unwrap_or_else(|| node.to_string())
    }

    /// What happened, event by event, if it was kept: the last `most` entries.
    pub fn story(&self, most: usize) -> String {
        let Some(history) = self.world.history() else { return String::new() };
        let skipped = history.entries.len().saturating_sub(most);
        let lines = history.entries.iter().skip(skipped).map(|entry| history.words(entry));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The run as a picture, if its history was kept.
    pub fn film(&self, ended: &Ended) -> Option<Film> {
        let mut film = Film::of(self.world.history()?, ended.at.as_micros());
        film.good = ended.class.is_converged();
        film.verdict = if film.good { "CONVERGED".into() } else { "NOT CONVERGED".into() };
        film.title = format!("seed {}: {} replicas", self.case.seed, self.names.len());
        let sent = self.world.router.fates().sent;
        let mut facts = vec![
            ended.reason.clone(),
            format!("{} of virtual time", ended.at),
            format!("{} events", ended.events),
            format!("{sent} frames"),
            format!("trace {}", ended.trace),
        ];
        facts.append(&mut film.facts);
        film.facts = facts;
        Some(film)
    }
}

fn violated(Wrong { name, detail }: Wrong) -> StopCondition {
    StopCondition::Violated(Check::Own { name, detail })
}
