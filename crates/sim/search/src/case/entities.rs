//! The text form of the entities that nodes begin with: one entity, `alice/7`, or a numbered run,
//! `alice/0..10`.
//!
//! Each entity is a register that holds its own name, unless ` = text` gives its content. An entity below
//! the top level is written as a path: `folder ~ page`.

use crate::case::entity_path::{Segment, cut};
use crate::case::limits::MOST_ENTITIES;
use crate::case::rename::NewNames;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;
use sync_sim_cluster::scenarios::{author, register};
use syncline_crdt::Value;
use syncline_storage::Action;
use syncline_types::EntityId;

/// One entity, or a run of entities whose names differ only in a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entities {
    path: Vec<Segment>,
    last: Last,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Last {
    One { segment: Segment, text: Option<String> },
    Run { prefix: String, numbers: Range<u64> },
}

impl Entities {
    /// The number of entities.
    pub fn count(&self) -> u64 {
        match &self.last {
            Last::One { .. } => 1,
            Last::Run { numbers, .. } => numbers.end - numbers.start,
        }
    }

    /// The first `count` entities of a run, at least one; a single entity stays as it is.
    pub(crate) fn first(&self, count: u64) -> Self {
        let mut first = self.clone();
        if let Last::Run { numbers, .. } = &mut first.last {
            numbers.end = numbers.end.min(numbers.start + count.max(1));
        }
        first
    }

    /// The same number of entities, counted from zero.
    pub(crate) fn counted_from_zero(&self) -> Self {
        let mut first = self.clone();
        if let Last::Run { numbers, .. } = &mut first.last {
            *numbers = 0..numbers.end - numbers.start;
        }
        first
    }

    /// The content, if it is given and not just the name.
    pub(crate) fn text_mut(&mut self) -> Option<&mut String> {
        match &mut self.last {
            Last::One { text, .. } => text.as_mut(),
            Last::Run { .. } => None,
        }
    }

    /// The length of the name in a file, without its path.
    pub(super) fn name_len(&self) -> usize {
        match &self.last {
            Last::One { segment, .. } => segment.write().len(),
            Last::Run { prefix, .. } => prefix.len(),
        }
    }

    /// The entity, if it is one, and those on the path to it, with their names.
    pub(super) fn segments(&self) -> Vec<(EntityId, Segment)> {
        let last = match &self.last {
            Last::One { segment, .. } => Some(segment),
            Last::Run { .. } => None,
        };
        let mut found = Vec::new();
        let mut parent = EntityId::ROOT;
        for segment in self.path.iter().chain(last) {
            parent = segment.id(parent);
            found.push((parent, segment.clone()));
        }
        found
    }

    /// Gives the entity and those on the path to it new names.
    pub(super) fn rename(&mut self, new: &NewNames) {
        let last = match &mut self.last {
            Last::One { segment, .. } => Some(segment),
            Last::Run { .. } => None,
        };
        let mut parent = EntityId::ROOT;
        for segment in self.path.iter_mut().chain(last) {
            parent = segment.id(parent);
            if let Some(name) = new.get(&parent) {
                *segment = Segment::Name(name.clone());
            }
        }
    }

    /// The prefix of a run.
    pub(super) fn prefix_mut(&mut self) -> Option<&mut String> {
        match &mut self.last {
            Last::One { .. } => None,
            Last::Run { prefix, .. } => Some(prefix),
        }
    }

    /// The entities of a run, each with the end of its name.
    pub(super) fn numbered_ids(&self) -> Vec<(EntityId, u64)> {
        let parent = self.path.iter().fold(EntityId::ROOT, |parent, segment| segment.id(parent));
        match &self.last {
            Last::One { .. } => Vec::new(),
            Last::Run { prefix, numbers } => {
                let id = |at: u64| EntityId::child_of(parent, format!("{prefix}{at}").as_bytes());
                numbers.clone().take(NAMED_OF_RUN).map(|at| (id(at), at)).collect()
            }
        }
    }

    /// The actions that create the entities, written by the author with this number.
    pub(super) fn actions(&self, by: u64) -> Vec<Action> {
        let mut parent = EntityId::ROOT;
        let mut ancestors = Vec::new();
        for segment in &self.path {
            parent = segment.id(parent);
            ancestors.push(parent);
        }
        let make = |id, text| register(id, ancestors.clone(), author(by), text);
        match &self.last {
            Last::One { segment, text } => {
                let text = text.clone().unwrap_or_else(|| match segment {
                    Segment::Name(name) => String::from_utf8_lossy(name).into_owned(),
                    Segment::Id(..) => String::new(),
                });
                vec![make(segment.id(parent), text)]
            }
            Last::Run { prefix, numbers } => {
                let named = numbers.clone().map(|at| format!("{prefix}{at}"));
                named.map(|name| make(EntityId::child_of(parent, name.as_bytes()), name)).collect()
            }
        }
    }

