//! Swarm testing: whole cases drawn from a seed — the number of nodes, the topology, the initial state, the
//! faults with whole families of them off, the writes, and the settings of the replicas.
//!
//! Source: Groce et al., "Swarm testing", ISSTA 2012.
//!
//! A drawn run has two phases. In the safety phase, faults happen, and every invariant is checked after
//! every event. Then all faults end, and in the liveness phase the run must converge within a time that
//! follows from the case ([`liveness_bound`]). A run that takes longer is a finding.
//!
//! ```
//! use sync_sim::swarm;
//!
//! let case = swarm::draw(7);
//! assert!(case.run()?.class.is_converged());
//! # Ok::<(), sync_sim::case::CaseError>(())
//! ```

mod arrivals;
mod collections;
mod contexts;
mod draws;
mod faults;
mod growth;
mod hostile;
mod identity;
mod old;
mod replica;
mod writers;

use crate::case::{Case, ScenarioSpec};
use crate::swarm::draws::Dice;
use sync_sim_cluster::scenarios::NAMED;
use sync_sim_cluster::workload::{Mix, Workload};
use sync_sim_engine::faults::{LinkModel, Rate};
use sync_sim_engine::network::Topology;
use syncline_sync::{Selection, SyncProtocolKind};
use syncline_types::{Limits, SimDuration, SimTime};

/// The parts of a case. Each draws from a stream of its own: one more draw for one part leaves the other
/// parts of all seeds unchanged. The numbers are part of the meaning of a seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u64)]
enum DrawStream {
    Shape = 1,
    Room = 2,
    Faults = 3,
    Links = 4,
    Workload = 5,
    Hosts = 6,
    Hostile = 7,
    Disks = 8,
    Contexts = 9,
    Replica = 10,
    CollectedRecords = 11,
    Old = 20,
    ReplacedDisks = 21,
    ClocksAhead = 22,
    Merges = 23,
    Namings = 24,
    Growth = 30,
    Together = 60,
    Disputed = 61,
    Moves = 62,
    LongList = 63,
    OddKeys = 64,
    Collections = 40,
    GroupKey = 50,
    Arrivals = 51,
    HostileSessions = 52,
}

/// How large the drawn worlds are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Worlds that run within milliseconds; one of eight is old or makes something large.
    #[default]
    Small,
    /// Every world makes something large: 10,000 to 100,000 entities or edits, or single values at their limits. A
    /// run takes seconds, and may need more stack or memory than a process has: run such seeds in processes of
    /// their own.
    Large,
}

impl DrawStream {
    const ALL: [Self; 26] = [
        Self::Shape,
        Self::Room,
        Self::Faults,
        Self::Links,
        Self::Workload,
        Self::Hosts,
        Self::Hostile,
        Self::Disks,
        Self::Contexts,
        Self::Replica,
        Self::Old,
        Self::ReplacedDisks,
        Self::ClocksAhead,
        Self::Merges,
        Self::Namings,
        Self::Growth,
        Self::Together,
        Self::Disputed,
        Self::Moves,
        Self::LongList,
        Self::OddKeys,
        Self::Collections,
        Self::GroupKey,
        Self::Arrivals,
        Self::HostileSessions,
        Self::CollectedRecords,
    ];
}

/// Draws the case of a seed.
pub fn draw(seed: u64) -> Case {
    draw_in(seed, Profile::Small)
}

/// Draws the case of a seed in a profile.
pub fn draw_in(seed: u64, profile: Profile) -> Case {
    draw_parts(&PartSeeds::of(seed), profile)
}

/// The seeds from which the parts of a case are drawn, and the seed of its run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartSeeds {
    /// The seed of the run.
    pub run: u64,
    parts: [u64; Self::PARTS],
}

impl PartSeeds {
    /// The number of parts: shape, faults, workload and so on.
    pub const PARTS: usize = DrawStream::ALL.len();

    /// All parts and the run from one seed.
    pub const fn of(seed: u64) -> Self {
        Self { run: seed, parts: [seed; Self::PARTS] }
    }

    /// The seed of a part, which is below [`PartSeeds::PARTS`].
    pub const fn part(&self, part: usize) -> u64 {
        self.parts[part]
    }

    /// Draws a part, which is below [`PartSeeds::PARTS`], from another seed.
    pub const fn set_part(&mut self, part: usize, seed: u64) {
        self.parts[part] = seed;
    }

    fn dice(&self, part: DrawStream) -> Dice {
        let at = DrawStream::ALL.iter().position(|other| *other == part).expect("every part is in the list");
        Dice::new(self.parts[at], part as u64)
    }
}

