//! The check of the parents that a write names.
//!
//! A delta names as parents the heads of what its author had seen, as long as these are no more than a log remembers.
//! Whoever applies it after them has everything that the author had. A parent that is missing there breaks causality
//! silently: the delta is applied early somewhere, in the order in which frames happen to arrive.

use super::stamps::stored;
use super::{Noticed, Reported, Watched};
use crate::node::SimReplica;
use crate::verdict::Check;
use std::collections::BTreeMap;
use syncline_replica::Notice;
use syncline_sync::{Delta, Dot, VersionVector};
use syncline_types::{ReplicaId, limits};

/// What the writes of one author had seen, by their numbers.
type Author = BTreeMap<u64, VersionVector>;

/// What the author of each delta of the run had seen when it wrote. By context.
#[derive(Clone, Debug, Default)]
pub struct Pasts {
    authors: BTreeMap<(usize, ReplicaId), Author>,
    /// What all members had seen when tombstones were collected. A replica may learn that its state has the effect of
    /// these deltas without learning which of them are heads.
    stable: BTreeMap<usize, VersionVector>,
}

impl Pasts {
    /// The bytes of all entries, for the hash of a state that contains them.
    pub fn each_bytes(&self, mut take: impl FnMut(&[u8])) {
        use syncline_types::Encode;
        for ((context, author), writes) in &self.authors {
            take(&(*context as u64).to_le_bytes());
            take(author.as_bytes());
            for (seq, seen) in writes {
                take(&seq.to_le_bytes());
                take(&seen.to_bytes());
            }
        }
        for (context, stable) in &self.stable {
            take(&(*context as u64).to_le_bytes());
            take(&stable.to_bytes());
        }
    }

    /// The last delta of each author of the run.
    fn all_in(&self, context: usize) -> VersionVector {
        let mut all = VersionVector::default();
        for ((of, author), writes) in &self.authors {
            if let Some((seq, _)) = writes.last_key_value().filter(|_| *of == context) {
                all.cover(Dot { author: *author, seq: *seq });
            }
        }
        all
    }

    fn of(&self, context: usize, dot: Dot) -> Option<&VersionVector> {
        self.authors.get(&(context, dot.author))?.get(&dot.seq)
    }

    /// The last deltas of the authors of the run that `covered` covers: of each author one.
    fn last_of<'a>(
        &'a self,
        context: usize,
        covered: &'a VersionVector,
    ) -> impl Iterator<Item = Dot> + use<'a> {
        let first = (context, ReplicaId([0; 16]));
        let last = (context, ReplicaId([0xff; 16]));
        self.authors.range(first..=last).filter_map(|((_, author), writes)| {
            let (seq, _) = writes.range(..=covered.of(*author)).next_back()?;
            Some(Dot { author: *author, seq: *seq })
        })
    }

    /// Takes in a notice, after the checks have seen it.
    pub(super) fn on_notice(&mut self, reported: &Reported<'_>, world: &dyn Watched) {
        match reported.notice {
            Notice::WriteAccepted { .. } => {
                // A node that went down in the step shows nothing of the write.
                let Some((dot, covered)) = written(reported, world) else { return };
                if is_corrupt(reported, world) {
                    // The log on the disk is not what the node had read, and not even the number of the delta is known: it may
                    // follow everything.
                    let all = self.all_in(reported.context);
                    self.stable.entry(reported.context).or_default().join(&all);
                    return;
                }
                let mut seen = VersionVector::default();
                self.last_of(reported.context, &covered).for_each(|dot| seen.cover(dot));
                self.authors.entry((reported.context, dot.author)).or_default().insert(dot.seq, seen);
            }
            Notice::TombstonesCollected { .. } => {
                // Nor of what it had collected.
                let Some(replica) = world.replica(reported.context, reported.node) else { return };
                self.stable.entry(reported.context).or_default().join(replica.log().stable());
            }
            _ => {}
        }
    }
}

/// The delta of a write that was accepted, and all that its author covers, as the disk says: the node may have crashed
/// right after it had committed the write and sent it.
fn written(reported: &Reported<'_>, world: &dyn Watched) -> Option<(Dot, VersionVector)> {
    if reported.step.undone {
        return None;
    }
    let (author, _) = world.actor(reported.node)?.identity();
    let covered = world.replica(reported.context, reported.node)?.log().covered().clone();
    Some((Dot { author, seq: covered.of(author) }, covered))
}

/// Whether a row on the disk of the node that reports is corrupt.
fn is_corrupt(reported: &Reported<'_>, world: &dyn Watched) -> bool {
    world.replica(reported.context, reported.node).is_some_and(SimReplica::is_corrupt)
}

/// **I8**. O(authors · log writes).
pub(super) fn parents_named(noticed: &Noticed<'_>, world: &dyn Watched) -> Option<Check> {
    let Notice::WriteAccepted { .. } = noticed.notice else { return None };
    // A hostile node may claim any head. A replica that has lost its history gives two deltas one number.
    if !world.roles().is_empty() || world.has_losses(noticed.context) || world.hazards().may_differ_unseen() {
        return None;
    }
    if is_corrupt(&noticed.reported(), world) {
        return None;
    }
    let (dot, covered) = written(&noticed.reported(), world)?;
    let delta = stored(world.replica(noticed.context, noticed.node)?, dot)?;
    let pasts = &noticed.memory.pasts;
    // With so many authors, those before the run included, a log may have had more heads than it remembers, and no
    // delta names the others.
    if covered.len() > limits::MAX_PARENTS {
        return None;
    }
    let missing = missing_parent(pasts, noticed.context, &delta, &covered)?;
    let node = world.name_in(noticed.context, noticed.node);
    let detail = format!("{dot} does not follow {missing}, which its author had applied");
    Some(Check::CausalGap { node, detail })
}

/// A delta that the author of `delta` covers, and that no chain of parents leads to.
fn missing_parent(pasts: &Pasts, context: usize, delta: &Delta, covered: &VersionVector) -> Option<Dot> {
    let mut reached = pasts.stable.get(&context).cloned().unwrap_or_default();
    let previous = Dot { seq: delta.dot.seq - 1, ..delta.dot };
    let parents = delta.parents.iter().map(|parent| parent.dot);
    for parent in parents.chain([previous]).filter(|parent| parent.seq > 0) {
        reached.cover(parent);
        if let Some(seen) = pasts.of(context, parent) {
            reached.join(seen);
        }
    }
    let mut last = pasts.last_of(context, covered);
    last.find(|dot| dot.author != delta.dot.author && !reached.covers(*dot))
}
