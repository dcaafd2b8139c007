//! The settings of the faults: how each is disabled, and what in a run shows that it had an effect.
//!
//! Effects are read off the run, not off the settings: a setting that is connected to nothing never has an effect,
//! however it is set. Where another fault could have caused the same effect, only runs without that one count.

use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::metrics::{EffectMetrics, SimMetrics};
use sync_sim_engine::faults::{FaultConfig, HostFaults, LinkFaults, LinkModel, Rate};
use sync_sim_engine::network::{DropCause, FlightTimes, LinkMetrics};
use sync_sim_engine::world::{Churn, HostEffects};
use syncline_types::{SimDuration, SimTime};

/// One setting of the fault configuration.
#[derive(Clone, Copy, Debug)]
pub struct FaultSetting {
    /// The name of the setting, as in case files.
    pub name: &'static str,
    disable: fn(&mut FaultConfig),
    had_effect: fn(&RunEvidence<'_>) -> bool,
}

impl FaultSetting {
    /// All settings of all fault families.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        OF_ALL_LINKS.iter().chain(OF_SINGLE_LINKS).chain(OF_HOSTS).chain(OF_HOSTILE)
    }

    /// The same faults with this setting disabled.
    pub fn without(&self, faults: &FaultConfig) -> FaultConfig {
        let mut without = faults.clone();
        (self.disable)(&mut without);
        without
    }

    /// Whether the run shows an effect of the setting, which must be enabled.
    pub(super) fn had_effect(&self, seen: &RunEvidence<'_>) -> bool {
        (self.had_effect)(seen) && self.without(seen.faults) != *seen.faults
    }
}

/// The evidence of a run: what the effects of faults are read from.
pub(super) struct RunEvidence<'a> {
    pub(super) faults: &'a FaultConfig,
    pub(super) contexts: usize,
    /// Whether a script may have caused departures and pauses.
    pub(super) has_script: bool,
    pub(super) metrics: &'a SimMetrics,
    pub(super) flights: FlightTimes,
    pub(super) churn: Churn,
    pub(super) chance_crashes: u64,
    pub(super) writes_into_syncs: u64,
    pub(super) longest_clock_jump_us: u64,
}

impl RunEvidence<'_> {
    fn effects(&self) -> &EffectMetrics {
        &self.metrics.effects
    }

    fn links(&self) -> &LinkMetrics {
        &self.metrics.effects.links
    }

    fn hosts(&self) -> &HostEffects {
        &self.metrics.effects.hosts
    }

    /// Whether wall clocks are wrong, and this is the only clock fault that is enabled.
    fn is_only_clock_fault(&self, only: ClockFault) -> bool {
        let hosts = &self.faults.hosts;
        let active = [
            (ClockFault::Skew, hosts.clock_skew_ms > 0),
            (ClockFault::Drift, hosts.clock_drift_ppm > 0),
            (ClockFault::Jump, hosts.clock_jump_probability > Rate::ZERO),
            (ClockFault::Freeze, hosts.clock_freeze_probability > Rate::ZERO),
            (ClockFault::Ahead, hosts.clock_ahead_probability > Rate::ZERO),
        ];
        self.hosts().clock_error_ms > 0 && active.iter().all(|(fault, on)| !on || *fault == only)
    }

    fn dropped(&self, cause: DropCause) -> u64 {
        self.metrics.fates.dropped(cause)
    }

    /// The longest flight of a frame if only latency, jitter and reordering delay it.
    fn usual(&self) -> SimDuration {
        let faults = self.faults;
        SimDuration::from_millis(faults.base_latency_ms + faults.latency_jitter_ms + faults.reorder_window_ms)
    }

    /// Whether only latency, jitter and reordering delay frames, apart from the fault that is examined.
    fn is_even(&self, but: DelayFault) -> bool {
        let faults = self.faults;
        let links = &self.faults.links;
        let hosts = &self.faults.hosts;
        links.model == LinkModel::Datagram
            && hosts.processing == SimDuration::ZERO
            && hosts.pause_probability == Rate::ZERO
            && links.bandwidth == 0
            && (but == DelayFault::Slow || faults.slow_node_permille <= 1_000)
            && links.tail_rate == Rate::ZERO
            && (but == DelayFault::BadLink || links.bad_link_rate == Rate::ZERO)
    }
}

