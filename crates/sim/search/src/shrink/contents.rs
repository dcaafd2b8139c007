//! The pass over contents: the values, texts and states that operations write, and the contents of initial
//! entities.

use crate::case::{Case, ScriptAction};
use crate::shrink::minimizer::Minimizer;
use syncline_replica::{Item, Operation};
use toml::Value;

/// A content that can be shortened.
pub(super) enum Content<'a> {
    Bytes(&'a mut Vec<u8>),
    Text(&'a mut String),
}

/// A string of a custom operation is only shortened beyond this length: a short one may be a name.
const LONG_NAME: usize = 32;

impl Content<'_> {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Cuts the content to `len` bytes. A text keeps its last character whole or loses it, but never its first.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Bytes(bytes) => bytes.truncate(len),
            Self::Text(text) => {
                let first = text.chars().next().map_or(0, char::len_utf8);
                let end = (0..=len.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
                text.truncate(end.unwrap_or(0).max(first));
            }
        }
    }

    /// Replaces each character, or each byte, by the same letter.
    fn fill(&mut self, letter: u8) {
        match self {
            Self::Bytes(bytes) => bytes.fill(letter),
            Self::Text(text) => **text = char::from(letter).to_string().repeat(text.chars().count()),
        }
    }
}

/// The contents of a case, in a fixed order.
pub(super) fn contents(case: &mut Case) -> Vec<Content<'_>> {
    let mut found = Vec::new();
    found.extend(case.shared.iter_mut().filter_map(|some| some.text_mut()).map(Content::Text));
    for node in &mut case.nodes {
        found.extend(node.entities.iter_mut().filter_map(|some| some.text_mut()).map(Content::Text));
        found.extend(node.writes.iter_mut().flatten().filter_map(of_operation));
        for context in &mut node.contexts {
            found.extend(context.entities.iter_mut().filter_map(|some| some.text_mut()).map(Content::Text));
            found.extend(context.writes.iter_mut().flatten().filter_map(of_operation));
        }
    }
    for line in &mut case.script {
        match &mut line.what {
            ScriptAction::Write(write) => found.extend(write.ops.iter_mut().filter_map(of_operation)),
            ScriptAction::Op(op) => of_value(&mut op.ask, &mut found),
            _ => {}
        }
    }
    found
}

fn of_operation(operation: &mut Operation) -> Option<Content<'_>> {
    match operation {
        Operation::Set { bytes, .. }
        | Operation::SetOpaque { bytes, .. }
        | Operation::SetOwn { bytes, .. }
        | Operation::Freeze { bytes, .. }
        | Operation::Merge { bytes, .. }
        | Operation::InsertItem { item: Item::Bytes(bytes), .. } => Some(Content::Bytes(bytes)),
        Operation::InsertText { text, .. } => Some(Content::Text(text)),
        _ => None,
    }
}

/// The long strings in an operation of a custom replica.
fn of_value<'a>(value: &'a mut Value, found: &mut Vec<Content<'a>>) {
    match value {
        Value::String(text) if text.len() > LONG_NAME => found.push(Content::Text(text)),
        Value::Array(values) => values.iter_mut().for_each(|value| of_value(value, found)),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| of_value(value, found)),
        _ => {}
    }
}

/// The simplest contents, in the order in which they are tried. Two writers whose values must differ cannot both
/// have the first.
const SIMPLEST: [&[u8]; 2] = [b"x", b"y"];

impl Minimizer<'_, '_> {
    /// Shortens each content to the least length with which the case fails, and makes its characters equal.
    pub(super) fn contents(&mut self) {
        let mut at = 0;
        loop {
            let mut copy = self.best().clone();
            let found = contents(&mut copy);
            // The last one is done.
            let Some(content) = found.get(at) else { return };
            let len = content.len();
            let is_simplest = SIMPLEST.contains(&content.as_bytes());
            if len > 0 && !is_simplest {
                self.shorten(at, len as u64);
            }
            at += 1;
        }
    }

    fn shorten(&mut self, at: usize, len: u64) {
        for simplest in SIMPLEST {
            let is_simple = self.change(|case| {
                if let Some(content) = contents(case).get_mut(at) {
                    content.truncate(1);
                    content.fill(simplest[0]);
                }
            });
            if is_simple {
                return;
            }
        }
        self.least(1, len, |case, len| {
            if let Some(content) = contents(case).get_mut(at) {
                content.truncate(len as usize);
            }
        });
        for simplest in SIMPLEST {
            let filled = |case: &mut Case| {
                if let Some(content) = contents(case).get_mut(at) {
                    content.fill(simplest[0]);
                }
            };
            let mut copy = self.best().clone();
            filled(&mut copy);
            // A content of the first letter must not become one of the second: passes repeat until nothing changes.
            if copy == *self.best() || self.change(filled) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_keeps_characters_whole() {
        let mut text = "aäb".to_owned();
        Content::Text(&mut text).truncate(2);
        assert_eq!(text, "a");
        let mut wide = "äb".to_owned();
        Content::Text(&mut wide).truncate(1);
        assert_eq!(wide, "ä", "a text never becomes empty");
        Content::Text(&mut wide).fill(b'x');
        assert_eq!(wide, "x");
    }
}
