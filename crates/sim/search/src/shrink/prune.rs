//! Pruning: the parts of a case that lose their meaning when another part is removed.

use crate::case::{Case, CaseNode, ContextContents, HostLine, Name, ScriptAction};
use std::collections::BTreeSet;

impl Case {
    /// Removes dangling lines: those that name nodes that are gone, and recoveries from faults that are
    /// gone. Without it, most reductions would leave a case that cannot be built, and minimizing would stop
    /// at it.
    pub(super) fn drop_dangling(&mut self) {
        // A case that cannot be built is refused when it is run; there is nothing to prune.
        let Ok(scenario) = self.initial_scenario() else { return };
        let mut names: BTreeSet<Name> = scenario.nodes.into_iter().map(|node| node.name).collect();
        names.extend(self.script.iter().filter_map(|line| match &line.what {
            ScriptAction::Join(name) => Some(name.clone()),
            _ => None,
        }));
        names.extend((1..=self.faults.late_joiners).map(|late| format!("late-{late}")));
        let known = |name: &Name| names.contains(name);
        let broken = |case: &Self, name: &Name, by: fn(&ScriptAction) -> bool| {
            case.script.iter().any(|line| by(&line.what) && line.node() == Some(name))
        };
        for node in &mut self.nodes {
            let last = node.contexts.iter().rposition(|contents| *contents != ContextContents::default());
            node.contexts.truncate(last.map_or(0, |last| last + 1));
        }
        let before = self.clone();
        self.script.retain_mut(|line| match &mut line.what {
            // A partition needs two sides that exist.
            ScriptAction::Partition(partition) => {
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
            ScriptAction::Restart(name) => {
                known(name) && broken(&before, name, |what| matches!(what, ScriptAction::Crash(_)))
            }
            ScriptAction::Return(name) => {
                known(name) && broken(&before, name, |what| matches!(what, ScriptAction::Leave(_)))
            }
            ScriptAction::Name(naming) => {
                naming.by.retain(known);
                known(&naming.joiner) && !naming.by.is_empty()
            }
            ScriptAction::Host(HostLine::Clone(clone)) => known(&clone.from) && known(&clone.to),
            _ => line.node().is_none_or(known),
        });
        self.frames.retain(|frame| known(&frame.from) && known(&frame.to));
        self.rules.retain(|rule| rule.from.iter().chain(&rule.to).all(known));
    }

    /// Removes the context of this number and renumbers those after it. The shared entities are those of
    /// the first context, and go with it.
    pub(super) fn without_context(&mut self, gone: usize) {
        if gone == 0 {
            self.shared.clear();
        }
        let contexts = self.contexts;
        assert!(gone < contexts, "context {gone} is one of the {contexts} that there are");
        for node in &mut self.nodes {
            for context in gone..contexts - 1 {
                move_down(node, context);
            }
        }
        self.script.retain_mut(|line| match &mut line.what {
            ScriptAction::Write(write) if write.context == gone => false,
            ScriptAction::Write(write) => {
                write.context -= usize::from(write.context > gone);
                true
            }
            _ => true,
        });
        self.contexts = contexts - 1;
        // Moving creates contents up to the old last context, which `check_contexts` would refuse.
        for node in &mut self.nodes {
            node.contexts.truncate(self.contexts.saturating_sub(1));
        }
    }
}

/// Moves the contents of the next context of a node into this context.
fn move_down(node: &mut CaseNode, context: usize) {
    let entities = std::mem::take(node.entities_in_mut(context + 1));
    *node.entities_in_mut(context) = entities;
    let writes = std::mem::take(node.writes_in_mut(context + 1));
    *node.writes_in_mut(context) = writes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recoveries_of_removed_nodes_go() {
        let text = r#"
            nodes = [{ name = "a" }, { name = "b" }]
            script = [
                { at = "1s", crash = { node = "b" } },
                { at = "2s", restart = "b" },
                { at = "3s", leave = { node = "b" } },
                { at = "4s", return = "b" },
                { at = "5s", crash = { node = "a" } },
                { at = "6s", restart = "a" },
            ]
        "#;
        let mut case: Case = text.parse().unwrap();
        case.nodes.truncate(1);
        case.drop_dangling();
        assert_eq!(case.script.len(), 2, "only the lines of a are left");
        case.check().unwrap();
    }
}
