//! The text form of paths to entities.
//!
//! A path is written from the root down. `a > b` is the child `b` of `a`, labelled with that name; `a >> b`
//! labels it for an ordered collection; `a ~ b` finds it by its id alone, without a label, as does a first
//! segment with nothing before it. A segment is a name, or bytes in hexadecimal that serve as one,
//! `[03ff]`, or an id, `#03ff` (trailing zeros are left out). `#03ff@[00]` is an entity whose label differs
//! from the name that its id was derived from.

use crate::case::serde_names::{from_hex, to_hex};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use syncline_replica::Target;
use syncline_storage::Label;
use syncline_types::EntityId;

/// One segment of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Segment {
    /// The child whose id derives from this name.
    Name(Vec<u8>),
    /// The entity with this id, and its label in its parent.
    Id(EntityId, Vec<u8>),
}

/// The names that workloads and scenarios give to children of the root: an id alone does not reveal its
/// name.
static KNOWN: LazyLock<BTreeMap<EntityId, String>> = LazyLock::new(|| {
    const PLAIN: [&str; 10] =
        ["map", "set", "text", "list", "sorted", "own", "frozen", "counter", "register", "folder"];
    const NUMBERED: [&str; 8] = ["register", "likes", "stock", "map", "set", "text", "list", "counter"];
    let numbered = NUMBERED.iter().flat_map(|name| (0..64).map(move |at| format!("{name}/{at}")));
    let branches = (0..8).map(|at| format!("branch {at}, 0"));
    let names = PLAIN.iter().map(|name| (*name).to_owned()).chain(numbered).chain(branches);
    // Shrinking replaces long names by single letters.
    let letters = ('a'..='z').map(String::from);
    names.chain(letters).map(|name| (EntityId::child_of(EntityId::ROOT, name.as_bytes()), name)).collect()
});

impl Segment {
    /// The segment that leads to `id`, given its label in the parent if that is known.
    pub(crate) fn of(parent: EntityId, id: EntityId, label: Option<&[u8]>) -> Self {
        let fits = |name: &&[u8]| EntityId::child_of(parent, name) == id;
        if let Some(name) = label.filter(fits) {
            return Self::Name(name.to_vec());
        }
        // The known ids are those of children of the root. `fits` rejects them under any other parent.
        let known = KNOWN.get(&id).map(String::as_bytes).filter(|_| label.is_none()).filter(fits);
        known.map_or_else(
            || Self::Id(id, label.unwrap_or_default().to_vec()),
            |name| Self::Name(name.to_vec()),
        )
    }

    pub(super) fn id(&self, parent: EntityId) -> EntityId {
        match self {
            Self::Name(name) => EntityId::child_of(parent, name),
            Self::Id(id, _) => *id,
        }
    }

    /// The name, if the id derives from one.
    pub(super) fn into_name(self) -> Option<Vec<u8>> {
        match self {
            Self::Name(name) => Some(name),
            Self::Id(..) => None,
        }
    }

    fn label(&self) -> &[u8] {
        match self {
            Self::Name(name) | Self::Id(_, name) => name,
        }
    }

