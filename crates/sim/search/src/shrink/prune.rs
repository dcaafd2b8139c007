//! What goes with what is taken out of a case.

use crate::case::{Case, Held, Name, Node, What};
use std::collections::BTreeSet;

impl Case {
    /// Takes out what has lost its meaning: what names nodes that are gone, and what mends what does not
    /// break any more.
    pub(super) fn tidy(&mut self) {
        let Ok(scenario) = self.beginning() else { return };
        let mut names: BTreeSet<Name> = scenario.nodes.into_iter().map(|node| node.name).collect();
        names.extend(self.script.iter().filter_map(|line| match &line.what {
            What::Join(name) => Some(name.clone()),
            _ => None,
        }));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        let known = |name: &Name| names.contains(name);
        let broken = |case: &Self, name: &Name, by: fn(&What) -> bool| {
            case.script.iter().any(|line| by(&line.what) && line.node() == Some(name))
        };
        for node in &mut self.nodes {
            let told = node.contexts.iter().rposition(|held| *held != Held::default());
            node.contexts.truncate(told.map_or(0, |last| last + 1));
        }
        let before = self.clone();
        self.script.retain_mut(|line| match &mut line.what {
            What::Partition(partition) => {
                for group in &mut partition.groups {
                    group.retain(known);
                }
                partition.groups.retain(|group| !group.is_empty());
                let one_way = partition.one_way.as_mut().is_some_and(|(from, to)| {
                    from.retain(known);
                    to.retain(known);
                    !from.is_empty() && !to.is_empty()
                });
                one_way || partition.groups.len() > 1
            }
            What::Restart(name) => broken(&before, name, |what| matches!(what, What::Crash(_))),
            What::Return(name) => broken(&before, name, |what| matches!(what, What::Leave(_))),
            _ => line.node().is_none_or(known),
        });
        self.frames.retain(|frame| known(&frame.from) && known(&frame.to));
        self.rules.retain(|rule| rule.from.iter().chain(&rule.to).all(known));
    }

    /// The same without the context of this number: those after it take its place. Without the first, what all
    /// share has no place any more either.
    pub(super) fn without_context(&mut self, gone: usize) {
        if gone == 0 {
            self.shared.clear();
        }
        let kept = self.contexts;
        for node in &mut self.nodes {
            for context in gone..kept.saturating_sub(1) {
                move_down(node, context);
            }
        }
        self.script.retain_mut(|line| match &mut line.what {
            What::Write(write) if write.context == gone => false,
            What::Write(write) => {
                write.context -= usize::from(write.context > gone);
                true
            }
            _ => true,
        });
        self.contexts = kept.saturating_sub(1);
        for node in &mut self.nodes {
            node.contexts.truncate(self.contexts.saturating_sub(1));
        }
    }
}

/// Gives a node in a context what it has in the next.
fn move_down(node: &mut Node, context: usize) {
    let entities = std::mem::take(node.entities_in_mut(context + 1));
    *node.entities_in_mut(context) = entities;
    let writes = std::mem::take(node.writes_in_mut(context + 1));
    *node.writes_in_mut(context) = writes;
}
