//! Golden frames: the bytes of every kind of frame as the first build of a version sent them.
//!
//! Unlike the examples of the document, golden frames cannot be regenerated: within a version their bytes never
//! change. `SYNCLINE_UPDATE_GOLDEN=1` writes those of a version that has none yet, and adds frames of kinds that the
//! version has already. It refuses everything else.

use super::doc::{KindOf, Walk};
use super::samples::{self, CONTEXT};
use super::walk;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use syncline_sync::*;

/// The oldest version whose frames this build reads.
const OLDEST: u32 = SYNC_PROTOCOL_VERSION;

/// Frames as bytes, by name.
type Frames = BTreeMap<String, Vec<u8>>;

fn path(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/frames-v{version}.hex"))
}

fn read(version: u32) -> Option<Frames> {
    let text = fs::read_to_string(path(version)).ok()?;
    let frame = |line: &str| {
        let (name, digits) = line.split_once(' ').expect("a name and its bytes");
        let bytes =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        (name.to_owned(), bytes.collect())
    };
    Some(text.lines().filter(|line| !line.starts_with('#')).map(frame).collect())
}

fn text_of(frames: &Frames) -> String {
    let head = "# Golden frames: see crates/core/sync/tests/wire_spec/golden.rs. Do not edit.\n".to_owned();
    frames.iter().fold(head, |text, (name, bytes)| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text + name + " " + &digits + "\n"
    })
}

/// The frames that this build sends.
fn ours() -> Frames {
    let frame = |message| Frame { incarnation: 3, message }.to_wire(CONTEXT);
    samples::messages().into_iter().map(|(name, message)| (name.to_owned(), frame(message))).collect()
}

/// The kinds in a frame of this version.
fn kinds_of(bytes: &[u8]) -> BTreeSet<KindOf> {
    let Frame { incarnation: _, message } = Frame::from_wire(bytes, CONTEXT).unwrap();
    let body = syncline_types::Encode::to_bytes(&message);
    let mut steps = Walk::new(&body);
    walk::message(&message, &mut steps);
    steps.seen
}

/// What the golden frames of the present version become, if this build sends `ours` and they are `golden` so far.
fn update(golden: Option<&Frames>, ours: &Frames) -> Result<Frames, String> {
    let Some(golden) = golden else { return Ok(ours.clone()) };
    let raise =
        |what: String| Err(format!("{what}: raise SYNC_PROTOCOL_VERSION, which is {SYNC_PROTOCOL_VERSION}"));
    let known: BTreeSet<KindOf> = golden.values().flat_map(|bytes| kinds_of(bytes)).collect();
    for (name, bytes) in ours {
        match golden.get(name) {
            Some(old) if old == bytes => {}
            Some(_) => return raise(format!("the frame {name} has other bytes than before")),
            None if kinds_of(bytes).is_subset(&known) => {}
            None => return raise(format!("the frame {name} is of a new kind")),
        }
    }
    match golden.keys().find(|name| !ours.contains_key(*name)) {
        Some(gone) => raise(format!("the frame {gone} is gone")),
        None => Ok(ours.clone()),
    }
}

#[test]
fn golden_frames_are_read_and_sent() {
    let ours = ours();
    if std::env::var_os("SYNCLINE_UPDATE_GOLDEN").is_some() {
        let updated = update(read(SYNC_PROTOCOL_VERSION).as_ref(), &ours).unwrap();
        fs::write(path(SYNC_PROTOCOL_VERSION), text_of(&updated)).unwrap();
    }
    let golden = read(SYNC_PROTOCOL_VERSION).expect("golden frames: SYNCLINE_UPDATE_GOLDEN=1 writes them");
    assert_eq!(update(Some(&golden), &ours), Ok(golden.clone()), "the golden frames are those of this build");
    for (name, bytes) in &golden {
        let frame = Frame::from_wire(bytes, CONTEXT).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(frame.to_wire(CONTEXT), *bytes, "{name}");
        let (_, message) = samples::messages().into_iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(frame, Frame { incarnation: 3, message }, "{name}");
    }
    // Frames of versions in between are still read; a handshake of an older one is answered with both versions.
    for version in 1..SYNC_PROTOCOL_VERSION {
        let Some(golden) = read(version) else { continue };
        for (name, bytes) in golden {
            let frame = Frame::from_wire(&bytes, CONTEXT);
            assert!(version < OLDEST || frame.is_ok(), "{name} of version {version}");
            if name == "handshake" && version < OLDEST {
                let is_older = match frame.unwrap().message {
                    Message::Request { request: Request::Handshake(theirs), .. } => theirs.version == version,
                    Message::Request {
                        request: Request::ForeignHandshake { version: found, .. }, ..
                    } => found == version,
                    _ => false,
                };
                assert!(is_older, "a handshake of version {version}");
            }
        }
    }
}

/// Golden frames change with the version only.
#[test]
fn golden_frames_refuse_other_bytes() {
    let ours = ours();
    assert_eq!(update(None, &ours).unwrap(), ours, "a version without golden frames gets them");
    let without = |name: &str| {
        let mut frames = ours.clone();
        frames.remove(name).unwrap();
        frames
    };
    let refused = |golden: &Frames, ours: &Frames| {
        let why = update(Some(golden), ours).unwrap_err();
        assert!(why.contains("raise SYNC_PROTOCOL_VERSION"), "{why}");
        why
    };
    let mut changed = ours.clone();
    changed.insert("heartbeat".into(), ours["delta"].clone());
    assert!(refused(&changed, &ours).contains("heartbeat has other bytes"));
    assert!(refused(&ours, &without("rejection-yield")).contains("rejection-yield is gone"));
    assert!(refused(&without("rejection-yield"), &ours).contains("rejection-yield is of a new kind"));
    // Another example of what the version has already.
    assert_eq!(update(Some(&without("snapshot-page-reply-compressed")), &ours).unwrap(), ours);
}