    pub(super) fn write(&self) -> String {
        match self {
            Self::Name(name) => match std::str::from_utf8(name) {
                Ok(text) if is_plain(text) => text.to_owned(),
                _ => format!("[{}]", to_hex(name)),
            },
            Self::Id(id, called) => {
                let digits = to_hex(&id.0);
                let mut digits = digits.trim_end_matches('0').to_owned();
                // A byte has two digits, and trimming may have cut one of them.
                if digits.len() % 2 == 1 {
                    digits.push('0');
                }
                let called = if called.is_empty() { String::new() } else { format!("@[{}]", to_hex(called)) };
                format!("#{digits}{called}")
            }
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let bracketed = |text: &str| from_hex(text.strip_prefix('[')?.strip_suffix(']')?);
        if let Some(rest) = text.strip_prefix('#') {
            let (digits, called) = rest.split_once('@').unwrap_or((rest, "[]"));
            let (bytes, called) = from_hex(digits)
                .filter(|bytes| bytes.len() <= 32)
                .zip(bracketed(called))
                .ok_or_else(|| format!("{text:?} is no id; an id looks like #03ff"))?;
            let mut id = EntityId::ROOT;
            for (to, from) in id.0.iter_mut().zip(bytes) {
                *to = from;
            }
            return Ok(Self::Id(id, called));
        }
        if text.starts_with('[') {
            let bytes = bracketed(text);
            return bytes
                .map(Self::Name)
                .ok_or_else(|| format!("{text:?} are no bytes; bytes look like [03ff]"));
        }
        if is_plain(text) {
            Ok(Self::Name(text.into()))
        } else {
            Err(format!(
                "{text:?} is no name of an entity; in hexadecimal it is [{}]",
                to_hex(text.as_bytes())
            ))
        }
    }
}

/// Whether a name can be written without brackets: it contains no mark of the syntax and nothing that would
/// be trimmed.
fn is_plain(name: &str) -> bool {
    let marks = [" > ", " >> ", " ~ ", " = "];
    !name.is_empty()
        && name.trim() == name
        && !name.starts_with(['#', '[', '>', '~'])
        && !name.contains(char::is_control)
        && !marks.iter().any(|mark| name.contains(mark) || name.ends_with(mark.trim_end()))
}

/// The marks between segments.
const MARKS: [&str; 3] = [" > ", " >> ", " ~ "];

/// Splits a path into segments, each with the mark before it. The first segment has none, unless the path
/// begins with a mark.
pub(super) fn cut(text: &str) -> Vec<(Option<&'static str>, &str)> {
    let mut parts = Vec::new();
    let mut mark = None;
    let mut rest = text.trim();
    if let Some(first) = MARKS.into_iter().find(|mark| rest.starts_with(mark.trim_start())) {
        mark = Some(first);
        // The space at the front of the mark was trimmed.
        rest = &rest[first.len() - 1..];
    }
    loop {
        // The earliest mark splits. No mark is a prefix of another, so two never begin at one place.
        let next = MARKS.into_iter().filter_map(|mark| Some((rest.find(mark)?, mark))).min();
        let Some((at, found)) = next else {
            parts.push((mark, rest));
            return parts;
        };
        parts.push((mark, &rest[..at]));
        mark = Some(found);
        rest = &rest[at + found.len()..];
    }
}

/// Writes a target as text.
pub(super) fn write(target: &Target) -> String {
    let mut text = String::new();
    let mut parent = EntityId::ROOT;
    for id in &target.ancestors {
        let segment = Segment::of(parent, *id, None);
        text += &format!("{}{}", if text.is_empty() { "" } else { " > " }, segment.write());
        parent = *id;
    }
    let (mark, called) = match &target.label {
        Label::None => (if text.is_empty() { "" } else { " ~ " }, None),
        Label::Named(name) => (" > ", Some(&**name)),
        Label::Ordered(name) => (" >> ", Some(&**name)),
    };
    text += &format!("{mark}{}", Segment::of(parent, target.id, called).write());
    text.trim_start().to_owned()
}

/// Parses a target from its text form.
pub(super) fn read(text: &str) -> Result<Target, String> {
    let parts = cut(text);
    let mut parent = EntityId::ROOT;
    let mut ancestors = Vec::new();
    let last = parts.len() - 1;
    for (at, (mark, part)) in parts.into_iter().enumerate() {
        let segment = Segment::read(part)?;
        let id = segment.id(parent);
        if at == last {
            let label = segment.label();
            let label = match mark {
                Some(" > ") => Label::Named(label.into()),
                Some(" >> ") => Label::Ordered(label.into()),
                _ => Label::None,
            };
            return Ok(Target { id, ancestors, label });
        }
        ancestors.push(id);
        parent = id;
    }
    unreachable!("a split path has at least one segment")
}

/// For `#[serde(with)]`: writes a target as text.
pub(super) fn serialize<S: Serializer>(value: &Target, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&write(value))
}

/// For `#[serde(with)]`: reads a target from text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Target, D::Error> {
    read(&String::deserialize(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_text() {
        let top = |name: &str| Target::top(EntityId::child_of(EntityId::ROOT, name.as_bytes()));
        let odd = Target { label: Label::Ordered([7].into()), ..top("x") };
        for (target, text) in [
            (top("register/3"), "register/3"),
            (Target::named(b"settings"), "> settings"),
            (Target::named(b"settings").child(b"colour"), ""),
            (top("map").child(&3u64.to_le_bytes()), "map > [0300000000000000]"),
            (top("sorted").ordered_child(b"k"), "sorted >> k"),
            (top("map").child(b"a > b"), "map > [61203e2062]"),
            (Target::top(EntityId::from_u64(0x10)), "#10"),
            (top("never heard of"), ""),
            (odd, ""),
        ] {
            let written = write(&target);
            assert!(text.is_empty() || written == text, "{written}");
            assert_eq!(read(&written), Ok(target), "{written}");
        }
    }

    #[test]
    fn refuses_malformed_paths() {
        for (bad, says) in [("", "no name"), ("#xyz", "#03ff"), ("[1]", "[03ff]"), ("a > ", "no name")] {
            assert!(read(bad).unwrap_err().contains(says), "{bad}");
        }
    }
}
