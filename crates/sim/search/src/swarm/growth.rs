//! Draws worlds in which something is large: states, documents, values, keys, trees, lists, the number of authors.

use crate::case::Case;
use crate::swarm::Profile;
use crate::swarm::draws::Dice;
use sync_sim_cluster::hostile::HostileFaults;
use sync_sim_cluster::workload::{Growth, Workload};
use syncline_types::{Limits, SimDuration};

/// In the small profile one run of so many makes something large. As many are old: together they are one of eight.
const ONE_OF: u64 = 16;
/// A world up to this size, in entities, is not large: its pages take no extra time.
const ORDINARY: u64 = 4_000;
/// Entities that travel in one round trip.
const A_PAGE: u64 = 1_000;
/// Bytes of a value that take as long as one entity.
const AN_ENTITY: u64 = 1_024;

/// Of the edits of a document, whose cost grows with their square at present, a modest world has so much less.
const EDITS_FRACTION: u64 = 20;

/// The safety phase of a large world is longer by this.
const LARGE_TIME: SimDuration = SimDuration::from_secs(30);

/// What is large in a world.
#[derive(Clone, Copy)]
enum Large {
    /// The states that nodes begin with.
    States,
    /// What a workload makes large.
    Workload(Growth),
    /// The number of authors.
    Authors,
    /// The number of writes to very few entities.
    HotKeys,
}

/// What may be large; what is listed more often is drawn more often.
const LARGE: [Large; 13] = [
    Large::States,
    Large::States,
    Large::Workload(Growth::Document),
    Large::Workload(Growth::Document),
    Large::Workload(Growth::Document),
    Large::Workload(Growth::LargeValues),
    Large::Workload(Growth::Import),
    Large::Workload(Growth::Prefixes),
    Large::Workload(Growth::ListInTurn),
    Large::Workload(Growth::ListInTurn),
    Large::Workload(Growth::DeepTree),
    Large::Authors,
    Large::HotKeys,
];

/// The sizes of one profile, each drawn log-uniformly from the smallest to the largest.
struct Sizes {
    /// In this percentage of worlds, the sizes that cost the most time end at a fraction of the largest.
    modest_percent: u64,
    nodes: (u64, u64),
    /// Entities of all nodes, or new entities of an import.
    entities: (u64, u64),
    /// Edits of a document.
    edits: (u64, u64),
    /// Edits in one write.
    edits_at_once: (u64, u64),
    /// Characters that a document begins with.
    pasted: (u64, u64),
    /// Bytes of the largest value.
    value: (u64, u64),
    /// Large values.
    values: (u64, u64),
    /// The length of the longest key.
    key: (u64, u64),
    /// Items of a list.
    items: (u64, u64),
    /// The depth of a tree.
    depth: (u64, u64),
    authors: (u64, u64),
    /// Writes to few entities.
    hot_writes: (u64, u64),
}

const SMALL: Sizes = Sizes {
    modest_percent: 90,
    nodes: (2, 3),
    entities: (300, 3_000),
    edits: (20, 3_000),
    edits_at_once: (1, 32),
    pasted: (1, 20_000),
    value: (1 << 12, 1 << 20),
    values: (2, 8),
    key: (16, 256),
    items: (16, 192),
    depth: (16, 512),
    authors: (100, 2_000),
    hot_writes: (64, 128),
};

const LARGE_SIZES: Sizes = Sizes {
    modest_percent: 0,
    nodes: (2, 3),
    entities: (10_000, 100_000),
    edits: (10_000, 100_000),
    edits_at_once: (1, 256),
    pasted: (1_000, 200_000),
    value: (1 << 18, 1 << 20),
    values: (8, 32),
    key: (1_000, 6_000),
    items: (500, 4_000),
    depth: (512, 2_000),
    authors: (2_000, 20_000),
    hot_writes: (1_000, 10_000),
};

/// Makes something large in the case, in one run of sixteen of the small profile and in every run of the large one. Returns
/// whether it did.
pub(super) fn draw(dice: &mut Dice, profile: Profile, case: &mut Case) -> bool {
    let sizes = match profile {
        Profile::Small if dice.between(1, ONE_OF) > 1 => return false,
        Profile::Small => SMALL,
        Profile::Large => LARGE_SIZES,
    };
    let nodes = dice.scaled(sizes.nodes.0, sizes.nodes.1) as usize;
    let is_modest = dice.percent(sizes.modest_percent);
    let bounded = |(low, high): (u64, u64), fraction: u64| {
        (low, if is_modest { (high / fraction).max(low) } else { high })
    };
    let entities = bounded(sizes.entities, 6);
    let entities = dice.scaled(entities.0, entities.1);
    prepare(case, profile, nodes);
    // Thousands of writes within one round trip would overtake each other, so that nothing grows in turn.
    let over = SimDuration::from_millis(case.calm_after.unwrap_or_default().as_millis() * 3 / 4);
    let growing = |growth, writes: u64, operations, size| Workload {
        operations,
        size,
        keys: 2,
        ..Workload::growing(growth, writes.max(2) as usize, over)
    };
    match dice.one_of(Large::States, &LARGE) {
        Large::States => {
            if let Some(scenario) = &mut case.scenario {
                scenario.entities = entities as usize / nodes;
            }
        }
        Large::Workload(growth) => {
            let mut scaled = |(low, high): (u64, u64)| dice.scaled(low, high);
            case.workload = match growth {
                Growth::Document => {
                    let at_once = scaled(sizes.edits_at_once);
                    growing(
                        growth,
                        scaled(bounded(sizes.edits, EDITS_FRACTION)) / at_once,
                        at_once,
                        scaled(sizes.pasted),
                    )
                }
                Growth::LargeValues => {
                    growing(growth, scaled(sizes.values), 1, scaled(bounded(sizes.value, 6)))
                }
                Growth::Import => {
                    let at_once = scaled(((entities / 64).min(512), 512));
                    growing(growth, entities / at_once, at_once, 1)
                }
                Growth::Prefixes => growing(growth, scaled(sizes.key) / 8, 8, 1),
                // A long list has a draw of its own, so that it is none of these.
                Growth::ListInTurn | Growth::LongList => growing(growth, scaled(sizes.items), 1, 1),
                Growth::DeepTree => {
                    let depth = scaled(bounded(sizes.depth, 6));
                    growing(growth, depth / 8, 8, depth)
                }
            };
        }
        Large::Authors => {
            case.former_authors = dice.scaled(sizes.authors.0, sizes.authors.1) as usize;
            // Nodes that know the members would refuse what strangers wrote.
            case.forget_tombstones = false;
        }
        Large::HotKeys => {
            let writes = dice.scaled(sizes.hot_writes.0, sizes.hot_writes.1) as usize;
            let keys = dice.between(1, 3);
            case.workload = Workload { keys, operations: 4, ..Workload::hot_key(writes, over) };
        }
    }
    true
}

