//! `docs/spec/limits.md` states the bounds of the code, and of everything that a replica reports.

use super::{CONTEXT, Node};
use std::collections::BTreeMap;
use syncline_replica::{Event, ReplicaConfig, ReplicaSizes};
use syncline_sync::{BufferLimits, DeltaLog, Question, Sketch, ViewBounds};
use syncline_types::{Limits, PeerId, ReplicaId, limits};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/spec/limits.md");
    std::fs::read_to_string(path).unwrap()
}

/// The cells of the rows whose first cell is a name in backquotes, by name.
fn rows(document: &str) -> BTreeMap<String, Vec<String>> {
    let row = |line: &str| -> Option<(String, Vec<String>)> {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells[2..].to_vec()))
    };
    document.lines().filter_map(row).collect()
}

/// Promises: G1
#[test]
fn documented_bounds_are_those_of_the_code() {
    let document = document();
    let rows = rows(&document);
    let config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(1));
    let limits = Limits::default();
    // By name, so that a new size has to be documented.
    let ReplicaSizes {
        buffered_deltas: _,
        buffered_bytes: _,
        delta_requests: _,
        views: _,
        view_bytes: _,
        sessions: _,
        session_bytes: _,
        pending_syncs: _,
        peers: _,
        vector_peers: _,
        members: _,
        authors: _,
        log_bytes: _,
        heads: _,
        sketch_bytes: _,
    } = ReplicaSizes::default();
    const SESSION: usize = 160 << 20;
    let sizes: [(&str, Option<u64>); 15] = [
        ("buffered_deltas", Some(config.buffer_capacity as u64)),
        ("buffered_bytes", Some(config.buffer_bytes as u64)),
        ("delta_requests", Some(3)),
        ("views", Some(config.snapshot_views as u64)),
        ("view_bytes", Some(config.snapshot_view_bytes)),
        ("sessions", Some(config.max_sessions as u64)),
        ("session_bytes", Some(SESSION as u64)),
        ("pending_syncs", None),
        ("peers", Some(4_096)),
        ("vector_peers", Some(64)),
        ("members", None),
        ("authors", Some(limits::MAX_REPLICAS as u64)),
        ("log_bytes", Some(config.delta_log_bytes)),
        ("heads", Some(limits::MAX_PARENTS as u64)),
        ("sketch_bytes", Some(Sketch::CELLS as u64 * 12)),
    ];
    let bound =
        |name: &str, at: usize| rows.get(name).unwrap_or_else(|| panic!("no row of {name}"))[at].clone();
    for (name, expected) in sizes {
        if let Some(expected) = expected {
            assert_eq!(bound(name, 1), expected.to_string(), "{name}");
        }
    }
    assert_eq!(bound("buffer_author_capacity", 0), config.buffer_author_capacity.to_string());
    assert_eq!(bound("buffer_author_bytes", 0), config.buffer_author_bytes.to_string());
    assert_eq!(ViewBounds::default().idle, config.session_deadline);
    // What a session holds is the sum of its parts.
    let cells = limits.cells_per_frame() * limits.cell_pages() + Sketch::HEAD;
    let parts = limits.orphan_bytes() + limits::MAX_SESSION_QUEUE * size_of::<Question>() + cells * 8;
    assert!(parts + limits.frame_bytes() <= SESSION, "{parts} bytes");
    for number in [
        limits.orphan_bytes() as u64,
        limits::MAX_SESSION_QUEUE as u64,
        cells as u64,
        BufferLimits::OVERHEAD_BYTES as u64,
        DeltaLog::DEFAULT_RETENTION,
        limits.early_records() as u64,
        limits.sweep_rows() as u64,
        limits.collected_records() as u64,
        limits.deltas_per_frame() as u64,
    ] {
        let is_named = document.split(|c: char| !c.is_ascii_digit()).any(|word| word == number.to_string());
        assert!(is_named, "{number} is not in the document");
    }
}

#[test]
fn sizes_are_reported() {
    let mut node = Node::new(1);
    node.take_writes_of(100);
    node.step(Event::Peers([PeerId(1)].into()));
    let sizes = node.replica.sizes();
    assert_eq!((sizes.authors, sizes.heads, sizes.peers), (100, limits::MAX_PARENTS as u64, 1));
    assert_eq!((sizes.buffered_deltas, sizes.views, sizes.sessions), (0, 0, 0));
}
