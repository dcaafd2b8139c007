//! The state of the world, as a row of interned numbers.

use crate::scope::Scope;
use crate::state_hash::StateHasher;
use syncline_types::SimTime;

/// The state of one node, by its number in the collapse table.
pub(super) type LocalId = u32;
/// A frame, by its number in the collapse table.
pub(super) type FrameId = u32;
/// A step, by its number in the collapse table.
pub(super) type StepId = u32;
/// What the invariants remember, by its number.
pub(super) type InvariantsId = u32;

/// The faults that may still occur.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct FaultBudget {
    pub(super) drops: u8,
    pub(super) duplicates: u8,
    pub(super) crashes: u8,
    pub(super) partitions: u8,
    pub(super) disks: u8,
    pub(super) early: u8,
}

impl FaultBudget {
    pub(super) const fn of(scope: &Scope) -> Self {
        let &Scope { drops, duplicates, crashes, partitions, disks, early, .. } = scope;
        Self { drops, duplicates, crashes, partitions, disks, early }
    }
}

/// Takes one fault from a budget.
pub(super) fn spend(left: &mut u8) {
    assert!(*left > 0, "a move with a fault is offered only while its budget lasts");
    *left -= 1;
}

/// A state of the world.
#[derive(Clone, Debug)]
pub(crate) struct WorldState {
    pub(super) now: SimTime,
    pub(super) nodes: Vec<LocalId>,
    /// Sorted by link. Within a link the order is that of sending if the scope demands in-order delivery, and
    /// that of the numbers otherwise, so that equal multisets are equal rows.
    pub(super) in_flight: Vec<FrameId>,
    pub(super) invariants: InvariantsId,
    pub(super) budget: FaultBudget,
    /// The housekeeping timers that have fired, by node.
    pub(super) ticks: Vec<u8>,
    /// The writes that have been made, by node.
    pub(super) writes_done: Vec<u8>,
    /// The pairs of nodes whose link is cut, the lower node first, ascending.
    pub(super) cuts: Vec<(u8, u8)>,
    /// The state of each node whose disk was backed up, by node, while a disk may still be replaced.
    pub(super) backups: Vec<Option<LocalId>>,
}

impl WorldState {
    /// The hash that identifies the state. O(nodes + frames in flight).
    pub(super) fn digest(&self, scratch: &mut StateHasher) -> u128 {
        let Self { now, nodes, in_flight, invariants, budget, ticks, writes_done, cuts, backups } = self;
        scratch.number(now.as_micros());
        for id in nodes.iter().chain(in_flight) {
            scratch.number(u64::from(*id));
        }
        // The number of nodes is the same in all states of a search, so this length separates the numbers of
        // nodes from those of frames.
        scratch.number(in_flight.len() as u64);
        scratch.number(u64::from(*invariants));
        let FaultBudget { drops, duplicates, crashes, partitions, disks, early } = *budget;
        scratch.bytes(&[drops, duplicates, crashes, partitions, disks, early]);
        scratch.bytes(ticks);
        scratch.bytes(writes_done);
        cuts.iter().for_each(|(a, b)| scratch.bytes(&[*a, *b]));
        // Numbers of states stay below `u32::MAX`, which stands for none.
        backups.iter().for_each(|backup| scratch.number(backup.map_or(u64::from(u32::MAX), u64::from)));
        scratch.finish()
    }

    pub(super) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains(&pair(a, b))
    }

    /// Removes one copy of a frame that is in flight.
    pub(super) fn remove_in_flight(&mut self, frame: FrameId) {
        let at = self.in_flight.iter().position(|own| *own == frame);
        self.in_flight.remove(at.expect("a frame that arrives or is lost was in flight"));
    }
}

/// Two nodes, the lower first.
pub(super) fn pair(a: usize, b: usize) -> (u8, u8) {
    (a.min(b) as u8, a.max(b) as u8)
}
