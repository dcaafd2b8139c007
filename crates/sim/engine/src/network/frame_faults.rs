//! Single frames: what chance did to them, and what is to be done to them.
//!
//! A frame is named by its link and its ordinal there, from 1. What happens to the frames of one link
//! therefore changes no name on another.

use crate::node_id::NodeId;
use std::collections::BTreeMap;
use syncline_types::SimDuration;

/// Names one frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FrameName {
    /// By whom it is sent.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// Which of the frames sent along this link, from 1.
    pub ordinal: u64,
}

/// One thing that a link does to one frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameFault {
    /// It is lost.
    Lost,
    /// It takes this long.
    Takes(SimDuration),
    /// It arrives twice, and the second copy takes this long.
    Again(SimDuration),
    /// This bit of it is flipped. One beyond its end counts from its beginning again.
    Flipped(u64),
    /// This bit of the second copy is flipped.
    AgainFlipped(u64),
    /// If it is lost on a connection, it is lost so often before it gets through.
    Losses(u64),
}

/// How one frame passes its link, before partitions and rules have their say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Passage {
    pub(crate) lost: bool,
    pub(crate) takes: SimDuration,
    pub(crate) again: Option<SimDuration>,
    pub(crate) flipped: Option<u64>,
    pub(crate) again_flipped: Option<u64>,
    /// How often it is lost, if it is lost on a connection; chance decides if that is not said.
    pub(crate) losses: Option<u64>,
    /// Whether it comes all the same if it is lost, later.
    pub(crate) is_resent: bool,
}

/// What is to be done to single frames, and, if wished, what was done to all of them.
#[derive(Clone, Debug, Default)]
pub struct FrameBook {
    sent: BTreeMap<(NodeId, NodeId), u64>,
    told: BTreeMap<FrameName, Vec<FrameFault>>,
    /// What was done, and how long a frame takes to which nothing is done.
    kept: Option<(SimDuration, Vec<(FrameName, FrameFault)>)>,
}

impl FrameBook {
    /// Does this to these frames; what chance would do to them besides stands.
    pub fn new(told: impl IntoIterator<Item = (FrameName, FrameFault)>) -> Self {
        let mut book = Self::default();
        for (name, fault) in told {
            book.told.entry(name).or_default().push(fault);
        }
        book
    }

    /// Keeps whatever is done to any frame, if only that it does not take the `usual` time.
    pub fn keeping(mut self, usual: SimDuration) -> Self {
        self.kept = Some((usual, Vec::new()));
        self
    }

    /// What was done, in the order of sending.
    pub fn kept(&self) -> &[(FrameName, FrameFault)] {
        self.kept.as_ref().map_or(&[], |(_, kept)| kept)
    }

    /// A frame that goes over a connection was lost so often; it is the last whose turn it was.
    pub(crate) fn lost(&mut self, from: NodeId, to: NodeId, times: u64) {
        let ordinal = self.sent.get(&(from, to)).copied().unwrap_or_default();
        if let Some((_, kept)) = self.kept.as_mut().filter(|_| times > 1) {
            kept.push((FrameName { from, to, ordinal }, FrameFault::Losses(times)));
        }
    }

    /// The next frame on its link, which has `bits` bits.
    pub(crate) fn turn(&mut self, from: NodeId, to: NodeId, bits: u64, passage: &mut Passage) {
        let ordinal = self.sent.entry((from, to)).or_default();
        *ordinal += 1;
        let name = FrameName { from, to, ordinal: *ordinal };
        for fault in self.told.get(&name).into_iter().flatten() {
            match *fault {
                FrameFault::Lost => passage.lost = true,
                FrameFault::Takes(time) => passage.takes = time,
                FrameFault::Again(time) => passage.again = Some(time),
                FrameFault::Flipped(bit) => passage.flipped = bit.checked_rem(bits),
                FrameFault::AgainFlipped(bit) => passage.again_flipped = bit.checked_rem(bits),
                FrameFault::Losses(times) => passage.losses = Some(times),
            }
        }
        let Some((usual, kept)) = &mut self.kept else { return };
        if passage.lost {
            kept.push((name, FrameFault::Lost));
            if !passage.is_resent {
                return;
            }
        }
        let takes = (passage.takes != *usual).then_some(FrameFault::Takes(passage.takes));
        let again = passage.again.map(FrameFault::Again);
        let flipped = passage.flipped.map(FrameFault::Flipped);
        let again_flipped = passage.again.and(passage.again_flipped).map(FrameFault::AgainFlipped);
        let done = [takes, again, flipped, again_flipped];
        kept.extend(done.into_iter().flatten().map(|fault| (name, fault)));
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

    fn turned(book: &mut FrameBook, from: NodeId, to: NodeId) -> Passage {
        let mut passage = USUAL;
        book.turn(from, to, 16, &mut passage);
        passage
    }

    #[test]
    fn a_frame_is_found_by_its_link_and_its_ordinal() {
        let name = FrameName { from: A, to: B, ordinal: 2 };
        let mut book = FrameBook::new([(name, FrameFault::Takes(MS(70))), (name, FrameFault::Flipped(17))]);
        assert_eq!((turned(&mut book, A, B), turned(&mut book, B, A)), (USUAL, USUAL));
        let second = turned(&mut book, A, B);
        assert_eq!((second.takes, second.flipped), (MS(70), Some(1)));
        assert_eq!((turned(&mut book, B, A), turned(&mut book, A, B)), (USUAL, USUAL));
    }

    #[test]
    fn what_was_kept_does_the_same_again() {
        let name = |ordinal| FrameName { from: A, to: B, ordinal };
        let done = [
            (name(1), FrameFault::Lost),
            (name(3), FrameFault::Takes(MS(70))),
            (name(3), FrameFault::Again(MS(90))),
            (name(3), FrameFault::AgainFlipped(3)),
        ];
        let mut book = FrameBook::new(done).keeping(MS_10);
        let first: Vec<Passage> = (0..4).map(|_| turned(&mut book, A, B)).collect();
        assert_eq!(book.kept(), done);
        let mut again = FrameBook::new(book.kept().to_vec());
        assert_eq!((0..4).map(|_| turned(&mut again, A, B)).collect::<Vec<_>>(), first);
    }
}