/// Draws a case whose parts have seeds of their own.
pub fn draw_parts(seeds: &PartSeeds, profile: Profile) -> Case {
    let seed = seeds.run;
    let dice = |part: DrawStream| seeds.dice(part);
    let mut shape = dice(DrawStream::Shape);
    let calm_after = SimDuration::from_millis(shape.scaled(500, 8_000));
    let mut case = Case { seed, calm_after: Some(calm_after), chaos_for: calm_after, ..Case::default() };
    draw_shape(&mut shape, &mut case);
    draw_room(&mut dice(DrawStream::Room), &mut case);
    case.faults = faults::draw(
        &mut dice(DrawStream::Faults),
        &mut dice(DrawStream::Links),
        &mut dice(DrawStream::Hosts),
        calm_after.as_millis(),
    );
    faults::draw_disks(&mut dice(DrawStream::Disks), &mut case.faults.hosts);
    hostile::draw(&mut dice(DrawStream::Hostile), &mut case);
    hostile::draw_keys(&mut dice(DrawStream::GroupKey), &mut case.faults.hostile);
    hostile::draw_sessions(&mut dice(DrawStream::HostileSessions), &mut case);
    contexts::draw(&mut dice(DrawStream::Contexts), &mut case);
    replica::draw(&mut dice(DrawStream::Replica), &mut case);
    case.workload = draw_workload(&mut dice(DrawStream::Workload), calm_after);
    writers::draw_moves(&mut dice(DrawStream::Moves), &mut case.workload);
    let grows = growth::draw(&mut dice(DrawStream::Growth), profile, &mut case);
    let grows = growth::draw_list(&mut dice(DrawStream::LongList), profile, grows, &mut case) || grows;
    if !grows {
        arrivals::draw(&mut dice(DrawStream::Arrivals), &mut case);
    }
    identity::draw_namings(&mut dice(DrawStream::Namings), &mut case);
    // The writes of a world that grows are no merges, and a far clock or an old world would leave nothing of them.
    if !grows {
        collections::draw(&mut dice(DrawStream::Collections), &mut case);
        identity::draw_merges(&mut dice(DrawStream::Merges), &mut case);
    }
    identity::draw_disks(&mut dice(DrawStream::ReplacedDisks), &mut case);
    if !grows {
        identity::draw_clocks(&mut dice(DrawStream::ClocksAhead), &mut case);
        old::draw(&mut dice(DrawStream::Old), &mut case);
        writers::draw_together(&mut dice(DrawStream::Together), &mut case.workload);
        writers::draw_disputed(&mut dice(DrawStream::Disputed), &mut case.workload);
        writers::draw_odd_keys(&mut dice(DrawStream::OddKeys), &mut case.workload);
    }
    replica::draw_collected(&mut dice(DrawStream::CollectedRecords), &mut case);
    case.max_time = SimTime::ZERO + case.calm_after.unwrap_or(calm_after) + liveness_bound(&case);
    case
}

/// Draws the nodes, their topology and initial state, and how protocols are selected.
fn draw_shape(dice: &mut Dice, case: &mut Case) {
    const NODES: [usize; 19] = [1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 7];
    let nodes = dice.one_of(6, &NODES);
    let most = if dice.percent(3) { 400 } else { 48 };
    let entities = (dice.scaled(1, most) - 1) as usize;
    let name = dice.one_of("diverged", &NAMED.map(|scenario| scenario.name));
    case.scenario = Some(ScenarioSpec { name: name.to_owned(), nodes, entities });
    if dice.percent(50) {
        case.topology = dice.one_of(Topology::Mesh, &Topology::ALL);
    }
    case.selection = dice.one_of(Selection::Adaptive, &[Selection::Adaptive, Selection::Table]);
    if dice.percent(50) {
        let kind = dice.one_of(SyncProtocolKind::HashComparison, &SyncProtocolKind::EXECUTABLE);
        case.protocol = (kind != SyncProtocolKind::None).then_some(kind);
    }
}

/// Draws the capacity of buffers and the retention of deltas and tombstones.
fn draw_room(dice: &mut Dice, case: &mut Case) {
    if dice.percent(20) {
        case.buffer_capacity = dice.scaled(1, 32) as usize;
    }
    if dice.percent(25) {
        case.delta_retention = dice.scaled(1, 64);
    }
    case.forget_tombstones = dice.percent(85);
}

