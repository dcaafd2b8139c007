//! The passes that remove causes: whole families of them first, then nodes, lines, lies, entities and operations.

use crate::case::{Case, Entities, ScriptAction, operations};
use crate::shrink::minimizer::Minimizer;
use std::ops::Range;
use sync_sim_cluster::hostile::Lies;
use sync_sim_cluster::workload::Workload;
use sync_sim_engine::faults::FaultConfig;
use syncline_replica::Operation;
use toml::Table;

/// Removes something from a case.
type Reduction = fn(&mut Case);

/// Whole families of causes, the widest first: most failures need few of them, so that these cuts save many
/// runs of the passes that go line by line.
const FAMILIES: [Reduction; 15] = [
    |case| case.frames.clear(),
    |case| case.frames.retain(|frame| frame.takes.is_none()),
    |case| case.frames.retain(|frame| frame.again.is_none() && frame.again_flipped.is_none()),
    |case| case.frames.retain(|frame| frame.flipped.is_none()),
    |case| case.frames.retain(|frame| !frame.lost),
    |case| case.script.clear(),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Partition(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Crash(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Leave(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Join(_))),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Host(_))),
    |case| case.script.retain(|line| !line.is_operation()),
    |case| case.script.retain(|line| !matches!(line.what, ScriptAction::Lie(_))),
    |case| {
        for node in &mut case.nodes {
            node.hostile = Lies::NONE;
            node.outsider = false;
        }
    },
    |case| case.rules.clear(),
];

impl Minimizer<'_, '_> {
    /// Removes contexts, the last first.
    pub(super) fn contexts(&mut self) {
        // A case needs at least one context and one node, even if they do not matter.
        for context in (0..self.best().contexts).rev() {
            if self.best().contexts > 1 {
                self.change(|case| case.without_context(context));
            }
        }
    }

    /// Removes whole families of causes, then fault settings one by one.
    pub(super) fn families(&mut self) {
        for cut in FAMILIES {
            self.change(cut);
        }
        let off = FaultConfig::none().with_latency(self.best().faults.base_latency_ms, 0);
        self.change(|case| case.faults = off.clone());
        // As a table, so that a new setting is shrunk without a line of code here.
        let now = Table::try_from(&self.best().faults).expect("fault settings can be written as TOML");
        let off = Table::try_from(&off).expect("fault settings can be written as TOML");
        for (key, off) in off {
            if now.get(&key) == Some(&off) {
                continue;
            }
            self.change(|case| {
                let mut faults =
                    Table::try_from(&case.faults).expect("fault settings can be written as TOML");
                faults.insert(key, off);
                // One setting may be invalid without another; the case then stays as it is.
                if let Ok(faults) = faults.try_into() {
                    case.faults = faults;
                }
            });
        }
    }

    /// Removes nodes, the last first: the numbers of those before it stay.
    pub(super) fn nodes(&mut self) {
        for at in (0..self.best().nodes.len()).rev() {
            if self.best().nodes.len() > 1 {
                self.change(|case| drop(case.nodes.remove(at)));
            }
        }
        if let Some(spec) = self.best().scenario.clone() {
            let set = |case: &mut Case, nodes: u64| {
                if let Some(spec) = &mut case.scenario {
                    spec.nodes = nodes as usize;
                }
            };
            self.least(1, spec.nodes as u64, set);
        }
    }

    /// Makes hostile nodes honest, or lets them tell fewer kinds of lies, in fewer frames, as members.
    pub(super) fn lies(&mut self) {
        for at in 0..self.best().nodes.len() {
            let of = |case: &Case| case.nodes.get(at).map_or(Lies::NONE, |node| node.hostile);
            let set = |case: &mut Case, lies: Lies| {
                if let Some(node) = case.nodes.get_mut(at) {
                    node.hostile = lies;
                    node.outsider &= !lies.is_none();
                }
            };
            self.change(|case| set(case, Lies::NONE));
            for lie in of(self.best()).iter() {
                let fewer = of(self.best()).without(lie);
                self.change(|case| set(case, fewer));
            }
            self.change(|case| case.nodes.iter_mut().skip(at).take(1).for_each(|node| node.outsider = false));
        }
        let nodes = self.best().faults.hostile.nodes as u64;
        self.least(0, nodes, |case, nodes| case.faults.hostile.nodes = nodes as usize);
        self.change(|case| case.faults.hostile.group_key = false);
        for lie in self.best().faults.hostile.kinds().iter().filter(|_| nodes > 0) {
            let fewer = self.best().faults.hostile.kinds().without(lie);
            if !fewer.is_none() {
                self.change(|case| case.faults.hostile.lies = fewer);
            }
        }
        for at in 0..self.best().script.len() {
            let replace = |case: &mut Case, frames| match case.script.get_mut(at).map(|line| &mut line.what) {
                Some(ScriptAction::Lie(lie)) => std::mem::replace(&mut lie.frames, frames),
                _ => 0,
            };
            let now = replace(&mut self.best().clone(), 0);
            self.least(1, now, |case, frames| {
                replace(case, frames);
            });
        }
    }

