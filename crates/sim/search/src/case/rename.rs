//! Renaming: long names of entities and nodes replaced by short ones, everywhere in a case.
//!
//! The id of an entity is a digest of the id of its parent and its name. A new name therefore changes the id of the
//! entity, and the ids of all named entities below it.

use crate::case::entity_path::{self, Segment};
use crate::case::operations::target_mut;
use crate::case::{Case, CloneDisk, Entities, HostLine, Name, ScriptAction, ScriptLine};
use std::collections::{BTreeMap, BTreeSet};
use syncline_replica::Target;
use syncline_storage::Label;
use syncline_types::EntityId;

/// A name of so many bytes in a file is short enough to read. Digests and binary keys are longer.
const SHORT: usize = 12;

/// New names of entities, by their ids before.
pub(crate) type NewNames = BTreeMap<EntityId, Vec<u8>>;

impl Case {
    /// The bytes of all names of entities and nodes beyond the length of a short name, each as often as a file
    /// repeats it.
    pub(crate) fn long_name_bytes(&self) -> usize {
        let mut copy = self.clone();
        let nodes: usize = names_mut(&mut copy).iter().map(|name| name.len().saturating_sub(SHORT)).sum();
        let excess = |target: &Target| {
            let text = entity_path::write(target);
            entity_path::cut(&text).iter().map(|(_, part)| part.len().saturating_sub(SHORT)).sum::<usize>()
        };
        let targets: usize = copy.operations_mut().map(|operation| excess(target_mut(operation))).sum();
        let entities = copy.entities_lists_mut().into_iter().flatten();
        let entities: usize = entities.map(|some| some.name_len().saturating_sub(SHORT)).sum();
        nodes + targets + entities
    }

    /// The entities with long names, in the order of their names. Those of runs have the names of their runs.
    pub(crate) fn long_named_entities(&self) -> Vec<EntityId> {
        let mut copy = self.clone();
        let runs = copy.entities_lists_mut().into_iter().flatten().flat_map(|some| some.numbered_ids());
        let of_runs: BTreeSet<EntityId> = runs.map(|(id, _)| id).collect();
        let named = self.segments().into_iter().filter(|(id, _)| !of_runs.contains(id));
        let long = named.filter(|(_, segment)| segment.write().len() > SHORT);
        let mut long: Vec<(Segment, EntityId)> = long.map(|(id, segment)| (segment, id)).collect();
        // Where labels order the entities, new names in the order of the old ones keep the order.
        long.sort();
        long.into_iter().map(|(_, id)| id).collect()
    }

    /// Short names for these entities that no entity of the case has.
    pub(crate) fn short_names_for(&self, ids: &[EntityId]) -> NewNames {
        let used: BTreeSet<Vec<u8>> = self.segments().into_values().filter_map(Segment::into_name).collect();
        let free = (0..).map(short_name).filter(|name| !used.contains(name.as_bytes()));
        ids.iter().copied().zip(free.map(String::into_bytes)).collect()
    }

    /// Gives entities new names, wherever the case mentions them.
    pub(crate) fn rename_entities(&mut self, new: &NewNames) {
        self.rename_targets(new);
        for some in self.entities_lists_mut().into_iter().flatten() {
            some.rename(new);
        }
    }

    /// Gives runs of entities with long names short ones.
    pub(crate) fn rename_runs(&mut self) {
        let mut copy = self.clone();
        let mut short = BTreeMap::new();
        for some in copy.entities_lists_mut().into_iter().flatten() {
            let ids = some.numbered_ids();
            let Some(prefix) = some.prefix_mut().filter(|prefix| prefix.len() > SHORT) else { continue };
            let count = short.len();
            let to: &String = short.entry(prefix.clone()).or_insert_with(|| format!("run-{count}/"));
            let new = ids.into_iter().map(|(id, at)| (id, format!("{to}{at}").into_bytes())).collect();
            self.rename_targets(&new);
        }
        for some in self.entities_lists_mut().into_iter().flatten() {
            if let Some(prefix) = some.prefix_mut()
                && let Some(to) = short.get(prefix)
            {
                prefix.clone_from(to);
            }
        }
    }

    /// Gives the entities of operations new names.
    fn rename_targets(&mut self, new: &NewNames) {
        let segments = self.segments();
        for operation in self.operations_mut() {
            let target = target_mut(operation);
            if let Some(name) = new.get(&target.id) {
                match &mut target.label {
                    Label::None => {}
                    Label::Named(label) | Label::Ordered(label) => *label = name.as_slice().into(),
                }
            }
            let mut parents = (EntityId::ROOT, EntityId::ROOT);
            for id in target.ancestors.iter_mut().chain([&mut target.id]) {
                let old = *id;
                let name = match (new.get(&old), segments.get(&old)) {
                    (Some(name), _) => Some(name),
                    (None, Some(Segment::Name(name))) if parents.0 != parents.1 => Some(name),
                    _ => None,
                };
                *id = name.map_or(old, |name| EntityId::child_of(parents.1, name));
                parents = (old, *id);
            }
        }
    }

    /// The nodes with long names.
    pub(crate) fn long_named_nodes(&self) -> Vec<Name> {
        let mut copy = self.clone();
        let names = names_mut(&mut copy).into_iter().filter(|name| name.len() > SHORT);
        names.map(|name| name.clone()).collect::<BTreeSet<Name>>().into_iter().collect()
    }

    /// Gives one node a short name, wherever the case mentions it.
    pub(crate) fn rename_node(&mut self, from: &Name) {
        let used: BTreeSet<Name> = names_mut(self).into_iter().map(|name| name.clone()).collect();
        let Some(to) = (0..).map(short_name).find(|name| !used.contains(name)) else { return };
        for name in names_mut(self).into_iter().filter(|name| *name == from) {
            name.clone_from(&to);
        }
    }

