//! The canonical bytes of a text.
//!
//! Replicas are named once, in a table; runs and deletions then refer to them by number.

use std::collections::BTreeSet;
use syncline_crdt::{CharId, RunId, Side, Text, TextRun};
use syncline_types::{DecodeError, Hlc, Reader, ReplicaId, Writer, limits};

const NO_ANCHOR: u8 = 0;
const LEFT: u8 = 1;
const RIGHT: u8 = 2;
/// Anchored to nothing on the left: no honest replica does that.
const LEFT_OF_NOTHING: u8 = 3;

fn replicas(text: &Text) -> BTreeSet<ReplicaId> {
    let anchors = text.runs().filter_map(|(_, run)| run.anchor.map(|anchor| anchor.run));
    let runs = text.runs().map(|(id, _)| *id).chain(text.deleted().map(|(id, _)| *id)).chain(anchors);
    runs.map(|id| id.stamp.replica()).collect()
}

pub(crate) fn encode(text: &Text, out: &mut Writer) {
    let replicas: Vec<ReplicaId> = replicas(text).into_iter().collect();
    out.list(&replicas);
    let name = |out: &mut Writer, id: &RunId| {
        out.varint(id.stamp.time());
        out.varint(replicas.binary_search(&id.stamp.replica()).unwrap_or_default() as u64);
        out.varint(u64::from(id.number));
    };
    out.varint(text.runs().len() as u64);
    for (id, run) in text.runs() {
        name(out, id);
        match (run.anchor, run.side) {
            (None, Side::Right) => out.u8(NO_ANCHOR),
            (None, Side::Left) => out.u8(LEFT_OF_NOTHING),
            (Some(anchor), side) => {
                out.u8(if side == Side::Left { LEFT } else { RIGHT });
                name(out, &anchor.run);
                out.varint(u64::from(anchor.at));
            }
        }
        out.bytes(run.chars.as_bytes());
    }
    out.varint(text.deleted().len() as u64);
    for (id, ranges) in text.deleted() {
        name(out, id);
        out.varint(ranges.len() as u64);
        // Gaps and lengths, each at least one but for the first gap.
        let mut at = 0;
        for (start, end) in ranges {
            out.varint(u64::from(start - at));
            out.varint(u64::from(end - start));
            at = *end;
        }
    }
}

pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Text, DecodeError> {
    const WRONG: DecodeError = DecodeError::NotCanonical { what: "a text" };
    let table: Vec<ReplicaId> = input.list(usize::MAX, "the writers of a text")?;
    let name = |input: &mut Reader<'_>| -> Result<RunId, DecodeError> {
        let time = input.varint()?;
        let replica = usize::try_from(input.varint()?).ok().and_then(|at| table.get(at)).ok_or(WRONG)?;
        let number = u32::try_from(input.varint()?).map_err(|_| WRONG)?;
        Ok(RunId { stamp: Hlc::new(time >> 16, time as u16, *replica), number })
    };
    let small = |input: &mut Reader<'_>| u32::try_from(input.varint()?).map_err(|_| WRONG);
    let len = input.length(usize::MAX, "the runs of a text")?;
    let mut runs: Vec<(RunId, TextRun)> = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let id = name(input)?;
        if runs.last().is_some_and(|(last, _)| *last >= id) {
            return Err(WRONG);
        }
        let (side, anchored) = match input.u8()? {
            NO_ANCHOR => (Side::Right, false),
            LEFT => (Side::Left, true),
            RIGHT => (Side::Right, true),
            LEFT_OF_NOTHING => (Side::Left, false),
            tag => return Err(DecodeError::UnknownTag { what: "anchor of a run", found: u64::from(tag) }),
        };
        let anchor = if anchored { Some(CharId { run: name(input)?, at: small(input)? }) } else { None };
        let chars = std::str::from_utf8(input.bytes(limits::MAX_VALUE_BYTES, "a run of text")?);
        let chars = chars.ok().filter(|chars| !chars.is_empty()).ok_or(WRONG)?;
        runs.push((id, TextRun { chars: chars.into(), anchor, side }));
    }
    let len = input.length(usize::MAX, "the deletions of a text")?;
    let mut deleted: Vec<(RunId, Vec<(u32, u32)>)> = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let id = name(input)?;
        if deleted.last().is_some_and(|(last, _)| *last >= id) {
            return Err(WRONG);
        }
        let count = input.length(usize::MAX, "the ranges of a deletion")?;
        let (mut ranges, mut at) = (Vec::with_capacity(count.min(64)), 0u32);
        for n in 0..count {
            let (gap, length) = (small(input)?, small(input)?);
            if length == 0 || gap == 0 && n > 0 {
                return Err(WRONG);
            }
            let start = at.checked_add(gap).ok_or(WRONG)?;
            at = start.checked_add(length).ok_or(WRONG)?;
            ranges.push((start, at));
        }
        if ranges.is_empty() {
            return Err(WRONG);
        }
        deleted.push((id, ranges));
    }
    let text = Text::from_parts(runs, deleted);
    // The table names just those who are referred to, ascending.
    if !replicas(&text).into_iter().eq(table.iter().copied()) {
        return Err(WRONG);
    }
    Ok(text)
}
