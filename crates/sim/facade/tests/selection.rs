//! The quality of protocol selection: over a grid of states and links, the time of the selected protocol
//! relative to the best one. Times are virtual, so the figures are the same everywhere.

use sync_sim::compare_protocols::{
    Comparison, Link, Outcome, Selection, Shape, Spread, StatePair, SyncProtocolKind,
};

/// The time of the selected protocol in percent of the best, ascending.
fn ratios(how: Selection, grounds: &[StatePair], links: &[Link]) -> Vec<u64> {
    let mut ratios = Vec::new();
    for ground in grounds {
        for link in links {
            let ground = ground.clone().over(*link);
            let time = |protocol| {
                let measured = ground.run(protocol, how, &mut || 0).unwrap();
                assert!(matches!(measured.outcome, Outcome::Converged { .. }), "{:?}", ground.parameters());
                (measured.time_us, measured.protocol)
            };
            let kinds = SyncProtocolKind::EXECUTABLE.into_iter().skip(1);
            let kinds = kinds.filter(|kind| *kind != SyncProtocolKind::Snapshot);
            let (best, named) = kinds.map(|kind| time(Some(kind))).min().unwrap();
            let (chosen, kind) = time(None);
            let ratio = chosen * 100 / best.max(1);
            if ratio > 150 && how == Selection::Adaptive {
                println!("{ratio} %: {kind} where {named} is best, {:?}", ground.parameters());
            }
            ratios.push(ratio);
        }
    }
    ratios.sort_unstable();
    ratios
}

fn grounds() -> Vec<StatePair> {
    let mut grounds = Vec::new();
    for shape in [Shape::Flat, Shape::Wide, Shape::Deep, Shape::Chain] {
        for entities in [50, 1_000, 5_000] {
            // A debug build, ten times slower, leaves the largest states to `.ci/run release-tests`.
            if cfg!(debug_assertions) && entities > 1_000 {
                continue;
            }
            let case = Comparison {
                entities,
                difference: 0,
                shape,
                spread: Spread::Random,
                value_bytes: 100,
                history: false,
                link: Link::default(),
            };
            if shape == Shape::Chain && entities > 1_000 {
                continue;
            }
            let bare = StatePair::new(case).unwrap();
            for difference in [1, 10, 100, 1_000] {
                for spread in [Spread::Random, Spread::Clustered] {
                    grounds.push(bare.differing(difference, spread).unwrap());
                }
            }
        }
    }
    grounds
}

#[test]
fn adaptive_selection_is_near_optimal() {
    let links: Vec<Link> = [(500, 125_000_000), (50_000, 2_500_000), (200_000, 125_000)]
        .map(|(round_trip_us, bytes_per_second)| Link { round_trip_us, bytes_per_second })
        .to_vec();
    let grounds = grounds();
    let [adaptive, table] = [Selection::Adaptive, Selection::Table].map(|how| ratios(how, &grounds, &links));
    let figures =
        |ratios: &[u64]| (ratios[ratios.len() / 2], ratios[ratios.len() * 9 / 10], ratios[ratios.len() - 1]);
    println!("of {} cases, in percent of the best: median, worst of ten, worst", adaptive.len());
    println!("adaptive {:?}, table {:?}", figures(&adaptive), figures(&table));
    let (median, _, worst) = figures(&adaptive);
    assert!(median <= 115, "the median is {median} % of the best");
    assert!(worst <= 200, "the worst is {worst} % of the best");
    assert!(median <= figures(&table).0);
}
