//! Large cases: what makes them large is cut away in large parts before anything else.
//!
//! A run of a large case takes seconds, so that the passes over single causes would use up any budget. Each kind
//! of bulk has an estimate of its weight, and the heaviest kind is cut first: every later run is cheaper.

use crate::case::{Case, ScriptAction};
use crate::shrink::contents::{Content, contents};
use crate::shrink::minimizer::{Minimizer, Pass};
use std::ops::Range;
use syncline_replica::Operation;

/// A case that weighs more is large. The passes over causes are quick with a smaller one.
pub(super) const LARGE: u64 = 64 << 10;

/// What an entity, an operation or a line weighs beside its content: about its length in a file.
const LINE: u64 = 64;
/// A content of so many bytes is not worth a run of its own while the case is large.
const SHORT: usize = 64;
/// A list is cut into so many parts at most; the passes over single causes do the rest.
const PARTS: usize = 64;

/// A kind of bulk.
#[derive(Clone, Copy)]
pub(super) struct Bulk {
    /// The pass that cuts it.
    pub(super) pass: Pass,
    /// Its weight in a case, in bytes.
    pub(super) weight: fn(&Case) -> u64,
}

const KINDS: [Bulk; 7] = [
    Bulk { pass: Pass { name: "long values and texts", work: cut_contents }, weight: content_bytes },
    Bulk {
        pass: Pass { name: "long names and keys", work: cut_names },
        weight: |case| case.long_name_bytes() as u64,
    },
    Bulk {
        pass: Pass { name: "many events and operations", work: cut_script },
        weight: |case| script_parts(case) as u64 * LINE,
    },
    Bulk {
        pass: Pass { name: "many writes before the run", work: cut_early_writes },
        weight: |case| early_parts(case) as u64 * LINE,
    },
    Bulk {
        pass: Pass { name: "many initial entities", work: |minimizer| minimizer.entities() },
        weight: |case| entity_count(case) * LINE,
    },
    Bulk {
        pass: Pass { name: "many random writes", work: |minimizer| minimizer.random_writes() },
        weight: |case| case.workload.writes as u64 * LINE,
    },
    Bulk {
        pass: Pass { name: "many frame faults", work: cut_frames },
        weight: |case| case.frames.len() as u64 * LINE,
    },
];

/// The weight of a case.
pub(super) fn total(case: &Case) -> u64 {
    KINDS.iter().map(|kind| (kind.weight)(case)).sum()
}

/// The kinds of bulk, the heaviest first.
pub(super) fn by_weight(case: &Case) -> Vec<Bulk> {
    let mut kinds = KINDS.to_vec();
    kinds.sort_by_cached_key(|kind| std::cmp::Reverse((kind.weight)(case)));
    kinds
}

/// The bytes of all contents.
fn content_bytes(case: &Case) -> u64 {
    contents(&mut case.clone()).iter().map(|content| content.len() as u64).sum()
}

/// The number of initial entities.
fn entity_count(case: &Case) -> u64 {
    let contexts = 0..case.contexts;
    let of_nodes = case.nodes.iter().flat_map(|node| contexts.clone().flat_map(|at| node.entities_in(at)));
    let listed: u64 = case.shared.iter().chain(of_nodes).map(|some| some.count()).sum();
    let spec = case.scenario.as_ref();
    listed + spec.map_or(0, |spec| (spec.nodes * spec.entities * case.contexts) as u64)
}

/// Shortens contents: all to one length first, then large groups of the long ones to one byte.
fn cut_contents(minimizer: &mut Minimizer<'_, '_>) {
    let longest = contents(&mut minimizer.best().clone()).iter().map(Content::len).max().unwrap_or(0);
    // The length doubles, since each of these runs may be long.
    let doublings = u64::from((longest as u64).next_power_of_two().ilog2());
    minimizer.least(0, doublings, |case, doublings| {
        contents(case).iter_mut().for_each(|content| content.truncate(1 << doublings));
    });
    let long = |case: &mut Case| contents(case).iter().filter(|content| content.len() > SHORT).count();
    minimizer.chunks(1, long, |case, cut| {
        let mut found = contents(case);
        let long = found.iter_mut().filter(|content| content.len() > SHORT);
        long.skip(cut.start).take(cut.len()).for_each(|content| content.truncate(1));
    });
}

/// Shortens names and keys in large groups.
fn cut_names(minimizer: &mut Minimizer<'_, '_>) {
    let smallest = minimizer.best().long_named_entities().len() / PARTS;
    minimizer.shorten_names(smallest);
}

/// The number of lines and operations of the script that can be removed.
fn script_parts(case: &Case) -> usize {
    let parts = case.script.iter().map(|line| match &line.what {
        ScriptAction::Write(write) => write.ops.len(),
        _ => usize::from(!line.is_recovery()),
    });
    parts.sum()
}

/// Removes large ranges of the script. Each operation of a write is a part of its own, so that many small writes
/// and a few large ones are cut alike.
fn cut_script(minimizer: &mut Minimizer<'_, '_>) {
    let smallest = script_parts(minimizer.best()) / PARTS;
    minimizer.chunks(
        smallest,
        |case| script_parts(case),
        |case, cut| {
            let mut at = 0;
            case.script.retain_mut(|line| {
                if let ScriptAction::Write(write) = &mut line.what {
                    drop_range(&mut write.ops, &mut at, &cut);
                    return !write.ops.is_empty();
                }
                at += usize::from(!line.is_recovery());
                line.is_recovery() || !cut.contains(&(at - 1))
            });
        },
    );
}

/// Removes the operations whose ordinals are in the range. `at` is the ordinal of the first one.
fn drop_range(operations: &mut Vec<Operation>, at: &mut usize, cut: &Range<usize>) {
    operations.retain(|_| {
        *at += 1;
        !cut.contains(&(*at - 1))
    });
}

/// Removes large ranges of the faults of single frames.
fn cut_frames(minimizer: &mut Minimizer<'_, '_>) {
    let smallest = minimizer.best().frames.len() / PARTS;
    minimizer.chunks(smallest, |case| case.frames.len(), |case, cut| drop(case.frames.drain(cut)));
}

/// The number of operations before the run.
fn early_parts(case: &Case) -> usize {
    let contexts = 0..case.contexts;
    let writes = case.nodes.iter().flat_map(|node| contexts.clone().flat_map(|at| node.writes_in(at)));
    writes.map(Vec::len).sum()
}

/// Removes large ranges of the operations before the run.
fn cut_early_writes(minimizer: &mut Minimizer<'_, '_>) {
    let smallest = early_parts(minimizer.best()) / PARTS;
    minimizer.chunks(
        smallest,
        |case| early_parts(case),
        |case, cut| {
            let mut at = 0;
            for node in &mut case.nodes {
                for context in 0..case.contexts {
                    let writes = node.writes_in_mut(context);
                    writes.retain_mut(|write| {
                        drop_range(write, &mut at, &cut);
                        !write.is_empty()
                    });
                }
            }
        },
    );
}
