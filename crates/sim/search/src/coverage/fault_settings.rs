//! The knobs of the faults: how each is turned off, and what shows that it did something.
//!
//! What a knob did is read off the run, not off the settings: a knob that is wired to nothing strikes
//! never, however it is set. Where another fault could have done the same, only runs without that one count.

use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::metrics::{EffectMetrics, SimMetrics};
use sync_sim_engine::faults::{FaultConfig, HostFaults, LinkFaults, LinkModel, Rate};
use sync_sim_engine::network::{DropCause, FlightTimes, LinkMetrics};
use sync_sim_engine::world::{Churn, HostEffects};
use syncline_types::{SimDuration, SimTime};

/// One setting of the faults.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// The name of the setting.
    pub name: &'static str,
    quiet: fn(&mut FaultConfig),
    struck: fn(&Seen<'_>) -> bool,
}

impl Knob {
    /// All there are.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        OF_ALL_LINKS.iter().chain(OF_SINGLE_LINKS).chain(OF_HOSTS).chain(OF_HOSTILE)
    }

    /// The same faults as if this setting did nothing.
    pub fn without(&self, faults: &FaultConfig) -> FaultConfig {
        let mut without = faults.clone();
        (self.quiet)(&mut without);
        without
    }

    /// Whether a run shows that the setting does something.
    pub(super) fn struck(&self, seen: &Seen<'_>) -> bool {
        (self.struck)(seen) && self.without(seen.faults) != *seen.faults
    }
}

/// A run as knobs see it.
pub(super) struct Seen<'a> {
    pub(super) faults: &'a FaultConfig,
    pub(super) contexts: usize,
    pub(super) metrics: &'a SimMetrics,
    pub(super) flights: FlightTimes,
    pub(super) churn: Churn,
    pub(super) chance_crashes: u64,
    pub(super) writes_into_syncs: u64,
    pub(super) longest_clock_jump_us: u64,
}

impl Seen<'_> {
    fn effects(&self) -> &EffectMetrics {
        &self.metrics.effects
    }

    fn links(&self) -> &LinkMetrics {
        &self.metrics.effects.links
    }

    fn hosts(&self) -> &HostEffects {
        &self.metrics.effects.hosts
    }

    /// Whether this alone puts wall clocks wrong.
    fn alone_bends(&self, own: Bend) -> bool {
        let hosts = &self.faults.hosts;
        let bends = [
            (Bend::Skew, hosts.clock_skew_ms > 0),
            (Bend::Drift, hosts.clock_drift_ppm > 0),
            (Bend::Jump, hosts.clock_jump_probability > Rate::ZERO),
            (Bend::Freeze, hosts.clock_freeze_probability > Rate::ZERO),
        ];
        self.hosts().clock_error_ms > 0 && bends.iter().all(|(bend, on)| !on || *bend == own)
    }

    fn dropped(&self, cause: DropCause) -> u64 {
        self.metrics.fates.dropped(cause)
    }

    /// The longest that a frame takes where nothing but latency, jitter and reordering has a say.
    fn usual(&self) -> SimDuration {
        let faults = self.faults;
        SimDuration::from_millis(faults.base_latency_ms + faults.latency_jitter_ms + faults.reorder_window_ms)
    }

    /// Whether nothing but latency, jitter and reordering has a say in how long frames take, if it is not
    /// that of which this knob is one.
    fn is_even(&self, but: Stretch) -> bool {
        let (faults, links, hosts) = (self.faults, &self.faults.links, &self.faults.hosts);
        links.model == LinkModel::Datagram
            && hosts.processing == SimDuration::ZERO
            && hosts.pause_probability == Rate::ZERO
            && links.bandwidth == 0
            && (but == Stretch::Slow || faults.slow_node_permille <= 1_000)
            && links.tail_rate == Rate::ZERO
            && (but == Stretch::BadLink || links.bad_link_rate == Rate::ZERO)
    }
}

/// What makes frames take longer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    None,
    Slow,
    BadLink,
}

/// What puts wall clocks wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bend {
    Skew,
    Drift,
    Jump,
    Freeze,
}

