//! A soak: twenty replicas for 24 virtual hours, with what happens to replicas over years. What they hold must follow
//! the live data, and not the time.

use std::time::Instant;
use sync_sim::engine::{HostEvent, SimEvent};
use sync_sim::network::Rate;
use sync_sim::node::SimNode;
use sync_sim::prelude::*;
use sync_sim::workload::Mix;
use syncline_replica::ReplicaSizes;
use syncline_storage::{Slot, keys};
use syncline_store::ReadView;

const NODES: usize = 20;
const HOURS: u64 = 24;
/// Of each hour, writes and faults take up so much; then nothing happens, and the traffic must cease.
const BUSY: SimDuration = SimDuration::from_secs(50 * 60);
const HOUR: SimDuration = SimDuration::from_secs(3_600);
/// The end of the hour in which idle traffic is counted.
const IDLE: SimDuration = SimDuration::from_secs(60);
const WRITES_PER_HOUR: usize = 3_000;
/// How many deltas of each author a replica retains. The log reaches this bound in the second hour, and the default one
/// of 10,000 only after days.
const RETENTION: u64 = 200;
/// How much more than the live data memory and disk may have grown since the second hour, in percent.
const FLAT_PERCENT: u64 = 10;

/// Registers, maps, user storages, frozen and opaque values. Documents, counters and deletes are measured elsewhere.
const MIX: Mix = Mix { set: 6, entry: 6, nested: 4, own: 3, freeze: 1, opaque: 2, ..Mix::NOTHING };

/// The sizes of all nodes that are up, added together.
#[derive(Clone, Copy, Default)]
struct Totals {
    nodes: u64,
    records: u64,
    /// The record rows of the active slot.
    live_bytes: u64,
    /// All other rows of the state: the index, orders, depths.
    index_bytes: u64,
    delta_bytes: u64,
    /// The inactive slot, and all other metadata.
    other_bytes: u64,
    /// What the replicas hold in memory.
    memory_bytes: u64,
    largest: ReplicaSizes,
}

impl Totals {
    fn of(rt: &SimRuntime) -> Self {
        let mut totals = Self::default();
        for node in rt.node_ids().into_iter().filter(|node| rt.is_up(*node) && !rt.is_retired(*node)) {
            totals.add(rt.node(node));
        }
        totals
    }

    fn add(&mut self, node: &SimNode) {
        let Some(replica) = node.replica() else { return };
        self.nodes += 1;
        let disk = node.disk();
        let active = Slot::active(disk).expect("a sound disk");
        let (first, end) = active.bounds();
        for (key, row) in disk.range(&[], &[0xff; 40], usize::MAX).expect("memory") {
            let bytes = (key.len() + row.len()) as u64;
            let is_active = *key >= *first && *key < *end;
            if is_active && keys::record_id(&key).is_some() {
                self.records += 1;
                self.live_bytes += bytes;
            } else if is_active {
                self.index_bytes += bytes;
            } else if key.first() == Some(&(keys::METADATA + 1)) {
                self.delta_bytes += bytes;
            } else {
                self.other_bytes += bytes;
            }
        }
        let sizes = replica.sizes();
        self.memory_bytes += bytes_of(&sizes);
        for (largest, size) in [
            (&mut self.largest.buffered_bytes, sizes.buffered_bytes),
            (&mut self.largest.view_bytes, sizes.view_bytes),
            (&mut self.largest.peers, sizes.peers),
            (&mut self.largest.authors, sizes.authors),
            (&mut self.largest.members, sizes.members),
            (&mut self.largest.pending_syncs, sizes.pending_syncs),
        ] {
            *largest = size.max(*largest);
        }
    }

    const fn disk_bytes(&self) -> u64 {
        self.live_bytes + self.index_bytes + self.delta_bytes + self.other_bytes
    }
}

/// About the bytes of the tables, buffers and caches of a replica.
fn bytes_of(sizes: &ReplicaSizes) -> u64 {
    const ENTRY: u64 = 64;
    let entries = sizes.delta_requests
        + sizes.views
        + sizes.pending_syncs
        + sizes.peers
        + sizes.vector_peers
        + sizes.members
        + sizes.authors
        + sizes.heads;
    sizes.buffered_bytes + sizes.view_bytes + sizes.session_bytes + sizes.sketch_bytes + ENTRY * entries
}

/// Runs to `until`, and fails if a promise is broken on the way.
fn run_to(rt: &mut SimRuntime, until: SimTime) {
    while rt.now() < until && rt.step() {
        assert!(rt.broken_promise().is_none(), "at {}: {:?}", rt.now(), rt.broken_promise());
    }
}

/// Schedules the faults of an hour: a copy of a disk that is restored twenty minutes later, a clock that is an hour
/// ahead for a while, a crash, a node that is away, a newcomer, and a node that retires for it.
fn trouble(rt: &mut SimRuntime, hour: u64, nodes: &mut Vec<NodeId>) {
    let from = rt.now();
    let at = |minutes: u64| from + SimDuration::from_secs(60 * minutes);
    let pick = |n: u64| nodes[((hour * 7 + n * 3) % nodes.len() as u64) as usize];
    let host = |rt: &mut SimRuntime, minutes, node, what| {
        rt.world_mut().schedule(at(minutes), SimEvent::Host { node, what });
    };
    host(rt, 5, pick(0), HostEvent::BackUp);
    host(rt, 25, pick(0), HostEvent::Restore(SimDuration::from_secs(20)));
    let by_us = 3_600_000_000;
    host(rt, 10, pick(1), HostEvent::Ahead { by_us, lasting: SimDuration::from_secs(300) });
    rt.crash_at(at(15), pick(2), CrashPoint::Now, Some(SimDuration::from_secs(30)));
    rt.leave_at(at(20), pick(3), Some(SimDuration::from_secs(600)));
    if hour % 3 == 2 {
        let leaver = nodes.remove(hour as usize % nodes.len());
        nodes.push(rt.join_at(at(30), format!("late-{hour}")));
        // It has sent its last writes by then.
        rt.retire_at(at(55), leaver);
    }
}

