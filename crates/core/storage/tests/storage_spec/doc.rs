//! Checking the examples of `docs/spec` against the code; shared by the tests of several crates.
//!
//! An example is a fenced block whose info string is `hex FAMILY:TYPE/NAME`. Each of its lines holds bytes
//! in hex and, after `#`, the field that these bytes are. A [`Walk`] reads the bytes a second time, by the
//! rules that the document gives and without the codec, and compares every field with the value that the
//! codec decoded. Its lines must be those of the block. A block whose info string goes on with the name of an
//! error, as in `hex FAMILY:TYPE/NAME NotCanonical`, must give that error.
//!
//! After a deliberate change of a format, `SPEC_BLESS=1` rewrites the blocks from the values of the tests.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test that includes this file uses a part of it"
)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use syncline_types::{Decode, DecodeError, Encode, Hlc};

/// One of the documents in `docs/spec`.
pub(crate) struct Doc {
    path: PathBuf,
    pub(crate) text: String,
}

/// An example of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    /// What kind of bytes it holds, and its name: `TYPE/NAME`.
    pub(crate) tag: String,
    /// The error that the bytes give, for a malformed example.
    pub(crate) error: Option<String>,
    pub(crate) lines: Vec<String>,
}

impl Doc {
    pub(crate) fn open(name: &str) -> Self {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/spec")).join(name);
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// The examples of one family, in the order of the document.
    pub(crate) fn blocks(&self, family: &str) -> Vec<Block> {
        let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
        for line in self.text.lines() {
            if let Some(block) = &mut open {
                if line == "```" {
                    blocks.extend(open.take());
                } else {
                    block.lines.push(line.to_owned());
                }
            } else if let Some(rest) = line.strip_prefix(&format!("```hex {family}:")) {
                let (tag, error) =
                    rest.split_once(' ').map_or((rest, None), |(tag, error)| (tag, Some(error)));
                open = Some(Block { tag: tag.into(), error: error.map(Into::into), lines: Vec::new() });
            }
        }
        assert!(open.is_none(), "a block of {} does not end", self.path.display());
        blocks
    }

    /// The one well-formed example with this tag.
    pub(crate) fn block(&self, family: &str, tag: &str) -> Block {
        let found = self.blocks(family).into_iter().find(|block| block.tag == tag && block.error.is_none());
        found.unwrap_or_else(|| panic!("{} has no block {family}:{tag}", self.path.display()))
    }

    /// Replaces the lines of an example if `SPEC_BLESS` is set.
    pub(crate) fn bless(&mut self, family: &str, tag: &str, lines: &[String]) {
        if std::env::var_os("SPEC_BLESS").is_none() {
            return;
        }
        let head = format!("```hex {family}:{tag}\n");
        let Some(start) = self.text.find(&head).map(|at| at + head.len()) else {
            panic!("{} has no block {family}:{tag}; it would be\n{}", self.path.display(), lines.join("\n"));
        };
        let end = start + self.text[start..].find("```").unwrap();
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.text.replace_range(start..end, &body);
        fs::write(&self.path, &self.text).unwrap();
    }

    /// Every kind has a row in a table of the document: its tag, then its name.
    pub(crate) fn has_rows_of(&self, kinds: &[KindOf]) {
        for KindOf { family, tag, name } in kinds {
            let row = format!("| {tag} | {name} |");
            assert!(self.text.contains(&row), "{}: no row `{row}` of {family}", self.path.display());
        }
    }
}

impl Block {
    /// The bytes of the example.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let digits = self.lines.iter().flat_map(|line| line.split('#').next().unwrap_or("").chars());
        let digits: Vec<u8> =
            digits.filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
        assert!(digits.len().is_multiple_of(2), "{}: half a byte", self.tag);
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

/// A variant of an enum that has a form of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct KindOf {
    pub(crate) family: &'static str,
    /// The tag, or whatever tells this variant from the others.
    pub(crate) tag: &'static str,
    pub(crate) name: &'static str,
}

/// A value of an enum whose variants the document lists.
pub(crate) trait Kind {
    fn kind(&self) -> KindOf;
}

/// Names every variant of some enums, with the tags and the names that the document gives them. A variant
/// that is not listed does not compile; one that is listed needs an example and a row in a table.
macro_rules! kinds {
    ($list:ident; $($enum:ident, $family:literal { $($variant:ident $tag:literal $name:literal,)* })*) => {
        pub(crate) const $list: &[$crate::doc::KindOf] = &[
            $($($crate::doc::KindOf { family: $family, tag: $tag, name: $name },)*)*
        ];
        $(impl $crate::doc::Kind for $enum {
            fn kind(&self) -> $crate::doc::KindOf {
                let (tag, name) = match self {
                    $(Self::$variant { .. } => ($tag, $name),)*
                };
                $crate::doc::KindOf { family: $family, tag, name }
            }
        })*
    };
}
pub(crate) use kinds;

/// Reads the bytes of a value field by field, and makes a line of each.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    indent: usize,
    pub(crate) lines: Vec<String>,
    pub(crate) seen: BTreeSet<KindOf>,
}

