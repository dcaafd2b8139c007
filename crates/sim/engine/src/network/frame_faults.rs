//! Faults of single frames: scripted ones, and a record of those that happened at random.
//!
//! A frame is named by its link and by its ordinal on that link, from 1. A fault on one link therefore
//! changes no name on another.

use crate::node_id::NodeId;
use std::collections::BTreeMap;
use syncline_types::SimDuration;

/// Identifies one frame of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FrameName {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The number of frames sent on this link so far, this one included.
    pub ordinal: u64,
}

/// One fault of one frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameFault {
    /// The frame is lost.
    Lost,
    /// The frame is in flight for this long.
    Takes(SimDuration),
    /// The frame is duplicated, and the second copy is in flight for this long.
    Again(SimDuration),
    /// The bit at this index is flipped, modulo the length of the frame.
    Flipped(u64),
    /// The bit at this index of the second copy is flipped.
    AgainFlipped(u64),
    /// If the frame is lost on a connection, it is lost so often before it gets through.
    Losses(u64),
}

/// How one frame passes its link, apart from partitions and rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Passage {
    pub(crate) lost: bool,
    pub(crate) takes: SimDuration,
    pub(crate) again: Option<SimDuration>,
    pub(crate) flipped: Option<u64>,
    pub(crate) again_flipped: Option<u64>,
    /// How often the frame is lost on a connection, if it is lost at all. `None` leaves that to the seed.
    pub(crate) losses: Option<u64>,
    /// Whether a connection retransmits the frame if it is lost.
    pub(crate) is_resent: bool,
}

/// The scripted faults of single frames, and, if wanted, a record of the faults of all frames.
#[derive(Clone, Debug, Default)]
pub struct FrameFaultScript {
    /// How many frames were sent on each link.
    sent: BTreeMap<(NodeId, NodeId), u64>,
    scripted: BTreeMap<FrameName, Vec<FrameFault>>,
    /// The usual time in flight, which is not recorded, and the faults so far.
    recorded: Option<(SimDuration, Vec<(FrameName, FrameFault)>)>,
}

impl FrameFaultScript {
    /// A script of these faults. Random faults of the same frames stay.
    pub fn new(faults: impl IntoIterator<Item = (FrameName, FrameFault)>) -> Self {
        let mut script = Self::default();
        for (name, fault) in faults {
            script.scripted.entry(name).or_default().push(fault);
        }
        script
    }

    /// Records the faults of every frame from now on. A time in flight other than `usual` is a fault too.
    pub fn recording(mut self, usual: SimDuration) -> Self {
        self.recorded = Some((usual, Vec::new()));
        self
    }

    /// The faults that were recorded, in the order of sending.
    pub fn recorded(&self) -> &[(FrameName, FrameFault)] {
        self.recorded.as_ref().map_or(&[], |(_, recorded)| recorded)
    }

    /// Records how often the last frame of a link was lost on its connection.
    pub(crate) fn record_losses(&mut self, from: NodeId, to: NodeId, times: u64) {
        let ordinal = self.sent.get(&(from, to)).copied().unwrap_or_default();
        // One loss is the default of a frame that is lost.
        if let Some((_, recorded)) = self.recorded.as_mut().filter(|_| times > 1) {
            recorded.push((FrameName { from, to, ordinal }, FrameFault::Losses(times)));
        }
    }

    /// Counts the next frame of a link, applies its scripted faults, and records its faults. The frame has
    /// `bits` bits.
    pub(crate) fn apply(&mut self, from: NodeId, to: NodeId, bits: u64, passage: &mut Passage) {
        // Frames that a rule or a partition drops count too, so that removing such a fault renames no frame.
        let ordinal = self.sent.entry((from, to)).or_default();
        *ordinal += 1;
        let name = FrameName { from, to, ordinal: *ordinal };
        for fault in self.scripted.get(&name).into_iter().flatten() {
            // An empty frame has no bit to flip: the remainder by zero is `None`, and the fault lapses.
            match *fault {
                FrameFault::Lost => passage.lost = true,
                FrameFault::Takes(time) => passage.takes = time,
                FrameFault::Again(time) => passage.again = Some(time),
                FrameFault::Flipped(bit) => passage.flipped = bit.checked_rem(bits),
                FrameFault::AgainFlipped(bit) => passage.again_flipped = bit.checked_rem(bits),
                FrameFault::Losses(times) => passage.losses = Some(times),
            }
        }
        let Some((usual, recorded)) = &mut self.recorded else { return };
        if passage.lost {
            recorded.push((name, FrameFault::Lost));
            // A lost datagram has no other fault. A connection retransmits the frame, so its delay counts.
            if !passage.is_resent {
                return;
            }
        }
        let takes = (passage.takes != *usual).then_some(FrameFault::Takes(passage.takes));
        let again = passage.again.map(FrameFault::Again);
        let flipped = passage.flipped.map(FrameFault::Flipped);
        let again_flipped = passage.again.and(passage.again_flipped).map(FrameFault::AgainFlipped);
        let faults = [takes, again, flipped, again_flipped];
        recorded.extend(faults.into_iter().flatten().map(|fault| (name, fault)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const MS: fn(u64) -> SimDuration = SimDuration::from_millis;
    const USUAL: Passage = Passage {
        lost: false,
        takes: MS_10,
        again: None,
        flipped: None,
        again_flipped: None,
        losses: None,
        is_resent: false,
    };
    const MS_10: SimDuration = SimDuration::from_millis(10);

    fn applied(script: &mut FrameFaultScript, from: NodeId, to: NodeId) -> Passage {
        let mut passage = USUAL;
        script.apply(from, to, 16, &mut passage);
        passage
    }

    #[test]
    fn finds_a_frame_by_link_and_ordinal() {
        let name = FrameName { from: A, to: B, ordinal: 2 };
        let mut script =
            FrameFaultScript::new([(name, FrameFault::Takes(MS(70))), (name, FrameFault::Flipped(17))]);
        assert_eq!((applied(&mut script, A, B), applied(&mut script, B, A)), (USUAL, USUAL));
        let second = applied(&mut script, A, B);
        assert_eq!((second.takes, second.flipped), (MS(70), Some(1)));
        assert_eq!((applied(&mut script, B, A), applied(&mut script, A, B)), (USUAL, USUAL));
    }

    #[test]
    fn recorded_faults_replay() {
        let name = |ordinal| FrameName { from: A, to: B, ordinal };
        let done = [
            (name(1), FrameFault::Lost),
            (name(3), FrameFault::Takes(MS(70))),
            (name(3), FrameFault::Again(MS(90))),
            (name(3), FrameFault::AgainFlipped(3)),
        ];
        let mut script = FrameFaultScript::new(done).recording(MS_10);
        let first: Vec<Passage> = (0..4).map(|_| applied(&mut script, A, B)).collect();
        assert_eq!(script.recorded(), done);
        let mut again = FrameFaultScript::new(script.recorded().to_vec());
        assert_eq!((0..4).map(|_| applied(&mut again, A, B)).collect::<Vec<_>>(), first);
    }
}
