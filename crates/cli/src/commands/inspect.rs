//! `syncline inspect`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::InspectArgs;
use crate::output::inspect_report::{EntityReport, InspectReport};
use crate::output::json;
use crate::output::text::hex;
use crate::output::writer::Output;
use std::collections::BTreeSet;
use syncline_disk::{DiskStore, DiskStoreView};
use syncline_storage::{Interface, StorageError, record_page};
use syncline_types::EntityId;

/// Shows a store and one of its entities. The store is not changed, and need not be writable.
pub(crate) fn inspect(args: &InspectArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let opened = DiskStore::open_read_only(&args.path).map_err(|error| error.to_string())?;
    let mut state = Interface::open(opened.view()).map_err(|error| error.to_string())?;
    let id = match &args.entity {
        None => EntityId::ROOT,
        Some(prefix) => find(&mut state, prefix)?,
    };
    let stats = state.stats().map_err(|error| error.to_string())?;
    let entity = entity(&mut state, id, args.depth, args.limit).map_err(|error| error.to_string())?;
    let report = InspectReport::of(&stats, entity.ok_or("the state is empty")?);
    if args.json {
        json::print(&report, out)?;
    } else {
        report.print(args.entity.is_some(), out)?;
    }
    Ok(Ending::Good)
}

/// The only entity whose id begins with these hexadecimal digits. Records are not stored in the order of their ids, so
/// that all of them are read, page by page, unless the digits are those of a whole id.
fn find(state: &mut Interface<DiskStoreView>, prefix: &str) -> Result<EntityId, String> {
    const PAGE: usize = 1 << 20;
    let mut first = [0; 32];
    for (at, digit) in prefix.bytes().enumerate() {
        let digit = (digit as char).to_digit(16).unwrap_or_default() as u8;
        first[at / 2] |= if at % 2 == 0 { digit << 4 } else { digit };
    }
    let whole = EntityId(first);
    if prefix.len() == 64 && state.record(whole).map_err(|error| error.to_string())?.is_some() {
        return Ok(whole);
    }
    // The two least, so that the message does not depend on the order of rows.
    let mut matching = BTreeSet::new();
    let mut after = None;
    loop {
        let page = record_page(state.view(), after, PAGE).map_err(|error| error.to_string())?;
        after = page.records.last().map(|(id, _)| *id);
        let ids = page.records.iter().map(|(id, _)| *id);
        matching.extend(ids.filter(|id| hex(&id.0).starts_with(prefix)));
        while matching.len() > 2 {
            matching.pop_last();
        }
        if page.is_last {
            break;
        }
    }
    let mut matching = matching.into_iter();
    match (matching.next(), matching.next()) {
        (None, _) => Err(format!("no entity has an id that begins with {prefix}")),
        (Some(id), None) => Ok(id),
        (Some(one), Some(two)) => Err(format!("{prefix} begins the ids {one}… and {two}…; give more digits")),
    }
}

/// An entity with its descendants down to `depth` levels below it, and at most `limit` children of each. `None`
/// if there is no such entity.
fn entity(
    state: &mut Interface<DiskStoreView>,
    id: EntityId,
    depth: u32,
    limit: usize,
) -> Result<Option<EntityReport>, StorageError> {
    let Some(record) = state.record(id)? else { return Ok(None) };
    let Some(entry) = state.entry(id)? else { return Ok(None) };
    let mut children = Vec::new();
    // One more than is shown says whether there are more.
    let entries = if depth > 0 { state.children(id, None, limit.saturating_add(1))? } else { Vec::new() };
    for child in entries.iter().take(limit) {
        children.extend(entity(state, child.id, depth - 1, limit)?);
    }
    let more = if depth > 0 { entries.len() > limit } else { !entry.kids.is_zero() };
    let visible = id == EntityId::ROOT || state.is_visible(id)?;
    Ok(Some(EntityReport::of(&record, &entry, visible, children, more)))
}