impl<'a> Walk<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, indent: 0, lines: Vec::new(), seen: BTreeSet::new() }
    }

    /// The next `len` bytes, which are the field `note`.
    pub(crate) fn take(&mut self, len: usize, note: &str) -> &'a [u8] {
        let (field, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        let mut note = format!("# {:1$}{note}", "", 2 * self.indent);
        for chunk in field.chunks(32) {
            let hex: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            self.lines.push(format!("{hex:<16}  {}", std::mem::take(&mut note)).trim_end().to_owned());
        }
        field
    }

    /// The bytes that are left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Leaves out what follows the value.
    pub(crate) const fn ignore_rest(&mut self) {
        self.bytes = &[];
    }

    /// A line without bytes.
    pub(crate) fn title(&mut self, text: &str) {
        self.lines.push(format!("# {:1$}{text}", "", 2 * self.indent));
    }

    /// What belongs to the field before it.
    pub(crate) fn inside(&mut self, walk: impl FnOnce(&mut Self)) {
        self.indent += 1;
        walk(self);
        self.indent -= 1;
    }

    /// Notes that a variant without a tag byte of its own was seen.
    pub(crate) fn saw(&mut self, value: &impl Kind) {
        self.seen.insert(value.kind());
    }

    /// A tag of one byte.
    pub(crate) fn kind(&mut self, value: &impl Kind) {
        let KindOf { family, tag, name } = value.kind();
        self.saw(value);
        let found = self.take(1, &format!("{family} = {tag} ({name})"));
        assert_eq!(found, [tag.parse::<u8>().unwrap()], "the tag of {family} {name}");
    }

    pub(crate) fn u8(&mut self, name: &str, expected: u8) {
        assert_eq!(self.take(1, &format!("{name} = {expected}")), [expected], "{name}");
    }

    pub(crate) fn flag(&mut self, name: &str, expected: bool) {
        assert_eq!(self.take(1, &format!("{name} = {expected}")), [u8::from(expected)], "{name}");
    }

    pub(crate) fn u32_le(&mut self, name: &str, expected: u32) {
        assert_eq!(self.take(4, &format!("{name} = {expected}")), expected.to_le_bytes(), "{name}");
    }

    pub(crate) fn u64_le(&mut self, name: &str, expected: u64) {
        assert_eq!(self.take(8, &format!("{name} = {expected}")), expected.to_le_bytes(), "{name}");
    }

    pub(crate) fn u64_be(&mut self, name: &str, expected: u64) {
        assert_eq!(self.take(8, &format!("{name} = {expected}")), expected.to_be_bytes(), "{name}");
    }

    /// A varint whose value is not known beforehand: seven bits a byte, the lowest first; the highest bit
    /// says that another byte follows.
    pub(crate) fn any_number(&mut self, name: &str) -> u64 {
        let len = 1 + self.bytes.iter().take_while(|byte| **byte >= 0x80).count();
        let septets = self.bytes[..len].iter().rev();
        let value = septets.fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        assert!(len == 1 || self.bytes[len - 1] != 0, "{name} is in its shortest form");
        self.take(len, &format!("{name} = {value}"));
        value
    }

    pub(crate) fn number(&mut self, name: &str, expected: u64) {
        assert_eq!(self.any_number(name), expected, "{name}");
    }

    /// Bytes of a fixed length.
    pub(crate) fn fixed(&mut self, name: &str, expected: &[u8]) {
        let readable = !expected.is_empty() && expected.iter().all(|byte| (0x20..0x7f).contains(byte));
        let text = || format!("{name} = {:?}", String::from_utf8_lossy(expected));
        let note = if readable { text() } else { name.to_owned() };
        assert_eq!(self.take(expected.len(), &note), expected, "{name}");
    }

    /// Bytes that the note explains.
    pub(crate) fn exact(&mut self, note: &str, expected: &[u8]) {
        assert_eq!(self.take(expected.len(), note), expected, "{note}");
    }

    /// Bytes that the value does not show.
    pub(crate) fn opaque(&mut self, name: &str, len: usize) {
        self.take(len, name);
    }

    /// A length, then so many bytes.
    pub(crate) fn bytes(&mut self, name: &str, expected: &[u8]) {
        self.number(&format!("bytes of {name}"), expected.len() as u64);
        self.fixed(name, expected);
    }

    pub(crate) fn hlc(&mut self, name: &str, stamp: Hlc) {
        let (ms, counter) = (stamp.physical_ms(), stamp.counter());
        let note = match stamp {
            Hlc::ZERO => format!("{name} = zero"),
            _ => format!("{name} = {ms} ms, counter {counter}, then the replica"),
        };
        let expected = [&stamp.time().to_le_bytes(), &stamp.replica().as_bytes()[..]].concat();
        assert_eq!(self.take(24, &note), expected, "{name}");
    }

    /// A length, then each item.
    pub(crate) fn list<T>(&mut self, name: &str, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(&format!("number of {name}"), items.len() as u64);
        self.inside(|walk| items.iter().for_each(|item| each(walk, item)));
    }

    /// A flag, then the item if there is one.
    pub(crate) fn option<T>(&mut self, name: &str, item: Option<&T>, each: impl FnOnce(&mut Self, &T)) {
        self.flag(&format!("has {name}"), item.is_some());
        if let Some(item) = item {
            self.inside(|walk| each(walk, item));
        }
    }
}

