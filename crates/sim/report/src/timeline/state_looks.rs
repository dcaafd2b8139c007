//! How the states of a timeline look: a color and a pattern for each, such that states that exist at the same
//! moment never look alike.
//!
//! The lifetimes of states are intervals of time, and two states conflict if their lifetimes overlap or touch: the
//! conflicts form an interval graph. First fit in the order of beginnings colors such a graph with as few colors as
//! any coloring needs, which is the largest number of states that exist at one moment. Source: Golumbic, "Algorithmic
//! Graph Theory and Perfect Graphs", 1980, chapter 8.

use crate::timeline::columns::Digests;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// The color of the state on which all nodes agreed in the end. No other state has it.
const AGREED: &str = "#009e73";

/// The other colors: the palette of Okabe and Ito (2008) without its green and its black, and a grey. They can be told
/// apart with any kind of color vision.
const COLORS: [&str; 7] = ["#e69f00", "#56b4e9", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999"];

/// One look. The names of the fields are the contract with the viewer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Look {
    color: &'static str,
    /// The number of the pattern: 0 is plain, and every further number is another hatching.
    pattern: usize,
    /// A short name; different looks have different names.
    label: String,
}

impl Look {
    /// The look with this number, from 0. The first have plain colors.
    fn numbered(number: usize) -> Self {
        Self { color: COLORS[number % COLORS.len()], pattern: number / COLORS.len(), label: letters(number) }
    }
}

/// The looks of all states. Look 0 is that of the state on which all nodes agreed in the end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct StateLooks {
    /// The different looks.
    looks: Vec<Look>,
    /// For each state, by its number, the number of its look.
    of: Vec<usize>,
}

impl StateLooks {
    /// Assigns looks to `states` states, whose lifetimes the digests of the nodes tell. `end` is the end of the run.
    /// O(changes · log looks).
    pub(super) fn of(digests: &[Digests], states: usize, end: u64) -> Self {
        let lifetimes = lifetimes(digests, states, end);
        let last: BTreeSet<Option<usize>> = digests.iter().map(|own| own.d.last().copied()).collect();
        let agreed = match (last.len(), last.first()) {
            (1, Some(Some(state))) => Some(*state),
            _ => None,
        };
        let mut by_begin: Vec<usize> = (0..states).filter(|state| Some(*state) != agreed).collect();
        // The number of a state decides between equal beginnings, so that the result is always the same.
        by_begin.sort_by_key(|state| (lifetimes[*state].0, *state));
        let mut of = vec![0; states];
        let mut looks = vec![Look { color: AGREED, pattern: 0, label: "=".to_owned() }];
        // The looks in use, with the ends of their states, and those that are free again.
        let mut in_use = BinaryHeap::new();
        let mut free = BTreeSet::new();
        for state in by_begin {
            let (begin, end) = lifetimes[state];
            // A state that ends at the instant in which another begins still conflicts with it.
            while let Some(Reverse((ended, look))) = in_use.peek().copied()
                && ended < begin
            {
                in_use.pop();
                free.insert(look);
            }
            let look = free.pop_first().unwrap_or_else(|| {
                looks.push(Look::numbered(looks.len() - 1));
                looks.len() - 1
            });
            of[state] = look;
            in_use.push(Reverse((end, look)));
        }
        Self { looks, of }
    }
}

/// For each state the instants in which it first and last exists on any node.
fn lifetimes(digests: &[Digests], states: usize, end: u64) -> Vec<(u64, u64)> {
    let mut lifetimes = vec![(u64::MAX, 0); states];
    for own in digests {
        let ends = own.t.iter().skip(1).copied().chain([end]);
        for ((begin, state), until) in own.t.iter().zip(&own.d).zip(ends) {
            let (first, last) = &mut lifetimes[*state];
            *first = (*first).min(*begin);
            *last = (*last).max(until.max(*begin));
        }
    }
    lifetimes
}

/// A number as letters: a to z, then aa, ab and so on.
fn letters(number: usize) -> String {
    let mut rest = number;
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (rest % 26) as u8));
        match (rest / 26).checked_sub(1) {
            Some(next) => rest = next,
            None => break,
        }
    }
    letters.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of nodes, each given as a list of times and states.
    fn nodes(nodes: &[&[(u64, usize)]]) -> Vec<Digests> {
        let columns = |changes: &&[(u64, usize)]| Digests {
            t: changes.iter().map(|change| change.0).collect(),
            d: changes.iter().map(|change| change.1).collect(),
        };
        nodes.iter().map(columns).collect()
    }

    #[test]
    fn looks_are_used_again() {
        // Two nodes: states 0 to 9 one after the other on the first, state 10 on the second all the time.
        let first: Vec<(u64, usize)> = (0..10).map(|at| (at as u64 * 10, at)).collect();
        let looks = StateLooks::of(&nodes(&[&first, &[(0, 10)]]), 11, 100);
        // At most three exist at once: two that touch, and the one of the second node. The first look is kept for an
        // agreement, which does not come.
        assert_eq!(looks.looks.len(), 4);
        assert!(looks.of.iter().all(|look| *look > 0));
    }

    #[test]
    fn agreement_has_its_own_look() {
        let looks = StateLooks::of(&nodes(&[&[(0, 0), (5, 2)], &[(0, 1), (7, 2)]]), 3, 9);
        assert_eq!(looks.of[2], 0);
        assert!(looks.of[0] > 0 && looks.of[1] > 0 && looks.of[0] != looks.of[1]);
    }

    #[test]
    fn more_states_than_colors_are_hatched() {
        let many: Vec<Vec<(u64, usize)>> = (0..50).map(|state| vec![(0, state)]).collect();
        let many: Vec<&[(u64, usize)]> = many.iter().map(Vec::as_slice).collect();
        let looks = StateLooks::of(&nodes(&many), 50, 1);
        let shown: BTreeSet<(&str, usize)> =
            looks.of.iter().map(|look| (looks.looks[*look].color, looks.looks[*look].pattern)).collect();
        assert_eq!(shown.len(), 50);
        let names: BTreeSet<&str> = looks.looks.iter().map(|look| look.label.as_str()).collect();
        assert_eq!(names.len(), looks.looks.len());
        assert_eq!([letters(0), letters(25), letters(26), letters(702)], ["a", "z", "aa", "aaa"]);
    }
}
