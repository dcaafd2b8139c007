//! `syncline inspect`.

use crate::Ending;
use crate::report::{grouped, table};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use syncline_disk::{DiskStore, DiskStoreView};
use syncline_storage::{Entry, Interface, Record, StorageError, record_page};
use syncline_store::Store;
use syncline_types::{EntityId, Hlc};

/// The flags of `inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArgs {
    /// The folder of the store.
    path: PathBuf,

    /// The entity to show, by the first hexadecimal digits of its id; the root if not given.
    #[arg(value_parser = prefix)]
    entity: Option<String>,

    /// How many levels below it to show.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    depth: u32,

    /// How many children of one entity to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("an id is up to 64 hexadecimal digits".into());
    }
    Ok(text.to_ascii_lowercase())
}

/// A state and an entity of it, as machines read them. Field names are stable.
#[derive(Serialize)]
struct InspectReport {
    root: String,
    records: u64,
    live: u64,
    /// Live records of which nobody has told the type.
    opaque: u64,
    depth: u32,
    /// How often the state has changed.
    generation: u64,
    entity: EntityReport,
}

#[derive(Serialize)]
struct EntityReport {
    id: String,
    #[serde(rename = "type")]
    crdt_type: String,
    label: Option<String>,
    /// Whether an application sees it.
    visible: bool,
    created: String,
    updated: String,
    deleted: String,
    parent: String,
    depth: u32,
    /// The digest of the record.
    own_hash: String,
    /// The root of its children.
    children_root: String,
    /// The record in words.
    record: String,
    children: Vec<Self>,
    /// Whether there are more children than are shown.
    more: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Shows a store.
pub(crate) fn inspect(args: &InspectArgs) -> Result<Ending, String> {
    let opened = DiskStore::open_existing(&args.path).map_err(|error| error.to_string())?;
    let mut state = Interface::open(opened.view()).map_err(|error| error.to_string())?;
    let id = match &args.entity {
        None => EntityId::ROOT,
        Some(prefix) => find(&state, prefix)?,
    };
    let stats = state.stats().map_err(|error| error.to_string())?;
    let entity = entity(&mut state, id, args.depth, args.limit).map_err(|error| error.to_string())?;
    let report = InspectReport {
        root: format!("{:#}", stats.root),
        records: stats.records,
        live: stats.live,
        opaque: stats.opaque,
        depth: stats.max_depth(),
        generation: stats.generation,
        entity: entity.ok_or("the state is empty")?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report, args);
    }
    Ok(Ending::Good)
}

/// The one entity whose id begins with these digits.
fn find(state: &Interface<DiskStoreView>, prefix: &str) -> Result<EntityId, String> {
    let mut first = [0; 32];
    for (at, digit) in prefix.bytes().enumerate() {
        let digit = (digit as char).to_digit(16).unwrap_or_default() as u8;
        first[at / 2] |= if at % 2 == 0 { digit << 4 } else { digit };
    }
    let after = EntityId(first).predecessor();
    let page = record_page(state.view(), after, 128).map_err(|error| error.to_string())?;
    let mut matching = page.records.iter().map(|(id, _)| *id).filter(|id| hex(&id.0).starts_with(prefix));
    match (matching.next(), matching.next()) {
        (None, _) => Err(format!("no entity has an id that begins with {prefix}")),
        (Some(id), None) => Ok(id),
        (Some(one), Some(two)) => Err(format!("{prefix} begins the ids {one}… and {two}…; give more digits")),
    }
}

fn entity(
    state: &mut Interface<DiskStoreView>,
    id: EntityId,
    depth: u32,
    limit: usize,
) -> Result<Option<EntityReport>, StorageError> {
    let (Some(record), Some(entry)) = (state.record(id)?, state.entry(id)?) else { return Ok(None) };
    let mut children = Vec::new();
    let entries = if depth > 0 { state.children(id, None, limit.saturating_add(1))? } else { Vec::new() };
    for child in entries.iter().take(limit) {
        children.extend(entity(state, child.id, depth - 1, limit)?);
    }
    let more = if depth > 0 { entries.len() > limit } else { !entry.kids.is_zero() };
    let visible = id == EntityId::ROOT || state.is_visible(id)?;
    Ok(Some(report(id, &record, &entry, visible, children, more)))
}

fn report(
    id: EntityId,
    record: &Record,
    entry: &Entry,
    visible: bool,
    children: Vec<EntityReport>,
    more: bool,
) -> EntityReport {
    let stamp = |stamp: Hlc| stamp.to_string();
    EntityReport {
        id: hex(&id.0),
        crdt_type: record.crdt_type().to_string(),
        label: record.label.bytes().map(|_| record.label.to_string()),
        visible,
        created: stamp(record.created_at),
        updated: stamp(record.updated_at),
        deleted: stamp(record.deleted_at),
        parent: hex(&record.parent.0),
        depth: record.depth,
        own_hash: format!("{:#}", entry.own),
        children_root: format!("{:#}", entry.kids),
        record: record.to_string(),
        children,
        more,
    }
}

fn print(report: &InspectReport, args: &InspectArgs) {
    println!(
        "root {}\n{} records, {} of them live, {} deep, changed {} times{}\n",
        report.root,
        grouped(report.records),
        grouped(report.live),
        report.depth,
        grouped(report.generation),
        if report.opaque > 0 {
            format!(", {} of unknown type", grouped(report.opaque))
        } else {
            String::new()
        },
    );
    let entity = &report.entity;
    if args.entity.is_some() {
        let mut rows = table(&["entity", &entity.id]);
        let none = || "none".to_owned();
        for (name, value) in [
            ("type", entity.crdt_type.clone()),
            ("label", entity.label.clone().unwrap_or_else(none)),
            ("value", entity.record.clone()),
            ("visible", if entity.visible { "yes" } else { "no" }.to_owned()),
            ("created", entity.created.clone()),
            ("updated", entity.updated.clone()),
            ("deleted", entity.deleted.clone()),
            ("parent", entity.parent.clone()),
            ("depth", entity.depth.to_string()),
            ("own hash", entity.own_hash.clone()),
            ("children root", entity.children_root.clone()),
        ] {
            rows.add_row([name.to_owned(), value]);
        }
        println!("{rows}\n");
    }
    tree(entity, 0);
}

fn tree(entity: &EntityReport, indent: usize) {
    let id: String = entity.id.chars().take(16).collect();
    let label = entity.label.as_ref().map(|label| format!("{label} ")).unwrap_or_default();
    let gone = if entity.visible { "" } else { "  (not visible)" };
    println!("{:indent$}{id} {label}{} {}{gone}", "", entity.crdt_type, entity.record);
    entity.children.iter().for_each(|child| tree(child, indent + 2));
    if entity.more {
        println!("{:1$}…", "", indent + 2);
    }
}