/// Draws the random writes, which end in the first three quarters of the safety phase.
fn draw_workload(dice: &mut Dice, calm_after: SimDuration) -> Workload {
    let writes = if dice.percent(8) { 0 } else { dice.scaled(1, 64) as usize };
    let over = SimDuration::from_millis(dice.between(1, calm_after.as_millis() * 3 / 4));
    let (_, preset) = dice.one_of(Workload::PRESETS[0], &Workload::PRESETS[..Workload::RANDOM_PRESETS]);
    let mut workload = preset(writes, over);
    if dice.percent(50) {
        workload.mix = Mix::drawn(&mut || if dice.percent(50) { dice.scaled(1, 16) as u32 } else { 0 });
    }
    let mut sometimes = |percent, low, high| match dice.percent(percent) {
        true => dice.rate(low, high),
        false => Rate::ZERO,
    };
    workload.before = sometimes(50, 10_000, 500_000);
    workload.clash = sometimes(70, 20_000, 500_000);
    workload.burst = sometimes(60, 20_000, 500_000);
    workload.crash = sometimes(60, 10_000, 300_000);
    workload.away = sometimes(60, 10_000, 300_000);
    workload.keys = dice.scaled(1, 32);
    workload.skew = dice.between(0, 4) as u32;
    workload.operations = dice.between(1, 4);
    workload.burst_writes = dice.scaled(1, 16);
    workload.anywhere = dice.percent(80);
    workload
}

/// The round trips that a session has time for, unless a world limits sessions on purpose.
const ROUNDS: u64 = 40;

/// A round trip in a calm network.
fn round_trip(case: &Case) -> SimDuration {
    let faults = &case.faults;
    SimDuration::from_millis(2 * (faults.base_latency_ms + faults.latency_jitter_ms).max(1))
}

/// The time within which a run of this case must converge once all faults have ended: frames in flight must
/// arrive, sessions and backoff pauses that began before must end; then every node learns of a difference
/// within one heartbeat, and the difference travels along the longest path of the topology.
pub fn liveness_bound(case: &Case) -> SimDuration {
    let replica = &case.replica;
    let longest = replica.backoff_max.max(replica.heartbeat_max);
    // Jitter adds up to a quarter.
    let pause = longest + SimDuration::from_micros(longest.as_micros() / 4);
    let faults = &case.faults;
    let links = &case.faults.links;
    let calm = SimDuration::from_millis(faults.base_latency_ms + faults.latency_jitter_ms);
    let mut flight = calm + SimDuration::from_millis(faults.reorder_window_ms);
    flight = flight.times(faults.slow_node_permille.div_ceil(1_000));
    if links.bad_link_rate > Rate::ZERO {
        flight = flight.times(links.bad_link_slowdown);
    }
    if links.tail_rate > Rate::ZERO {
        flight = flight + links.tail_most;
    }
    if let Some(wait) = links.queue_bytes.saturating_mul(1_000_000).checked_div(links.bandwidth) {
        flight = flight + SimDuration::from_micros(wait);
    }
    if links.model == LinkModel::Stream {
        flight = flight.times(3) + links.retransmit_after.times(10) + links.reset_after;
    }
    let nodes = case.scenario.as_ref().map_or(case.nodes.len(), |scenario| scenario.nodes) as u64;
    let rounds = rounds_of_small_pages(case, nodes);
    let mut hop = SimDuration::from_secs(2) + calm.times(2 * (ROUNDS + rounds));
    // A session that runs out of time is followed by a pause and another one.
    let in_session = replica.session_deadline.as_micros() / round_trip(case).as_micros();
    hop = hop + pause.times((ROUNDS + rounds) / in_session.clamp(1, ROUNDS) - 1);
    // A large state takes many round trips, each of which may time out.
    let pages = (flight + SimDuration::from_secs(1)).times(growth::pages(case));
    flight + replica.timeout_max + pause.times(2) + hop.times(nodes + faults.late_joiners) + pages
}

/// The rounds that small pages add to the transfer of all records of a case.
fn rounds_of_small_pages(case: &Case, nodes: u64) -> u64 {
    /// About the size of a small record or delta, in bytes.
    const ITEM: usize = 128;
    let limits = &case.replica.limits;
    let per_page = limits
        .records_per_frame()
        .min(limits.deltas_per_frame())
        .min(limits.children_per_answer())
        .min(limits.questions_per_frame() - 1)
        .min(limits.page_bytes() / ITEM)
        .min(limits.snapshot_page_bytes() / ITEM)
        .max(1);
    if case.replica.limits == Limits::default() {
        return 0;
    }
    let entities = case.scenario.as_ref().map_or(0, |scenario| scenario.entities) as u64 * nodes;
    let workload = &case.workload;
    let operations = workload.operations + u64::from(workload.together > Rate::ZERO);
    // Beside each collection there are as many writes again at most.
    let times = 1 + u64::from(workload.around_collections > Rate::ZERO);
    (entities + workload.writes as u64 * operations * times) / per_page as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_cases_survive_text_and_build() {
        for seed in 0..300 {
            let case = draw(seed);
            case.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let again: Case = case.to_text().unwrap().parse().unwrap();
            assert_eq!(again, case, "seed {seed}");
            assert_eq!(draw(seed), case);
        }
    }

    #[test]
    fn writes_end_in_safety_phase() {
        for case in (0..300).map(draw) {
            assert!(case.calm_after.unwrap() > case.workload.over);
            assert!(case.max_time > SimTime::ZERO + case.calm_after.unwrap());
        }
    }
}