/// The faults that delay frames in proportion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DelayFault {
    None,
    Slow,
    BadLink,
}

/// The faults that make wall clocks wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClockFault {
    Skew,
    Drift,
    Jump,
    Freeze,
    Ahead,
}

/// Lists the settings of `$config` with their off values and effects. The pattern at the end names every
/// field: a new setting does not compile until it is listed.
macro_rules! fault_settings {
    ($all:ident, $config:ident, |$faults:ident| $part:expr, but $($but:ident),*;
     $($field:ident: off $off:expr, $had_effect:expr;)*) => {
        const $all: &[FaultSetting] = &[$(FaultSetting {
            name: stringify!($field),
            disable: |$faults| $part.$field = $off,
            had_effect: $had_effect,
        }),*];

        const _: fn(&$config) = |$config { $($field: _,)* $($but: _,)* }| ();
    };
}

const DAY_MS: u64 = 86_400_000;
const SHORT: std::ops::Range<u64> = 0..1;

fault_settings! {
    OF_ALL_LINKS, FaultConfig, |faults| faults, but links, hosts, hostile, invalid;
    base_latency_ms: off 0, |seen| seen.flights.beyond_jitter > 0;
    latency_jitter_ms: off 0, |seen| {
        let alone = seen.faults.reorder_window_ms == 0 && seen.is_even(DelayFault::None);
        alone && seen.flights.longest > seen.flights.shortest
    };
    message_loss_rate: off Rate::ZERO, |seen| {
        let links = &seen.faults.links;
        let alone = links.burst_rate == Rate::ZERO && links.bad_link_rate == Rate::ZERO;
        alone && seen.dropped(DropCause::Loss) > 0
    };
    reorder_window_ms: off 0, |seen| {
        let most = SimDuration::from_millis(seen.faults.base_latency_ms + seen.faults.latency_jitter_ms);
        seen.is_even(DelayFault::None) && seen.flights.longest > most && seen.effects().messages_reordered > 0
    };
    duplicate_rate: off Rate::ZERO, |seen| seen.effects().messages_duplicated > 0;
    corruption_rate: off Rate::ZERO, |seen| seen.effects().messages_corrupted > 0;
    partition_probability: off Rate::ZERO, |seen| seen.effects().partitions > 0;
    partition_duration_ms: off SHORT, |seen| {
        seen.contexts == 1 && seen.dropped(DropCause::PartitionAtSend) + seen.dropped(DropCause::PartitionAtDelivery) > 10
    };
    crash_probability: off Rate::ZERO, |seen| seen.chance_crashes > 0;
    restart_delay_ms: off SHORT, |seen| {
        // A failed disk also takes its node down, hostile nodes send without pause, and each context sends
        // for itself: any of them could cause as many drops.
        let alone = seen.faults.hosts == HostFaults::none() && seen.faults.hostile == HostileFaults::none();
        alone && seen.contexts == 1 && seen.dropped(DropCause::ReceiverCrashed) > 40
    };
    slow_node_permille: off 1_000, |seen| {
        seen.is_even(DelayFault::Slow) && seen.flights.longest > seen.usual()
    };
    write_during_sync_rate: off Rate::ZERO, |seen| seen.writes_into_syncs > 0;
    churn_probability: off Rate::ZERO, |seen| !seen.has_script && seen.effects().departures > 0;
    away_duration_ms: off SHORT, |seen| {
        let least = SimDuration::from_millis(seen.faults.away_duration_ms.start);
        !seen.has_script && seen.effects().returns > 0 && seen.churn.longest_away >= least
    };
    late_joiners: off 0, |seen| seen.effects().late_joins > 0;
    join_ms: off SHORT, |seen| {
        let least = SimDuration::from_millis(seen.faults.join_ms.start);
        seen.effects().late_joins > 0 && seen.churn.last_join.since(SimTime::ZERO) >= least
    };
}