    /// Removes initial entities and writes before the run, in every context of every node.
    pub(super) fn entities(&mut self) {
        let contexts = self.best().contexts;
        let positions = (0..self.best().nodes.len()).flat_map(|node| (0..contexts).map(move |at| (node, at)));
        let shared = (self.best().nodes.len(), 0);
        for position in positions.clone().chain([shared]) {
            self.lines(|case| entities_of(case, position), |_| true);
            for at in 0..entities_in(self.best(), position).len() {
                let now = entities_in(self.best(), position).get(at).map_or(0, Entities::count);
                self.least(1, now, |case, count| {
                    if let Some(some) = entities_of(case, position).get_mut(at) {
                        *some = some.first(count);
                    }
                });
            }
        }
        for (node, context) in positions {
            self.early_writes(node, context);
            let len = |case: &mut Case| case.nodes.get(node).map_or(0, |node| node.writes_in(context).len());
            self.chunks(1, len, |case, cut| {
                if let Some(node) = case.nodes.get_mut(node) {
                    node.writes_in_mut(context).drain(cut);
                }
            });
        }
        let authors = self.best().former_authors as u64;
        self.least(0, authors, |case, authors| case.former_authors = authors as usize);
        if let Some(spec) = self.best().scenario.clone() {
            let set = |case: &mut Case, entities: u64| {
                if let Some(spec) = &mut case.scenario {
                    spec.entities = entities as usize;
                }
            };
            self.least(0, spec.entities as u64, set);
        }
    }

    /// Removes operations from the writes of a node into a context before the run.
    fn early_writes(&mut self, node: usize, context: usize) {
        let writes = self.best().nodes.get(node).map_or(0, |node| node.writes_in(context).len());
        for at in 0..writes {
            let of = |case: &Case| case.nodes.get(node)?.writes_in(context).get(at).map(Vec::len);
            self.chunks(
                1,
                |case| of(case).unwrap_or(0),
                |case, cut| {
                    let writes = case.nodes.get_mut(node).map(|node| node.writes_in_mut(context));
                    if let Some(write) = writes.and_then(|writes| writes.get_mut(at)) {
                        drain_most(write, cut);
                    }
                },
            );
        }
    }

    /// Lowers the number of random writes.
    pub(super) fn random_writes(&mut self) {
        let writes = self.best().workload.writes as u64;
        self.least(0, writes, |case, writes| case.workload.writes = writes as usize);
        let size = self.best().workload.size;
        self.least(size.min(1), size, |case, size| case.workload.size = size);
        let operations = self.best().workload.operations;
        if self.best().workload.grows.is_some() {
            self.least(1, operations, |case, operations| case.workload.operations = operations);
        }
        if self.best().workload.writes == 0 {
            self.change(|case| case.workload = Workload { writes: 0, ..Workload::default() });
        }
    }

    /// Removes operations from scripted writes, and simplifies those that stay.
    pub(super) fn writes(&mut self) {
        for at in 0..self.best().script.len() {
            let ops = |case: &Case| match case.script.get(at).map(|line| &line.what) {
                Some(ScriptAction::Write(write)) => write.ops.clone(),
                _ => Vec::new(),
            };
            let set = |case: &mut Case, new: Vec<_>| {
                if let Some(ScriptAction::Write(write)) = case.script.get_mut(at).map(|line| &mut line.what) {
                    write.ops = new;
                }
            };
            self.chunks(
                1,
                |case| ops(case).len(),
                |case, cut| {
                    let mut fewer = ops(case);
                    drain_most(&mut fewer, cut);
                    set(case, fewer);
                },
            );
            for op in 0..ops(self.best()).len() {
                let now = ops(self.best());
                for simpler in now.get(op).map(operations::simpler).unwrap_or_default() {
                    let mut changed = now.clone();
                    if let Some(place) = changed.get_mut(op) {
                        *place = simpler;
                    }
                    if self.change(|case| set(case, changed)) {
                        break;
                    }
                }
            }
        }
    }
}

/// Removes a range, unless nothing would be left: a write has at least one operation.
fn drain_most(operations: &mut Vec<Operation>, cut: Range<usize>) {
    if cut.len() < operations.len() {
        operations.drain(cut);
    }
}

/// The entities of a node in a context; the shared entities if the number is beyond the last node.
fn entities_in(case: &Case, (node, context): (usize, usize)) -> &[Entities] {
    case.nodes.get(node).map_or(&case.shared, |node| node.entities_in(context))
}

/// As [`entities_in`], to change them.
fn entities_of(case: &mut Case, (node, context): (usize, usize)) -> &mut Vec<Entities> {
    match case.nodes.get_mut(node) {
        Some(node) => node.entities_in_mut(context),
        None => &mut case.shared,
    }
}
