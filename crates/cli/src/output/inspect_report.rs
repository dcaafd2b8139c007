//! The report of an inspection: a state, and one of its entities.

use crate::error::CommandError;
use crate::output::text::{grouped, hex, table};
use crate::output::writer::Output;
use serde::Serialize;
use syncline_storage::{Entry, Record, Stats};
use syncline_types::Hlc;

/// A state and one of its entities. The JSON keys are stable.
#[derive(Serialize)]
pub(crate) struct InspectReport {
    root: String,
    records: u64,
    /// Records that are not deleted.
    live: u64,
    /// Live records whose type is unknown.
    opaque: u64,
    /// The depth of the tree of entities.
    depth: u32,
    /// How many times the state has changed.
    generation: u64,
    entity: EntityReport,
}

/// An entity and its descendants, down to the depth that was asked for.
#[derive(Serialize)]
pub(crate) struct EntityReport {
    id: String,
    #[serde(rename = "type")]
    crdt_type: String,
    label: Option<String>,
    /// Whether an application sees the entity: neither it nor an ancestor is deleted.
    visible: bool,
    created: String,
    updated: String,
    deleted: String,
    parent: String,
    depth: u32,
    /// The hash of the record alone.
    own_hash: String,
    /// The root of the index of its children.
    children_root: String,
    /// The record as text.
    record: String,
    children: Vec<Self>,
    /// Whether there are more children than `children` contains.
    more: bool,
}

impl InspectReport {
    /// The report of a state with these figures.
    pub(crate) fn of(stats: &Stats, entity: EntityReport) -> Self {
        Self {
            root: format!("{:#}", stats.root),
            records: stats.records,
            live: stats.live,
            opaque: stats.opaque,
            depth: stats.max_depth(),
            generation: stats.generation,
            entity,
        }
    }

    /// Prints the figures of the state and the tree below the entity, with all of the entity's fields if
    /// `fields` is set.
    pub(crate) fn print(&self, fields: bool, out: &mut Output) -> Result<(), CommandError> {
        writeln!(
            out,
            "root {}\n{} records, {} of them live, depth {}, changed {} times{}\n",
            self.root,
            grouped(self.records),
            grouped(self.live),
            self.depth,
            grouped(self.generation),
            if self.opaque > 0 {
                format!(", {} of unknown type", grouped(self.opaque))
            } else {
                String::new()
            },
        )?;
        if fields {
            self.entity.print_fields(out)?;
        }
        self.entity.print_tree(0, out)
    }
}

impl EntityReport {
    /// The report of an entity and of those of its children that are shown.
    pub(crate) fn of(record: &Record, entry: &Entry, visible: bool, children: Vec<Self>, more: bool) -> Self {
        let stamp = |stamp: Hlc| stamp.to_string();
        Self {
            id: hex(&entry.id.0),
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

    fn print_fields(&self, out: &mut Output) -> Result<(), CommandError> {
        let mut rows = table(&["entity", &self.id]);
        for (name, value) in [
            ("type", self.crdt_type.as_str()),
            ("label", self.label.as_deref().unwrap_or("none")),
            ("value", &self.record),
            ("visible", if self.visible { "yes" } else { "no" }),
            ("created", &self.created),
            ("updated", &self.updated),
            ("deleted", &self.deleted),
            ("parent", &self.parent),
            ("depth", &self.depth.to_string()),
            ("own hash", &self.own_hash),
            ("children root", &self.children_root),
        ] {
            rows.add_row([name, value]);
        }
        writeln!(out, "{rows}\n")
    }

    fn print_tree(&self, indent: usize, out: &mut Output) -> Result<(), CommandError> {
        let id: String = self.id.chars().take(16).collect();
        let label = self.label.as_ref().map(|label| format!("{label} ")).unwrap_or_default();
        let hidden = if self.visible { "" } else { "  (not visible)" };
        writeln!(out, "{:indent$}{id} {label}{} {}{hidden}", "", self.crdt_type, self.record)?;
        for child in &self.children {
            child.print_tree(indent + 2, out)?;
        }
        if self.more {
            writeln!(out, "{:1$}…", "", indent + 2)?;
        }
        Ok(())
    }
}