/// In one run of a hundred that makes nothing else large, makes a list of long runs. In the large profile it takes the place of
/// what one run of twenty makes large. Returns whether it did.
pub(super) fn draw_list(dice: &mut Dice, profile: Profile, grows: bool, case: &mut Case) -> bool {
    /// Longer lists exceed what an edit may read.
    const ITEMS: (u64, u64) = (110, 170);
    let is_drawn = match profile {
        Profile::Small => dice.percent(1) && !grows,
        Profile::Large => dice.percent(5),
    };
    if is_drawn {
        prepare(case, profile, dice.between(2, 3) as usize);
        case.former_authors = 0;
        let over = SimDuration::from_millis(case.calm_after.unwrap_or_default().as_millis() * 3 / 4);
        let items = dice.between(ITEMS.0, ITEMS.1);
        let writes = items + dice.between(0, 20);
        case.workload =
            Workload { size: items, ..Workload::growing(Growth::LongList, writes as usize, over) };
    }
    is_drawn
}

/// Gives a world that is to be large its nodes and its time.
fn prepare(case: &mut Case, profile: Profile, nodes: usize) {
    // A world is large in one respect: what is drawn for the others stays, as far as it costs little.
    case.contexts = 1;
    case.replica.limits = Limits::default();
    case.faults.hostile = HostileFaults::none();
    case.faults.late_joiners = case.faults.late_joiners.min(1);
    // A large frame would never pass a small queue, however often it is sent again.
    case.faults.links.bandwidth = 0;
    case.faults.links.queue_bytes = 0;
    case.faults.links.shared_uplink = false;
    if let Some(scenario) = &mut case.scenario {
        scenario.nodes = nodes;
        scenario.entities = scenario.entities.min(48);
    }
    if profile == Profile::Large {
        let calm_after = case.calm_after.unwrap_or_default() + LARGE_TIME;
        case.calm_after = Some(calm_after);
        case.chaos_for = calm_after;
    }
}

/// The round trips that a large state takes, beyond those of an ordinary one.
pub(super) fn pages(case: &Case) -> u64 {
    let workload = &case.workload;
    let begun = case.scenario.as_ref().map_or(0, |scenario| scenario.nodes * scenario.entities);
    let operations = workload.writes as u64 * workload.operations;
    let content = match workload.grows {
        Some(Growth::LargeValues) => operations * workload.size / AN_ENTITY,
        Some(Growth::Document) => operations * (1 + workload.size / AN_ENTITY),
        _ => operations,
    };
    let all = begun as u64 + case.former_authors as u64 + content;
    if all <= ORDINARY { 0 } else { all / A_PAGE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;
    use std::collections::BTreeSet;

    fn is_grown(case: &Case) -> bool {
        let entities = case.scenario.as_ref().map_or(0, |scenario| scenario.entities);
        case.workload.grows.is_some()
            || case.former_authors > 0
            || entities >= 75
            || case.workload.writes > 64
    }

    #[test]
    fn one_seed_of_sixteen_grows() {
        let grown = (0..4_000).map(swarm::draw).filter(|case| case.workload.grows.is_some()).count();
        // Nine of thirteen kinds are workloads. One run of a hundred has a long list.
        assert!((160..260).contains(&grown), "{grown} of 4000");
        assert!((0..200).all(|seed| is_grown(&swarm::draw_in(seed, Profile::Large))));
    }

    #[test]
    fn every_kind_of_growth_is_drawn() {
        for profile in [Profile::Small, Profile::Large] {
            let drawn = (0..2_000).map(|seed| swarm::draw_in(seed, profile));
            let kinds: BTreeSet<Growth> = drawn.filter_map(|case| case.workload.grows).collect();
            assert_eq!(kinds.len(), Growth::ALL.len());
        }
    }

    #[test]
    fn large_cases_survive_text_and_build() {
        for seed in 0..100 {
            let case = swarm::draw_in(seed, Profile::Large);
            case.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let again: Case = case.to_text().unwrap().parse().unwrap();
            assert_eq!(again, case, "seed {seed}");
        }
    }

    #[test]
    fn large_states_have_more_time() {
        let case = swarm::draw_in(1, Profile::Large);
        assert!(pages(&case) > 0 || case.workload.grows == Some(Growth::ListInTurn));
        let small = Case { workload: Workload { writes: 10, ..Workload::default() }, ..Case::default() };
        assert_eq!(pages(&small), 0);
        assert!(swarm::liveness_bound(&case) > SimDuration::from_secs(60));
    }
}