/// What reading the bytes of an example gives.
pub(crate) struct Walked {
    pub(crate) lines: Vec<String>,
    /// The value's encoding.
    pub(crate) again: Vec<u8>,
    pub(crate) seen: BTreeSet<KindOf>,
}

type Read = dyn Fn(&[u8]) -> Result<Walked, String>;

/// A value that the document shows the bytes of.
pub(crate) struct Example {
    pub(crate) tag: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) read: Box<Read>,
    /// The errors that the first bytes alone may give.
    pub(crate) cut: &'static [&'static str],
    /// How many of the last bytes may be missing.
    pub(crate) optional: usize,
    /// The error that one byte more gives; `None` where bytes after the value are not looked at.
    pub(crate) longer: Option<&'static str>,
    /// The error that any flipped bit gives; `None`: a typed error, or another value with just these bytes.
    pub(crate) flipped: Option<&'static str>,
}

/// Decodes, walks over the bytes, and encodes again.
pub(crate) fn read_with<T, E>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    error: impl Fn(E) -> String,
    encode: impl Fn(&T) -> Vec<u8>,
    walk: impl Fn(&T, &mut Walk<'_>),
) -> Result<Walked, String> {
    let value = decode(bytes).map_err(error)?;
    let mut steps = Walk::new(bytes);
    walk(&value, &mut steps);
    assert!(steps.rest().is_empty(), "bytes that the walk does not explain");
    Ok(Walked { again: encode(&value), lines: steps.lines, seen: steps.seen })
}

impl Example {
    pub(crate) fn new(
        tag: &str,
        bytes: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<Walked, String> + 'static,
    ) -> Self {
        let read = Box::new(read);
        Self {
            tag: tag.into(),
            bytes,
            read,
            cut: &["Truncated"],
            optional: 0,
            longer: Some("Trailing(1)"),
            flipped: None,
        }
    }

