//! The search for the last write of a former id that others have: the *fork*, after which the id had two lives.
//!
//! Others have the deltas up to the fork, by number and id. Above it they have other deltas under the same numbers, or
//! none. So the numbers up to the fork are those at which the ids agree, and a search by halves finds the last one. Most
//! searches end with the first answer: others have all that the former id has written, or all up to some number.

use std::collections::BTreeSet;
use syncline_types::PeerId;

/// A search in progress. Invariant: `agrees < differs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ForkSearch {
    /// The last number at which the ids are known to agree, or the one before the first that the legacy has.
    agrees: u64,
    /// The first number at which the ids are known to differ, or that no peer covers.
    differs: u64,
    /// Whether an id has differed.
    has_differed: bool,
    /// The peers that do not have the delta that decides next: another one, or none that they store.
    without: BTreeSet<PeerId>,
    /// Whether one of them, or this replica, has another delta.
    is_another_known: bool,
    /// Whether the state lacks what the delta did.
    is_lacking: bool,
    /// Whether others have another delta under some number.
    has_found_another: bool,
    /// The first number under which others are known to have another delta, which they may not store any more.
    another_from: u64,
}

impl ForkSearch {
    /// The search among the numbers after `before` and up to `last`, of which peers cover those up to `covered`.
    pub(crate) fn new(before: u64, last: u64, covered: u64) -> Self {
        let differs = last.min(covered).max(before) + 1;
        Self {
            agrees: before,
            differs,
            has_differed: false,
            without: BTreeSet::new(),
            is_another_known: false,
            is_lacking: false,
            has_found_another: false,
            another_from: u64::MAX,
        }
    }

    /// A delta of others follows another one under the number `seq`. Some peer may still have the same one.
    pub(crate) fn on_another_before(&mut self, seq: u64) {
        self.another_from = self.another_from.min(seq);
    }

    /// The last number at which the ids agree, once it is known.
    pub(crate) fn fork(&self) -> Option<u64> {
        (self.agrees + 1 == self.differs).then_some(self.agrees)
    }

    /// Whether others have another delta under a number of the former id.
    pub(crate) const fn has_found_another(&self) -> bool {
        self.has_found_another
    }

    /// The number whose delta decides next: the last undecided one, while no answer has differed, then the middle.
    pub(crate) fn probe(&self) -> u64 {
        debug_assert!(self.fork().is_none(), "a search that is over asks nothing");
        if self.differs - self.agrees > 2 && self.has_differed {
            self.agrees + (self.differs - self.agrees) / 2
        } else {
            self.differs - 1
        }
    }

    /// Some peer has the same delta under the number `seq`: its effect is where that peer's state is.
    pub(crate) fn on_same(&mut self, seq: u64) {
        self.agrees = self.agrees.max(seq.min(self.differs - 1));
        self.next();
    }

    /// This replica has received another delta under the number that decides next. A peer may still have the same one.
    pub(crate) const fn on_another_known(&mut self) {
        self.is_another_known = true;
    }

    /// The state lacks what the delta under the number that decides next did. A peer may still have it.
    pub(crate) const fn on_lacking(&mut self) {
        self.is_lacking = true;
    }

    /// A peer has another delta under the number that decides next, or stores none.
    pub(crate) fn on_without(&mut self, peer: PeerId, is_another: bool) {
        self.without.insert(peer);
        self.is_another_known |= is_another;
    }

    /// Decides, if all reachable peers have answered. Where nobody stores the delta, and the state does not lack it, the
    /// word of those that cover its number counts: they have it.
    pub(crate) fn decide(&mut self, peers: &[PeerId]) {
        if self.fork().is_some() || peers.iter().any(|peer| !self.without.contains(peer)) {
            return;
        }
        let probe = self.probe();
        let is_another = self.is_another_known || probe >= self.another_from;
        self.has_found_another |= is_another;
        if is_another || self.is_lacking {
            self.differs = self.differs.min(probe);
            self.has_differed = true;
            self.next();
        } else {
            self.on_same(probe);
        }
    }

    fn next(&mut self) {
        self.without.clear();
        self.is_another_known = false;
        self.is_lacking = false;
    }

    /// Whether the peer has answered about the number that decides next.
    pub(crate) fn has_answered(&self, peer: PeerId) -> bool {
        self.without.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [PeerId; 2] = [PeerId(1), PeerId(2)];

    /// The fork that a search finds, and the number of its questions.
    fn found(before: u64, last: u64, covered: u64, fork: u64) -> (u64, usize) {
        let mut search = ForkSearch::new(before, last, covered);
        let mut asked = 0;
        loop {
            if let Some(found) = search.fork() {
                return (found, asked);
            }
            let probe = search.probe();
            if probe <= fork {
                search.on_same(probe);
            } else {
                search.on_without(PEERS[0], true);
                search.decide(&PEERS[..1]);
            }
            asked += 1;
        }
    }

    #[test]
    fn finds_every_fork() {
        for last in 0..40 {
            for covered in 0..45 {
                for fork in 0..=last.min(covered) {
                    assert_eq!(found(0, last, covered, fork).0, fork, "{last} {covered}");
                }
            }
        }
        assert_eq!(found(0, 9_000, 20_000, 9_000), (9_000, 1), "others have everything");
        assert_eq!(found(0, 9_000, 70, 70), (70, 1), "others have all up to a number");
        assert_eq!(found(0, 9_000, 0, 0), (0, 0), "others have nothing");
        assert!(found(0, 10_000, 20_000, 77).1 < 16);
        assert_eq!(found(500, 900, 400, 500), (500, 0), "others have less than the legacy begins with");
    }

    #[test]
    fn word_of_peers_counts_where_nobody_stores_the_delta() {
        let mut search = ForkSearch::new(0, 9, 9);
        search.on_without(PEERS[0], false);
        search.decide(&PEERS);
        assert!(search.fork().is_none() && search.has_answered(PEERS[0]) && !search.has_answered(PEERS[1]));
        search.on_without(PEERS[1], false);
        search.decide(&PEERS);
        assert_eq!(search.fork(), Some(9));
    }

    #[test]
    fn state_that_lacks_the_delta_counts_more_than_the_word_of_peers() {
        let mut search = ForkSearch::new(0, 1, 1);
        search.on_lacking();
        search.decide(&PEERS);
        assert_eq!(search.fork(), None, "a peer may have it");
        PEERS.into_iter().for_each(|peer| search.on_without(peer, false));
        search.decide(&PEERS);
        assert_eq!((search.fork(), search.has_found_another()), (Some(0), false));
    }

    /// Others have pruned the delta, and the next one of theirs names another one as its parent.
    #[test]
    fn parent_of_another_delta_tells_of_a_pruned_one() {
        let mut search = ForkSearch::new(0, 2, 2);
        search.on_without(PEERS[0], true);
        search.on_another_before(1);
        search.decide(&PEERS[..1]);
        assert_eq!((search.fork(), search.probe()), (None, 1));
        search.on_without(PEERS[0], false);
        search.decide(&PEERS[..1]);
        assert_eq!(search.fork(), Some(0));
    }

    /// Peers may have taken deltas of both lives under one number.
    #[test]
    fn one_peer_with_the_same_delta_decides() {
        let mut search = ForkSearch::new(0, 1, 1);
        search.on_another_known();
        search.on_without(PEERS[0], true);
        search.decide(&PEERS);
        assert_eq!(search.fork(), None, "another peer may have it");
        search.on_same(1);
        assert_eq!(search.fork(), Some(1));
    }
}