    /// The lists of initial entities.
    fn entities_lists_mut(&mut self) -> Vec<&mut Vec<Entities>> {
        let mut lists = vec![&mut self.shared];
        for node in &mut self.nodes {
            lists.push(&mut node.entities);
            lists.extend(node.contexts.iter_mut().map(|context| &mut context.entities));
        }
        lists
    }

    /// Every entity that the case mentions, with its name as far as the case tells it.
    fn segments(&self) -> BTreeMap<EntityId, Segment> {
        let mut copy = self.clone();
        let mut found = BTreeMap::new();
        let mut note = |id: EntityId, segment: Segment| {
            let known = found.entry(id).or_insert_with(|| segment.clone());
            // One operation may mention an entity with its name, and another one without.
            if matches!(segment, Segment::Name(_)) {
                *known = segment;
            }
        };
        for operation in copy.operations_mut() {
            let target = target_mut(operation);
            let mut parent = EntityId::ROOT;
            for id in &target.ancestors {
                note(*id, Segment::of(parent, *id, None));
                parent = *id;
            }
            note(target.id, Segment::of(parent, target.id, target.label.bytes()));
        }
        for some in copy.entities_lists_mut().into_iter().flatten() {
            some.segments().into_iter().for_each(|(id, segment)| note(id, segment));
        }
        found
    }
}

/// The short name with this number: `a` to `z`, `aa` and so on.
fn short_name(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number;
    loop {
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
        if rest == 0 {
            break;
        }
        rest -= 1;
    }
    letters.into_iter().rev().collect()
}

/// Every mention of a node.
fn names_mut(case: &mut Case) -> Vec<&mut Name> {
    let mut found: Vec<&mut Name> = case.nodes.iter_mut().map(|node| &mut node.name).collect();
    for frame in &mut case.frames {
        found.extend([&mut frame.from, &mut frame.to]);
    }
    for rule in &mut case.rules {
        found.extend(rule.from.iter_mut().chain(&mut rule.to));
    }
    for ScriptLine { what, .. } in &mut case.script {
        match what {
            ScriptAction::Write(write) => found.push(&mut write.node),
            ScriptAction::Op(op) => found.push(&mut op.node),
            ScriptAction::Crash(crash) => found.push(&mut crash.node),
            ScriptAction::Leave(leave) => found.push(&mut leave.node),
            ScriptAction::Lie(lie) => found.push(&mut lie.node),
            ScriptAction::Restart(node) | ScriptAction::Return(node) | ScriptAction::Join(node) => {
                found.push(node);
            }
            ScriptAction::Name(naming) => {
                found.push(&mut naming.joiner);
                found.extend(&mut naming.by);
            }
            ScriptAction::Partition(partition) => {
                found.extend(partition.groups.iter_mut().flatten());
                if let Some((from, to)) = &mut partition.one_way {
                    found.extend(from.iter_mut().chain(to));
                }
            }
            ScriptAction::Host(host) => match host {
                HostLine::Pause(pause) => found.push(&mut pause.node),
                HostLine::Clock(clock) => found.push(&mut clock.node),
                HostLine::FreezeClock(pause) => found.push(&mut pause.node),
                HostLine::LyingDisk(disk) => found.push(&mut disk.node),
                HostLine::BackUp(node) | HostLine::FailWrite(node) | HostLine::Rot(node) => found.push(node),
                HostLine::Restore(restore) => found.push(&mut restore.node),
                HostLine::Clone(CloneDisk { from, to, .. }) => found.extend([from, to]),
                HostLine::LoseDisk(lose) => found.push(&mut lose.node),
            },
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_count_up() {
        let names: Vec<String> = [0, 25, 26, 27, 701, 702].into_iter().map(short_name).collect();
        assert_eq!(names, ["a", "z", "aa", "ab", "zz", "aaa"]);
    }

    #[test]
    fn renaming_is_consistent() {
        let text = r##"
            nodes = [
                { name = "a node with a long name", entities = ["an entity with a long name/0..3"] },
                { name = "bob" },
            ]
            script = [
                { at = "1s", write = { node = "bob", ops = [
                    { create = { target = "> the settings of all", collection = "map" } },
                    { set = { target = "> the settings of all > colour", to = "x" } },
                ] } },
                { at = "2s", write = { node = "bob", ops = [
                    { set = { target = "an entity with a long name/1", to = "x" } },
                ] } },
                { at = "3s", crash = { node = "a node with a long name" } },
            ]
        "##;
        let mut case: Case = text.parse().unwrap();
        let before = case.long_name_bytes();
        let long = case.long_named_entities();
        let new = case.short_names_for(&long);
        case.rename_entities(&new);
        case.rename_runs();
        for node in case.long_named_nodes() {
            case.rename_node(&node);
        }
        case.check().unwrap();
        assert!(case.long_name_bytes() < before / 2, "{case}");
        let text = case.to_text().unwrap();
        assert_eq!(
            text.parse::<Case>().unwrap(),
            case,
            "the names are written so that they read back:\n{text}"
        );
        assert!(!text.contains("long name") && !text.contains("settings"), "{text}");
        let targets: Vec<Target> =
            case.operations_mut().map(|operation| target_mut(operation).clone()).collect();
        let [created, set, entity] = targets.as_slice() else { panic!("{text}") };
        assert_eq!(set.ancestors, [created.id], "the entry is still below its map");
        let run = case.nodes[0].entities[0].numbered_ids();
        assert_eq!(run[1].0, entity.id, "the write is still to the second entity of the run: {text}");
    }
}
