//! The canonical bytes of a text.
//!
//! A table lists each replica once, ascending; runs and deletions refer to replicas by their index in it.

use std::collections::BTreeSet;
use syncline_crdt::{CharId, RunId, Side, Text, TextRun};
use syncline_types::{DecodeError, Hlc, Reader, ReplicaId, Writer, limits};

const NO_ANCHOR: u8 = 0;
const LEFT: u8 = 1;
const RIGHT: u8 = 2;
/// On the left of nothing. No honest replica writes such a run, but it must round-trip.
const LEFT_OF_NOTHING: u8 = 3;

/// Every replica that wrote a run or that an anchor or a deletion refers to.
fn replicas(text: &Text) -> BTreeSet<ReplicaId> {
    let anchors = text.runs().filter_map(|(_, run)| run.anchor.map(|anchor| anchor.run));
    let runs = text.runs().map(|(id, _)| *id).chain(text.deleted().map(|(id, _)| *id)).chain(anchors);
    runs.map(|id| id.stamp.replica()).collect()
}

pub(crate) fn encode(text: &Text, out: &mut Writer) {
    let replicas: Vec<ReplicaId> = replicas(text).into_iter().collect();
    out.list(&replicas);
    let put_id = |out: &mut Writer, id: &RunId| {
        let index = replicas.binary_search(&id.stamp.replica());
        debug_assert!(index.is_ok(), "the table lists every replica that the text refers to");
        out.varint(id.stamp.time());
        out.varint(index.unwrap_or_default() as u64);
        out.varint(u64::from(id.number));
    };
    out.varint(text.runs().len() as u64);
    for (id, run) in text.runs() {
        put_id(out, id);
        match (run.anchor, run.side) {
            (None, Side::Right) => out.u8(NO_ANCHOR),
            (None, Side::Left) => out.u8(LEFT_OF_NOTHING),
            (Some(anchor), side) => {
                out.u8(if side == Side::Left { LEFT } else { RIGHT });
                put_id(out, &anchor.run);
                out.varint(u64::from(anchor.at));
            }
        }
        out.bytes(run.chars.as_bytes());
    }
    out.varint(text.deleted().len() as u64);
    for (id, ranges) in text.deleted() {
        put_id(out, id);
        out.varint(ranges.len() as u64);
        // Gaps and lengths. All are at least one, except for the first gap: adjacent ranges are merged.
        let mut at = 0;
        for (start, end) in ranges {
            out.varint(u64::from(start - at));
            out.varint(u64::from(end - start));
            at = *end;
        }
    }
}

pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Text, DecodeError> {
    const NOT_CANONICAL: DecodeError = DecodeError::NotCanonical { what: "a text" };
    let table: Vec<ReplicaId> = input.list(usize::MAX, "the writers of a text")?;
    let get_id = |input: &mut Reader<'_>| -> Result<RunId, DecodeError> {
        let time = input.varint()?;
        let replica =
            usize::try_from(input.varint()?).ok().and_then(|at| table.get(at)).ok_or(NOT_CANONICAL)?;
        let number = u32::try_from(input.varint()?).map_err(|_| NOT_CANONICAL)?;
        Ok(RunId { stamp: Hlc::new(time >> 16, time as u16, *replica), number })
    };
    let small = |input: &mut Reader<'_>| u32::try_from(input.varint()?).map_err(|_| NOT_CANONICAL);
    let len = input.length(usize::MAX, "the runs of a text")?;
    let mut runs: Vec<(RunId, TextRun)> = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let id = get_id(input)?;
        if runs.last().is_some_and(|(last, _)| *last >= id) {
            return Err(NOT_CANONICAL);
        }
        let (side, anchored) = match input.u8()? {
            NO_ANCHOR => (Side::Right, false),
            LEFT => (Side::Left, true),
            RIGHT => (Side::Right, true),
            LEFT_OF_NOTHING => (Side::Left, false),
            tag => return Err(DecodeError::UnknownTag { what: "anchor of a run", found: u64::from(tag) }),
        };
        let anchor = if anchored { Some(CharId { run: get_id(input)?, at: small(input)? }) } else { None };
        let chars = std::str::from_utf8(input.bytes(limits::MAX_VALUE_BYTES, "a run of text")?);
        let chars = chars.ok().filter(|chars| !chars.is_empty()).ok_or(NOT_CANONICAL)?;
        runs.push((id, TextRun { chars: chars.into(), anchor, side }));
    }
    let len = input.length(usize::MAX, "the deletions of a text")?;
    let mut deleted: Vec<(RunId, Vec<(u32, u32)>)> = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let id = get_id(input)?;
        if deleted.last().is_some_and(|(last, _)| *last >= id) {
            return Err(NOT_CANONICAL);
        }
        let count = input.length(usize::MAX, "the ranges of a deletion")?;
        let mut ranges = Vec::with_capacity(count.min(64));
        let mut at = 0u32;
        for n in 0..count {
            let gap = small(input)?;
            let length = small(input)?;
            if length == 0 || gap == 0 && n > 0 {
                return Err(NOT_CANONICAL);
            }
            let start = at.checked_add(gap).ok_or(NOT_CANONICAL)?;
            at = start.checked_add(length).ok_or(NOT_CANONICAL)?;
            ranges.push((start, at));
        }
        if ranges.is_empty() {
            return Err(NOT_CANONICAL);
        }
        deleted.push((id, ranges));
    }
    let text = Text::from_parts(runs, deleted);
    // A table with other replicas, or in another order, would be a second encoding of the same text.
    if !replicas(&text).into_iter().eq(table.iter().copied()) {
        return Err(NOT_CANONICAL);
    }
    Ok(text)
}