/// The resident memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

/// Whether `now` has grown no more than the live data since `then`, but for [`FLAT_PERCENT`].
fn is_flat(then: u64, now: u64, live_then: u64, live_now: u64) -> bool {
    let allowed = u128::from(then) * u128::from(live_now.max(live_then)) * u128::from(100 + FLAT_PERCENT);
    u128::from(now) * u128::from(live_then.max(1)) * 100 <= allowed
}

/// Prints what twenty replicas hold and cost in each of 24 virtual hours.
pub(crate) fn virtual_day() {
    println!(
        "\na virtual day of {NODES} replicas: {WRITES_PER_HOUR} writes an hour, newcomers, restored backups, clocks ahead"
    );
    println!(
        "  per replica: rows of the state and of the log in kB, tables and buffers in memory in kB; frames in bytes;\n  \
         work for each event; idle: bytes a minute and peer, ten minutes after the last write"
    );
    println!(
        "  {:>4} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>6}",
        "hour",
        "records",
        "live",
        "index",
        "deltas",
        "other",
        "memory",
        "frames",
        "mean",
        "reads",
        "writes",
        "hashes",
        "idle",
        "authors",
        "process",
        "real"
    );
    let config = SimConfig::with_seed(1)
        .with_faults(FaultConfig { message_loss_rate: Rate::ppm(5_000), ..FaultConfig::default() })
        .with_max_time(SimTime::from_secs((HOURS + 2) * 3_600))
        .with_max_events(u64::MAX);
    let config = SimConfig { delta_retention: RETENTION, ..config };
    let mut rt = SimRuntime::with_config(config);
    let mut nodes = rt.apply_scenario(Scenario::n_nodes_synced(NODES, 500));
    let workload = Workload { crash: Rate::ZERO, away: Rate::ZERO, ..Workload::new(WRITES_PER_HOUR, BUSY) };
    let workload = workload.with_mix(MIX).with_keys(200);
    let mut second = None;
    let mut is_flat_day = true;
    for hour in 0..HOURS {
        let (began, before, events) = (Instant::now(), rt.metrics(), rt.events_processed());
        let end = SimTime::ZERO + HOUR.times(hour + 1);
        rt.apply_workload(&workload);
        trouble(&mut rt, hour, &mut nodes);
        run_to(&mut rt, SimTime::from_micros(end.as_micros() - IDLE.as_micros()));
        let sent = rt.network().bytes_sent();
        run_to(&mut rt, end);
        let idle = rt.network().bytes_sent() - sent;
        let (totals, after) = (Totals::of(&rt), rt.metrics());
        let n = totals.nodes.max(1);
        let frames = after.protocol.messages_sent - before.protocol.messages_sent;
        let bytes = after.protocol.bytes_sent - before.protocol.bytes_sent;
        let events = rt.events_processed() - events;
        // The work of a node that has retired is not counted any more.
        let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / events as f64;
        println!(
            "  {hour:>4} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {frames:>8} {:>8} {:>7.2} {:>7.2} {:>7.2} {:>7} {:>7} {:>4} MiB {:>4.0} s",
            totals.records / n,
            totals.live_bytes / n / 1_000,
            totals.index_bytes / n / 1_000,
            totals.delta_bytes / n / 1_000,
            totals.other_bytes / n / 1_000,
            totals.memory_bytes / n / 1_000,
            bytes / frames.max(1),
            each(after.work.storage_reads, before.work.storage_reads),
            each(after.work.storage_writes, before.work.storage_writes),
            each(after.work.hash_computations, before.work.hash_computations),
            idle / (n * (n - 1)),
            totals.largest.authors,
            resident_mib(),
            began.elapsed().as_secs_f64(),
        );
        if hour == 1 {
            second = Some(totals);
        }
        if let Some(second) = second {
            is_flat_day &= report_growth(hour, &second, &totals);
        }
    }
    if !is_flat_day {
        std::process::exit(1);
    }
}

/// Prints what grows faster than the live data. Returns whether nothing does.
fn report_growth(hour: u64, second: &Totals, totals: &Totals) -> bool {
    let mut flat = true;
    let per = |bytes: u64, totals: &Totals| bytes / totals.nodes.max(1);
    let live = (per(second.live_bytes, second), per(totals.live_bytes, totals));
    for (what, then, now) in [
        ("disk", second.disk_bytes(), totals.disk_bytes()),
        ("memory", second.memory_bytes, totals.memory_bytes),
    ] {
        let (then, now) = (per(then, second), per(now, totals));
        if !is_flat(then, now, live.0, live.1) {
            flat = false;
            println!(
                "       NOT FLAT: {what} of hour {hour}: {now} bytes, {then} in the second hour; {:?}",
                totals.largest
            );
        }
    }
    flat
}