/// Names every setting of `$config`, so that one more does not compile until it is here.
macro_rules! knobs {
    ($all:ident, $config:ident, |$faults:ident| $part:expr, but $($but:ident),*;
     $($field:ident: off $off:expr, $struck:expr;)*) => {
        const $all: &[Knob] = &[$(Knob {
            name: stringify!($field),
            quiet: |$faults| $part.$field = $off,
            struck: $struck,
        }),*];

        const _: fn(&$config) = |$config { $($field: _,)* $($but: _,)* }| ();
    };
}

const DAY_MS: u64 = 86_400_000;
const SHORT: std::ops::Range<u64> = 0..1;

knobs! {
    OF_ALL_LINKS, FaultConfig, |faults| faults, but links, hosts, hostile, invalid;
    base_latency_ms: off 0, |seen| seen.flights.beyond_jitter > 0;
    latency_jitter_ms: off 0, |seen| {
        let alone = seen.faults.reorder_window_ms == 0 && seen.is_even(Stretch::None);
        alone && seen.flights.longest > seen.flights.shortest
    };
    message_loss_rate: off Rate::ZERO, |seen| {
        let links = &seen.faults.links;
        let alone = links.burst_rate == Rate::ZERO && links.bad_link_rate == Rate::ZERO;
        alone && seen.dropped(DropCause::Loss) > 0
    };
    reorder_window_ms: off 0, |seen| {
        let most = SimDuration::from_millis(seen.faults.base_latency_ms + seen.faults.latency_jitter_ms);
        seen.is_even(Stretch::None) && seen.flights.longest > most && seen.effects().messages_reordered > 0
    };
    duplicate_rate: off Rate::ZERO, |seen| seen.effects().messages_duplicated > 0;
    corruption_rate: off Rate::ZERO, |seen| seen.effects().messages_corrupted > 0;
    partition_probability: off Rate::ZERO, |seen| seen.effects().partitions > 0;
    partition_duration_ms: off SHORT, |seen| {
        seen.contexts == 1 && seen.dropped(DropCause::PartitionAtSend) + seen.dropped(DropCause::PartitionAtDelivery) > 10
    };
    crash_probability: off Rate::ZERO, |seen| seen.chance_crashes > 0;
    restart_delay_ms: off SHORT, |seen| {
        // A disk that fails puts its node down too, hostile nodes send without end, and each context sends for
        // itself.
        let alone = seen.faults.hosts == HostFaults::none() && seen.faults.hostile == HostileFaults::none();
        alone && seen.contexts == 1 && seen.dropped(DropCause::ReceiverCrashed) > 40
    };
    slow_node_permille: off 1_000, |seen| {
        seen.is_even(Stretch::Slow) && seen.flights.longest > seen.usual()
    };
    write_during_sync_rate: off Rate::ZERO, |seen| seen.writes_into_syncs > 0;
    churn_probability: off Rate::ZERO, |seen| seen.effects().departures > 0;
    away_duration_ms: off SHORT, |seen| {
        let least = SimDuration::from_millis(seen.faults.away_duration_ms.start);
        seen.effects().returns > 0 && seen.churn.longest_away >= least
    };
    late_joiners: off 0, |seen| seen.effects().late_joins > 0;
    join_ms: off SHORT, |seen| {
        let least = SimDuration::from_millis(seen.faults.join_ms.start);
        seen.effects().late_joins > 0 && seen.churn.last_join.since(SimTime::ZERO) >= least
    };
}

