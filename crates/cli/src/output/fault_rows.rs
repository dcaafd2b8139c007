//! Rows of tables about the effects of faults: on links, within hosts, by hostile replicas.

use crate::output::text::grouped;
use comfy_table::Table;
use sync_sim::hostile::HostileMetrics;
use sync_sim::network::LinkMetrics;
use sync_sim::prelude::HostEffects;

/// Adds a row for each kind of fault that had an effect.
pub(crate) fn add_to(table: &mut Table, links: &LinkMetrics, hosts: &HostEffects, hostile: &HostileMetrics) {
    let links = links.rows();
    let hosts = host_rows(hosts);
    for (name, count) in links.into_iter().chain(hosts).filter(|(_, count)| *count > 0) {
        table.add_row([name.to_owned(), grouped(count)]);
    }
    for (name, count) in hostile_rows(hostile) {
        table.add_row([name, grouped(count)]);
    }
}

const fn host_rows(effects: &HostEffects) -> [(&'static str, u64); 13] {
    [
        ("largest clock error, in milliseconds", effects.clock_error_ms),
        ("clock jumps", effects.clock_jumps),
        ("clock freezes", effects.clock_freezes),
        ("timers lengthened or shortened by drift", effects.skewed_timers),
        ("pauses", effects.pauses),
        ("frames, timers and writes that waited for a busy host", effects.inputs_delayed),
        ("writes lost in a crash while they waited", effects.writes_lost_waiting),
        ("writes to disk that failed", effects.failed_writes),
        ("commits torn by a crash", effects.torn_writes),
        ("disk syncs reported but not done", effects.lying_syncs),
        ("… and commits lost for that reason", effects.lost_commits),
        ("rows on disk with a flipped bit", effects.rotten_rows),
        ("replicas restarted empty under a new identity", effects.fresh_starts),
    ]
}

/// No rows if no replica was hostile.
fn hostile_rows(metrics: &HostileMetrics) -> Vec<(String, u64)> {
    let lies = metrics.total_lies();
    if lies == 0 {
        return Vec::new();
    }
    let mut rows = vec![("lies of hostile replicas".to_owned(), lies)];
    rows.extend(metrics.lies.iter().map(|(lie, count)| (format!("… {lie}"), *count)));
    let effects = [
        ("frames of hostile replicas that were refused", metrics.frames_refused),
        ("deltas refused for their author or signature", metrics.deltas_refused),
        ("sessions between honest and hostile replicas", metrics.sessions_started),
        ("… that failed, after which the honest replica backs off", metrics.sessions_failed),
    ];
    rows.extend(effects.map(|(name, count)| (name.to_owned(), count)));
    rows
}
