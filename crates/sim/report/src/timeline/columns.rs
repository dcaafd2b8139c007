//! Converts a history into columns of numbers: compact enough for a page with a hundred thousand events.

use serde::Serialize;
use std::collections::BTreeMap;
use sync_sim_engine::history::{EntryKind, Fate, FrameCopy, FrameRecord, History, HistoryEntry, Note};
use sync_sim_engine::network::DropCause;

/// The frames of a timeline, one column per property, one row per copy: a duplicate has a row of its own.
/// Times are in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Frames {
    pub(super) from: Vec<u32>,
    pub(super) to: Vec<u32>,
    pub(super) sent: Vec<u64>,
    pub(super) end: Vec<u64>,
    pub(super) kind: Vec<u8>,
    pub(super) fate: Vec<u8>,
    pub(super) bytes: Vec<usize>,
    pub(super) protocol: Vec<u8>,
    /// For a duplicate, the row of the original; -1 for an original.
    #[serde(rename = "copyOf")]
    pub(super) copy_of: Vec<i64>,
}

/// The state digests of one node over time: since when (`t`, in microseconds) and which (`d`, an index into
/// the names).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Digests {
    pub(super) t: Vec<u64>,
    pub(super) d: Vec<usize>,
}

/// An event at one moment, such as a write or a crash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Mark {
    pub(super) t: u64,
    pub(super) node: Option<u32>,
    pub(super) what: &'static str,
    pub(super) text: String,
    pub(super) bad: bool,
}

/// A state or activity with a duration, such as a session or a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Span {
    pub(super) what: &'static str,
    pub(super) node: Option<u32>,
    pub(super) peer: Option<u32>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) text: String,
}

/// All columns of a timeline.
pub(super) struct Columns {
    pub(super) fates: Vec<&'static str>,
    pub(super) lost_on_way: Vec<bool>,
    pub(super) harmless: Vec<bool>,
    pub(super) protocols: Vec<String>,
    pub(super) frames: Frames,
    pub(super) digest_names: Vec<String>,
    pub(super) digests: Vec<Digests>,
    pub(super) marks: Vec<Mark>,
    pub(super) spans: Vec<Span>,
}

const DELIVERED: u8 = 0;
const ON_ITS_WAY: u8 = 1;
const UNRECORDED: u8 = 2;
/// The number of the first drop cause; the others follow in the order of [`DropCause::ALL`].
const DROPPED: u8 = 3;

impl Columns {
    pub(crate) fn of(history: &History, end: u64) -> Self {
        let mut fates = vec!["delivered", "still on its way", "unrecorded"];
        fates.extend(DropCause::ALL.iter().map(|cause| cause.words()));
        let mut lost_on_way = vec![false, true, true];
        lost_on_way.extend(DropCause::ALL.iter().map(|cause| is_lost_on_way(*cause)));
        let mut harmless = vec![false, true, false];
        harmless.extend(DropCause::ALL.iter().map(|cause| *cause == DropCause::DuplicateSuppressed));
        let (digest_names, digests) = digests(history);
        let spans = spans(history, end);
        let (protocols, frames) = frames(history, &spans, end);
        Self {
            fates,
            lost_on_way,
            harmless,
            protocols,
            frames,
            digest_names,
            digests,
            marks: marks(history),
            spans,
        }
    }
}

/// Whether a frame that was dropped for this cause never reached its receiver.
const fn is_lost_on_way(cause: DropCause) -> bool {
    matches!(
        cause,
        DropCause::Loss
            | DropCause::PartitionAtSend
            | DropCause::PartitionAtDelivery
            | DropCause::ReceiverUnknown
            | DropCause::NoLink
            | DropCause::Rule
    )
}

/// The index of a fate in [`Columns::fates`].
fn fate_number(fate: Fate) -> u8 {
    match fate {
        Fate::Delivered => DELIVERED,
        Fate::InFlight => ON_ITS_WAY,
        Fate::Unrecorded => UNRECORDED,
        Fate::Dropped(cause) => {
            let at = DropCause::ALL.iter().position(|other| *other == cause);
            DROPPED + at.expect("`DropCause::ALL` lists every cause") as u8
        }
    }
}