fault_settings! {
    OF_SINGLE_LINKS, LinkFaults, |faults| faults.links, but ;
    model: off LinkModel::Datagram, |seen| seen.links().connections_opened > 0;
    bandwidth: off 0, |seen| seen.links().frames_queued > 0;
    shared_uplink: off false, |seen| seen.links().uplink_frames > 0;
    queue_bytes: off 1_000_000_000_000, |seen| seen.links().queue_drops > 0;
    tail_rate: off Rate::ZERO, |seen| seen.links().tail_delays > 0;
    tail_most: off SimDuration::from_millis(1), |seen| seen.flights.stretched > 0;
    bad_link_rate: off Rate::ZERO, |seen| seen.links().bad_link_frames > 0;
    bad_link_slowdown: off 1, |seen| {
        seen.is_even(DelayFault::BadLink) && seen.flights.longest > seen.usual()
    };
    bad_link_loss: off Rate::ZERO, |seen| {
        let faults = seen.faults;
        let alone = faults.message_loss_rate == Rate::ZERO && faults.links.burst_rate == Rate::ZERO;
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
        // A frame may wait for its connection, and for the frames before it.
        let unhindered = seen.usual().times(4) + SimDuration::from_millis(10);
        alone && unhindered < links.retransmit_after && seen.flights.longest >= links.retransmit_after
    };
    reset_after: off SimDuration::from_secs(3_600), |seen| seen.links().stall_resets > 0;
}

// The length of pauses, the slowdown of slow hosts and the lengths of clocks ahead show in no counter of a run. Unnoticed losses are not
// drawn: a node that writes on after one breaks invariants that no protocol could keep.
fault_settings! {
    OF_HOSTS, HostFaults, |faults| faults.hosts,
    but pause_ms, slow_host_permille, lies_unnoticed, clock_ahead_ms, clock_ahead_for_ms;
    clock_skew_ms: off 0, |seen| seen.is_only_clock_fault(ClockFault::Skew);
    clock_drift_ppm: off 0, |seen| seen.is_only_clock_fault(ClockFault::Drift);
    timer_drift_ppm: off 0, |seen| seen.hosts().skewed_timers > 0;
    clock_jump_probability: off Rate::ZERO, |seen| seen.hosts().clock_jumps > 0;
    clock_jump_ms: off SHORT, |seen| seen.longest_clock_jump_us >= 1_000;
    clock_freeze_probability: off Rate::ZERO, |seen| seen.hosts().clock_freezes > 0;
    clock_freeze_ms: off SHORT, |seen| seen.is_only_clock_fault(ClockFault::Freeze) && seen.hosts().clock_error_ms > 1;
    pause_probability: off Rate::ZERO, |seen| !seen.has_script && seen.hosts().pauses > 0;
    processing: off SimDuration::ZERO, |seen| {
        let paused = seen.has_script || seen.faults.hosts.pause_probability > Rate::ZERO;
        !paused && seen.hosts().inputs_delayed > 0
    };
    failed_write_rate: off Rate::ZERO, |seen| seen.hosts().failed_writes > 0;
    torn_write_probability: off Rate::ZERO, |seen| seen.hosts().torn_writes > 0;
    lying_sync_rate: off Rate::ZERO, |seen| seen.hosts().lost_commits > 0;
    rot_probability: off Rate::ZERO, |seen| seen.hosts().rotten_rows > 0;
    restore_probability: off Rate::ZERO, |seen| seen.hosts().restored_disks > 0;
    clone_probability: off Rate::ZERO, |seen| seen.hosts().cloned_disks > 0;
    lost_disk_probability: off Rate::ZERO, |seen| seen.hosts().lost_disks > 0;
    clock_ahead_probability: off Rate::ZERO, |seen| seen.hosts().clocks_ahead > 0;
}

// Each kind of lie is a coverage target of its own.
fault_settings! {
    OF_HOSTILE, HostileFaults, |faults| faults.hostile, but lies;
    nodes: off 0, |seen| seen.metrics.hostile.total_lies() > 0;
    outsiders: off 0, |seen| seen.metrics.hostile.lies_by_outsiders > 0;
    rate: off Rate::ZERO, |seen| seen.metrics.hostile.total_lies() > 0;
    group_key: off false, |seen| {
        let hostile = &seen.metrics.hostile;
        hostile.keyless > 0 && hostile.deltas_refused > 0
    };
}