    /// An example of a type with a codec of its own.
    pub(crate) fn of<T>(tag: &str, value: &T, walk: fn(&T, &mut Walk<'_>)) -> Self
    where
        T: Encode + Decode + PartialEq + Debug + 'static,
    {
        let bytes = value.to_bytes();
        assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value), "{tag} decodes to itself");
        Self::new(tag, bytes, move |bytes| read_with(bytes, T::from_bytes, name_of, T::to_bytes, walk))
    }

    fn type_name(&self) -> &str {
        self.tag.split('/').next().unwrap()
    }
}

/// The name of an error in the document. What field it is about is said in words, and not fixed.
pub(crate) fn name_of(error: DecodeError) -> String {
    match error {
        DecodeError::Truncated { .. } => "Truncated".into(),
        DecodeError::Trailing { extra } => format!("Trailing({extra})"),
        DecodeError::TooLarge { found, limit, .. } => format!("TooLarge({found}, limit {limit})"),
        DecodeError::UnknownTag { found, .. } => format!("UnknownTag({found})"),
        DecodeError::NotCanonical { .. } => "NotCanonical".into(),
        DecodeError::Checksum => "Checksum".into(),
    }
}

/// Checks every example of a family: what it decodes to, what it encodes to, what becomes of it when it is
/// cut, prolonged or damaged; and that every kind has an example.
pub(crate) fn check(doc: &mut Doc, family: &str, examples: &[Example], kinds: &[KindOf]) {
    let mut seen = BTreeSet::new();
    for example in examples {
        let walked = (example.read)(&example.bytes).unwrap();
        doc.bless(family, &example.tag, &walked.lines);
        seen.extend(walked.seen);
    }
    for kind in kinds {
        assert!(seen.contains(kind), "no example of {kind:?}");
    }
    let blocks = doc.blocks(family);
    let (bad, good): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(|block| block.error.is_some());
    let in_doc: Vec<&str> = good.iter().map(|block| block.tag.as_str()).collect();
    let names: BTreeSet<&str> = in_doc.iter().copied().collect();
    assert_eq!(names.len(), in_doc.len(), "no tag is used twice");
    assert_eq!(names, examples.iter().map(|example| example.tag.as_str()).collect());
    for block in good {
        let example = examples.iter().find(|example| example.tag == block.tag).unwrap();
        let bytes = block.bytes();
        let walked = (example.read)(&bytes).unwrap();
        assert_eq!(walked.lines, block.lines, "{}: the fields that the document states", block.tag);
        assert_eq!(walked.again, bytes, "{}: encoded again", block.tag);
        assert_eq!(example.bytes, bytes, "{}: the value of the test", block.tag);
        damage(example);
    }
    for block in bad {
        let same_type = |example: &&Example| block.tag.starts_with(&format!("{}/", example.type_name()));
        let example =
            examples.iter().find(same_type).unwrap_or_else(|| panic!("no decoder for {}", block.tag));
        let found = (example.read)(&block.bytes()).err();
        assert_eq!(found, block.error, "{}", block.tag);
    }
}

fn damage(example: &Example) {
    let Example { tag, bytes, read, .. } = example;
    for cut in 0..bytes.len() - example.optional {
        let error = read(&bytes[..cut]).err().unwrap_or_else(|| panic!("{tag}: {cut} bytes are a value"));
        assert!(example.cut.contains(&error.as_str()), "{tag} cut to {cut} bytes: {error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer).err().as_deref(), example.longer, "{tag} and one byte more");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match (read(&flipped), example.flipped) {
            (Ok(walked), None) if example.longer.is_none() => {
                // Bytes that are not looked at, or a last field that may be missing, are no difference.
                let common = flipped.len().min(walked.again.len());
                let missing = walked.again.len() - common;
                assert!(missing <= example.optional, "{tag}: bit {bit} loses bytes");
                assert_eq!(walked.again[..common], flipped[..common], "{tag}: bit {bit} gives another value");
            }
            (Ok(walked), None) => assert_eq!(walked.again, flipped, "{tag}: bit {bit} gives another value"),
            (Ok(_), Some(_)) => panic!("{tag}: bit {bit} is not noticed"),
            (Err(error), Some(expected)) => assert_eq!(error, expected, "{tag}: bit {bit}"),
            (Err(_), None) => {}
        }
    }
}