/// The start and end of a session in microseconds, and the number of its protocol.
type SessionSpan = (u64, u64, u8);

/// The names of the protocols that sessions ran, and the columns of all frames.
fn frames(history: &History, spans: &[Span], end: u64) -> (Vec<String>, Frames) {
    let mut protocols = vec![String::new()];
    let mut sessions: BTreeMap<(u32, u32), Vec<SessionSpan>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.what == "session") {
        let node = span.node.expect("a session runs on a node");
        let peer = span.peer.expect("a session has a peer");
        let name = span.text.split(':').next().unwrap_or_default();
        let at = protocols.iter().position(|known| known == name).unwrap_or_else(|| {
            protocols.push(name.to_owned());
            protocols.len() - 1
        });
        sessions.entry((node.min(peer), node.max(peer))).or_default().push((span.from, span.to, at as u8));
    }
    let protocol_of = |frame: &FrameRecord| {
        // Gossip belongs to no session, even if one runs between the same nodes at that time.
        let pair = (frame.from.0.min(frame.to.0), frame.from.0.max(frame.to.0));
        let own = matches!(history.kind(frame), "Delta" | "DeltaFetch" | "Heartbeat");
        let during = |(from, to, _): &&SessionSpan| (*from..=*to).contains(&frame.at_us);
        let session = sessions.get(&pair).filter(|_| !own)?.iter().find(during)?;
        Some(session.2)
    };
    let mut rows: Vec<(&FrameRecord, &FrameCopy, bool)> = Vec::with_capacity(history.frames.len());
    for frame in &history.frames {
        for (at, copy) in frame.copies.iter().enumerate() {
            rows.push((frame, copy, at > 0));
        }
    }
    let mut columns = Frames::default();
    for (frame, copy, again) in rows {
        let row = columns.sent.len() as i64;
        columns.from.push(frame.from.0);
        columns.to.push(frame.to.0);
        columns.sent.push(frame.at_us);
        // A frame in flight is drawn up to the end of the run at most.
        columns.end.push(if copy.fate == Fate::InFlight {
            copy.at_us.min(end.max(frame.at_us))
        } else {
            copy.at_us
        });
        columns.kind.push(frame.kind);
        columns.fate.push(fate_number(copy.fate));
        columns.bytes.push(frame.bytes);
        columns.protocol.push(protocol_of(frame).unwrap_or_default());
        columns.copy_of.push(if again { row - 1 } else { -1 });
    }
    assert_eq!(columns.from.len(), columns.copy_of.len(), "all columns have a value for every row");
    (protocols, columns)
}

fn digests(history: &History) -> (Vec<String>, Vec<Digests>) {
    let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
    let mut names = Vec::new();
    let mut digests = vec![Digests::default(); history.nodes.len()];
    for entry in &history.entries {
        // Entries without a node, such as partitions, change no state.
        let Some(own) = entry.node.and_then(|node| digests.get_mut(node.index())) else { continue };
        if !own.t.is_empty() && !entry.changed {
            continue;
        }
        // Digests are numbered in the order of their first appearance; the viewer compares numbers.
        let number = *numbers.entry(entry.digest).or_insert_with(|| {
            names.push(format!("{:016x}", entry.digest.swap_bytes()));
            names.len() - 1
        });
        if own.d.last() != Some(&number) {
            own.t.push(entry.at_us);
            own.d.push(number);
        }
    }
    (names, digests)
}