knobs! {
    OF_SINGLE_LINKS, LinkFaults, |faults| faults.links, but ;
    model: off LinkModel::Datagram, |seen| seen.links().connections_opened > 0;
    bandwidth: off 0, |seen| seen.links().frames_queued > 0;
    shared_uplink: off false, |seen| seen.links().uplink_frames > 0;
    queue_bytes: off 1_000_000_000_000, |seen| seen.links().queue_drops > 0;
    tail_rate: off Rate::ZERO, |seen| seen.links().tail_delays > 0;
    tail_most: off SimDuration::from_millis(1), |seen| seen.flights.stretched > 0;
    bad_link_rate: off Rate::ZERO, |seen| seen.links().bad_link_frames > 0;
    bad_link_slowdown: off 1, |seen| {
        seen.is_even(Stretch::BadLink) && seen.flights.longest > seen.usual()
    };
    bad_link_loss: off Rate::ZERO, |seen| {
        let (faults, none) = (seen.faults, Rate::ZERO);
        let alone = faults.message_loss_rate == none && faults.links.burst_rate == none;
        alone && seen.dropped(DropCause::Loss) > 0
    };
    burst_rate: off Rate::ZERO, |seen| seen.links().burst_losses > 0;
    burst_end_rate: off Rate::ppm(1), |seen| seen.links().bursts_ended > 0;
    burst_loss: off Rate::ZERO, |seen| seen.links().burst_losses > 0;
    burst_most: off SimDuration::from_millis(DAY_MS), |seen| seen.links().bursts_expired > 0;
    one_way_share: off Rate::ZERO, |seen| seen.links().one_way_partitions > 0;
    group_share: off Rate::ZERO, |seen| seen.links().group_partitions > 0;
    flap_rate: off Rate::ZERO, |seen| seen.links().link_down_frames > 0;
    flap_up_ms: off DAY_MS - 1..DAY_MS, |seen| seen.links().link_down_frames > 0;
    flap_down_ms: off 1..2, |seen| seen.contexts == 1 && seen.links().link_down_frames > 10;
    reset_rate: off Rate::ZERO, |seen| seen.links().chance_resets > 0;
    retransmit_after: off SimDuration::from_millis(1), |seen| {
        let links = &seen.faults.links;
        let none = [links.tail_rate, links.bad_link_rate, links.flap_rate].iter().all(|rate| *rate == Rate::ZERO);
        let hosts = &seen.faults.hosts;
        let paced = hosts.processing > SimDuration::ZERO || hosts.pause_probability > Rate::ZERO;
        let alone = none && !paced && links.bandwidth == 0 && seen.faults.slow_node_permille <= 1_000;
        // A frame may wait for its connection, and for those before it.
        let unhindered = seen.usual().times(4) + SimDuration::from_millis(10);
        alone && unhindered < links.retransmit_after && seen.flights.longest >= links.retransmit_after
    };
    reset_after: off SimDuration::from_secs(3_600), |seen| seen.links().stall_resets > 0;
}

// How long a pause lasts and how much slower a slow host is shows in nothing that a run counts. Losses that nobody
// notices are not drawn: whoever writes on after one breaks a promise that nothing can keep.
knobs! {
    OF_HOSTS, HostFaults, |faults| faults.hosts,
    but pause_ms, slow_host_permille, lies_unnoticed;
    clock_skew_ms: off 0, |seen| seen.alone_bends(Bend::Skew);
    clock_drift_ppm: off 0, |seen| seen.alone_bends(Bend::Drift);
    timer_drift_ppm: off 0, |seen| seen.hosts().skewed_timers > 0;
    clock_jump_probability: off Rate::ZERO, |seen| seen.hosts().clock_jumps > 0;
    clock_jump_ms: off SHORT, |seen| seen.longest_clock_jump_us >= 1_000;
    clock_freeze_probability: off Rate::ZERO, |seen| seen.hosts().clock_freezes > 0;
    clock_freeze_ms: off SHORT, |seen| seen.alone_bends(Bend::Freeze) && seen.hosts().clock_error_ms > 1;
    pause_probability: off Rate::ZERO, |seen| seen.hosts().pauses > 0;
    processing: off SimDuration::ZERO, |seen| {
        seen.faults.hosts.pause_probability == Rate::ZERO && seen.hosts().inputs_delayed > 0
    };
    failed_write_rate: off Rate::ZERO, |seen| seen.hosts().failed_writes > 0;
    torn_write_probability: off Rate::ZERO, |seen| seen.hosts().torn_writes > 0;
    lying_sync_rate: off Rate::ZERO, |seen| seen.hosts().lost_commits > 0;
    rot_probability: off Rate::ZERO, |seen| seen.hosts().rotten_rows > 0;
}

// What `lies` names shows as a place of its own for each kind.
knobs! {
    OF_HOSTILE, HostileFaults, |faults| faults.hostile, but lies;
    nodes: off 0, |seen| seen.metrics.hostile.told_in_all() > 0;
    outsiders: off 0, |seen| seen.metrics.hostile.told_by_outsiders > 0;
    rate: off Rate::ZERO, |seen| seen.metrics.hostile.told_in_all() > 0;
}