    /// The entities that these actions create, with consecutive numbers merged into runs. `None` if the
    /// actions create anything but registers by this author: the result is verified by creating the actions
    /// again from it.
    pub(crate) fn of(actions: &[Action], by: u64) -> Option<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for action in actions {
            let Action::Add { id, ancestors, value: Value::Lww(value), .. } = action else { return None };
            let text = String::from_utf8(value.bytes().to_vec()).ok()?;
            let mut parent = EntityId::ROOT;
            let mut path = Vec::new();
            for ancestor in ancestors {
                path.push(Segment::of(parent, *ancestor, None));
                parent = *ancestor;
            }
            let named = EntityId::child_of(parent, text.as_bytes()) == *id;
            let last = if named {
                Last::One { segment: Segment::Name(text.into_bytes()), text: None }
            } else {
                Last::One { segment: Segment::Id(*id, Vec::new()), text: Some(text) }
            };
            let one = Self { path, last };
            if !all.last_mut().is_some_and(|run| run.append(&one)) {
                all.push(one);
            }
        }
        // The names alone do not say everything, such as the time of a write: compare what would be created.
        let made: Vec<Action> = all.iter().flat_map(|some| some.actions(by)).collect();
        (made == actions).then_some(all)
    }

    /// Appends the next entity to the run if it continues the run. Returns whether it does.
    fn append(&mut self, next: &Self) -> bool {
        let Some((prefix, number)) = next.numbered().filter(|_| self.path == next.path) else { return false };
        match &mut self.last {
            Last::Run { prefix: ours, numbers } if *ours == prefix && numbers.end == number => {
                numbers.end += 1;
            }
            Last::Run { .. } => return false,
            Last::One { .. } => match self.numbered() {
                Some((ours, before)) if ours == prefix && before + 1 == number => {
                    self.last = Last::Run { prefix, numbers: before..number + 1 };
                }
                _ => return false,
            },
        }
        true
    }

    /// The name without its trailing number, and that number. A number with leading zeros is part of the
    /// name, since it would not be written back the same.
    fn numbered(&self) -> Option<(String, u64)> {
        let Last::One { segment: Segment::Name(name), text: None } = &self.last else { return None };
        let name = std::str::from_utf8(name).ok()?;
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = name.get(prefix.len()..)?;
        let number = digits.parse().ok()?;
        (format!("{number}") == digits).then(|| (prefix.to_owned(), number))
    }

    fn write(&self) -> String {
        let mut text: String = self.path.iter().map(|segment| format!("{} ~ ", segment.write())).collect();
        match &self.last {
            Last::One { segment, text: None } if run(&segment.write()).is_none() => text += &segment.write(),
            // A name that looks like a run is written as bytes: as text it would be read back as the run.
            Last::One { segment: Segment::Name(name), text: None } => {
                text += &format!("[{}]", crate::case::serde_names::to_hex(name));
            }
            Last::One { segment, text: content } => {
                text += &format!("{} = {}", segment.write(), content.as_deref().unwrap_or_default());
            }
            Last::Run { prefix, numbers } => text += &format!("{prefix}{}..{}", numbers.start, numbers.end),
        }
        text
    }

    fn read(text: &str) -> Result<Self, String> {
        let (place, content) = match text.split_once(" = ") {
            Some((place, content)) => (place, Some(content.to_owned())),
            None => (text, None),
        };
        let mut parts: Vec<&str> = cut(place).into_iter().map(|(_, part)| part).collect();
        let last = parts.pop().unwrap_or_default();
        let path = parts.into_iter().map(Segment::read).collect::<Result<_, _>>()?;
        if let Some((prefix, numbers)) = run(last).filter(|_| content.is_none()) {
            if numbers.is_empty() || numbers.end - numbers.start > MAX_RUN {
                return Err(format!("{last:?} must rise, by {MAX_RUN} at most"));
            }
            return Ok(Self { path, last: Last::Run { prefix, numbers } });
        }
        Ok(Self { path, last: Last::One { segment: Segment::read(last)?, text: content } })
    }
}

/// So many entities of a run keep the writes to them when the run is renamed.
const NAMED_OF_RUN: usize = 10_000;
/// The most entities of one run.
const MAX_RUN: u64 = MOST_ENTITIES as u64;

/// Parses a run: a prefix and a range of numbers.
fn run(text: &str) -> Option<(String, Range<u64>)> {
    let (begin, end) = text.split_once("..")?;
    let prefix = begin.trim_end_matches(|c: char| c.is_ascii_digit());
    let start = begin.get(prefix.len()..)?.parse().ok()?;
    Some((prefix.to_owned(), start..end.parse().ok()?))
}

impl Serialize for Entities {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.write())
    }
}

impl<'de> Deserialize<'de> for Entities {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_sim_cluster::scenarios::NAMED;

    #[test]
    fn consecutive_entities_form_one_run() {
        let read: Vec<Entities> = ["alice/0..3", "alice/9", "x ~ y = held"]
            .into_iter()
            .map(|text| Entities::read(text).unwrap())
            .collect();
        let actions: Vec<Action> = read.iter().flat_map(|some| some.actions(4)).collect();
        assert_eq!(actions.len(), 5);
        let found = Entities::of(&actions, 4).unwrap();
        assert_eq!(found.iter().map(Entities::count).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!(found[0].write(), "alice/0..3");
        assert_eq!(found[0].first(2).write(), "alice/0..2");
        assert_eq!(Entities::of(&actions, 5), None, "the author is another");
    }

    #[test]
    fn scenario_entities_survive_text() {
        for named in NAMED {
            let scenario = (named.build)(3, 30, 7);
            let nodes = scenario.nodes.iter().map(|node| &node.own).zip(1..);
            for (actions, by) in nodes.chain([(&scenario.shared, 0)]) {
                let found = Entities::of(actions, by).unwrap_or_else(|| panic!("{}", named.name));
                let back = found.iter().flat_map(|some| Entities::read(&some.write()).unwrap().actions(by));
                assert_eq!(back.collect::<Vec<_>>(), *actions, "{}", named.name);
            }
        }
    }

    #[test]
    fn escapes_names_that_look_like_runs() {
        let one = Entities::of(&Entities::read("[612f302e2e33]").unwrap().actions(1), 1).unwrap();
        assert_eq!((one[0].count(), one[0].write().as_str()), (1, "[612f302e2e33]"));
        assert!(Entities::read("a/3..3").unwrap_err().contains("must rise"));
    }
}