fn marks(history: &History) -> Vec<Mark> {
    let mut marks = Vec::new();
    for entry in &history.entries {
        let node = entry.node.map(|node| node.0);
        let mut mark = |what, text: String, bad| marks.push(Mark { t: entry.at_us, node, what, text, bad });
        match &entry.what {
            EntryKind::Restart => mark("restart", String::new(), false),
            EntryKind::Leave => mark("leave", String::new(), false),
            EntryKind::Return => mark("return", String::new(), false),
            EntryKind::Join => mark("join", String::new(), false),
            EntryKind::Retire => mark("retire", String::new(), true),
            EntryKind::Write { .. } => mark("write", bare(history, entry), false),
            _ => {}
        }
        for (context, note) in entry.notes.iter().map(Note::in_context) {
            let said = |text: &str| said_of(context, text);
            match note {
                Note::DeltaApplied { actions } => {
                    mark("delta applied", said(&format!("{actions} actions")), false);
                }
                Note::DeltaRefused { why } => mark("delta refused", said(why), true),
                Note::AheadOfTime { who } => mark("ahead of time", said(who), true),
                Note::WriteRefused { why } => mark("write refused", said(why), false),
                Note::Forgot { records } => mark("forgot", said(&format!("{records} records")), false),
                Note::WentDown => mark("crash", bare(history, entry), true),
                _ => {}
            }
        }
    }
    marks
}

/// Prefixes a text with its context, unless it is the first context, which most runs have alone.
fn said_of(context: usize, text: &str) -> String {
    if context == 0 { text.to_owned() } else { format!("in context {context}: {text}") }
}

/// The text of an entry without its time and node, which the viewer shows elsewhere.
fn bare(history: &History, entry: &HistoryEntry) -> String {
    let words = history.words(entry);
    words.split_once(": ").map_or_else(|| words.clone(), |(_, words)| words.to_owned())
}

/// The spans that have begun and not ended, while the entries are processed in order.
#[derive(Default)]
struct Open {
    down: BTreeMap<u32, u64>,
    away: BTreeMap<u32, u64>,
    partitions: BTreeMap<u64, (u64, String)>,
}

fn spans(history: &History, end: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut open = Open::default();
    for entry in &history.entries {
        open.process(history, entry, &mut spans);
    }
    let lasting = |what, (node, from): (u32, u64)| Span {
        what,
        node: Some(node),
        peer: None,
        from,
        to: end,
        text: String::new(),
    };
    spans.extend(open.down.into_iter().map(|down| lasting("down", down)));
    spans.extend(open.away.into_iter().map(|away| lasting("away", away)));
    for (_, (from, text)) in open.partitions {
        spans.push(Span { what: "partition", node: None, peer: None, from, to: end, text });
    }
    spans.sort_by_key(|span| (span.from, span.node));
    spans
}

impl Open {
    fn process(&mut self, history: &History, entry: &HistoryEntry, spans: &mut Vec<Span>) {
        let at = entry.at_us;
        let node = entry.node.map(|node| node.0);
        let mut close = |what, node, from: Option<u64>| {
            if let Some(from) = from {
                spans.push(Span { what, node: Some(node), peer: None, from, to: at, text: String::new() });
            }
        };
        match (&entry.what, node) {
            (EntryKind::Leave, Some(node)) => {
                self.away.entry(node).or_insert(at);
            }
            (EntryKind::Return, Some(node)) => close("away", node, self.away.remove(&node)),
            _ => {}
        }
        for note in &entry.notes {
            match (note, node) {
                (Note::WentDown, Some(node)) => {
                    // A node that crashes again while it is down stays down: the span began with the first.
                    self.down.entry(node).or_insert(at);
                }
                (Note::CameBack, Some(node)) => close("down", node, self.down.remove(&node)),
                _ => {}
            }
        }
        for (context, note) in entry.notes.iter().map(Note::in_context) {
            if let (Note::SessionEnded { peer, started_at_us, protocol, why, .. }, Some(_)) = (note, node) {
                let protocol = protocol.as_deref().unwrap_or("none");
                let text = said_of(context, &format!("{protocol}: {why}"));
                spans.push(Span {
                    what: "session",
                    node,
                    peer: Some(peer.0),
                    from: *started_at_us,
                    to: at,
                    text,
                });
            }
        }
        match &entry.what {
            EntryKind::PartitionStart { partition, cut } => {
                let text = cut.as_ref().map_or_else(String::new, |cut| history.cut_words(cut));
                self.partitions.insert(*partition, (at, text));
            }
            EntryKind::PartitionEnd { partition } => {
                if let Some((from, text)) = self.partitions.remove(partition) {
                    spans.push(Span { what: "partition", node: None, peer: None, from, to: at, text });
                }
            }
            _ => {}
        }
    }
}
