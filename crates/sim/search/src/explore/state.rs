//! The world as a row of numbers.

use crate::explore::fingerprint::Fingerprint;
use crate::explore::scope::Scope;
use syncline_types::SimTime;

/// The state of one node, by its number in the collapse.
pub(super) type LocalId = u32;
/// A frame, by its number in the collapse.
pub(super) type FrameId = u32;
/// A step, by its number in the collapse.
pub(super) type StepId = u32;
/// What the checks remember, by its number.
pub(super) type WatchId = u32;

/// What may still go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Budget {
    pub(super) drops: u8,
    pub(super) duplicates: u8,
    pub(super) crashes: u8,
    pub(super) partitions: u8,
    pub(super) early: u8,
}

impl Budget {
    pub(crate) const fn of(scope: &Scope) -> Self {
        let &Scope { drops, duplicates, crashes, partitions, early, .. } = scope;
        Self { drops, duplicates, crashes, partitions, early }
    }
}

/// A state of the world.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(super) now: SimTime,
    pub(super) nodes: Vec<LocalId>,
    /// By link; within a link by number, or in the order of sending where that counts.
    pub(super) flight: Vec<FrameId>,
    pub(super) watch: WatchId,
    pub(super) left: Budget,
    /// Housekeeping timers that ran out, by node.
    pub(super) ticks: Vec<u8>,
    /// Writes done, by node.
    pub(super) written: Vec<u8>,
    /// Pairs of nodes that cannot reach each other, the lower first, ascending.
    pub(super) cuts: Vec<(u8, u8)>,
}

impl State {
    pub(super) fn digest(&self, scratch: &mut Fingerprint) -> u128 {
        let Self { now, nodes, flight, watch, left, ticks, written, cuts } = self;
        scratch.number(now.as_micros());
        for id in nodes.iter().chain(flight) {
            scratch.number(u64::from(*id));
        }
        // The numbers of nodes and of frames are told apart by how many there are.
        scratch.number(flight.len() as u64);
        scratch.number(u64::from(*watch));
        let Budget { drops, duplicates, crashes, partitions, early } = *left;
        scratch.bytes(&[drops, duplicates, crashes, partitions, early]);
        scratch.bytes(ticks);
        scratch.bytes(written);
        cuts.iter().for_each(|(a, b)| scratch.bytes(&[*a, *b]));
        scratch.finish()
    }

    pub(super) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains(&pair(a, b))
    }

    /// Takes one copy of a frame off its way.
    pub(super) fn take_off(&mut self, frame: FrameId) {
        if let Some(at) = self.flight.iter().position(|own| *own == frame) {
            self.flight.remove(at);
        }
    }
}

/// Two nodes, the lower first.
pub(super) fn pair(a: usize, b: usize) -> (u8, u8) {
    (a.min(b) as u8, a.max(b) as u8)
}
