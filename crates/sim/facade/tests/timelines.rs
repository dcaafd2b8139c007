//! Timelines: what the page shows of a run is true of the run.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim::case::{Case, ScenarioSpec};
use sync_sim::prelude::*;
use sync_sim::swarm;
use sync_sim::timeline::Timeline;

/// The timeline of a case as the viewer gets it.
fn timeline(case: &Case) -> Value {
    let mut rt = case.build().unwrap();
    rt.keep_history(usize::MAX);
    let stop = rt.run();
    serde_json::to_value(Timeline::of_run(&rt, &stop).unwrap().unwrap()).unwrap()
}

/// A run of fifty nodes that write and hardly sync, so that they are in fifty states.
fn crowded(seed: u64, latency_ms: u64) -> Case {
    Case {
        seed,
        scenario: Some(ScenarioSpec { name: "diverged".into(), nodes: 50, entities: 4 }),
        faults: FaultConfig::none().with_latency(latency_ms, 0),
        workload: Workload { writes: 150, over: SimDuration::from_secs(1), ..Workload::default() },
        max_time: SimTime::from_millis(1_500),
        ..Case::default()
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Asserts that different states never look alike at any moment. Gives the largest number of states at one moment.
fn assert_looks_differ(timeline: &Value) -> usize {
    let looks = timeline["stateLooks"]["looks"].as_array().unwrap();
    let look_of = numbers(&timeline["stateLooks"]["of"]);
    let nodes = timeline["digests"].as_array().unwrap().iter();
    let nodes: Vec<(Vec<u64>, Vec<u64>)> =
        nodes.map(|own| (numbers(&own["t"]), numbers(&own["d"]))).collect();
    let moments: BTreeSet<u64> = nodes.iter().flat_map(|(times, _)| times.iter().copied()).collect();
    let mut most = 0;
    for moment in moments {
        let mut states = BTreeSet::new();
        for (times, digests) in &nodes {
            // The state that ends in this instant and the one that begins in it are both drawn there.
            let after = times.partition_point(|time| *time <= moment);
            let before = times.partition_point(|time| *time < moment);
            states.extend(digests[before.saturating_sub(1)..after].iter().copied());
        }
        let mut shown: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for state in &states {
            let look = &looks[look_of[*state as usize] as usize];
            let seen = (look["color"].as_str().unwrap().to_owned(), look["pattern"].as_u64().unwrap());
            let other = shown.insert(seen, *state);
            assert_eq!(other, None, "state {state} looks as another at {moment} µs");
        }
        most = most.max(states.len());
    }
    most
}

#[test]
fn coexisting_states_never_look_alike() {
    let seeds = if cfg!(debug_assertions) { 25 } else { 250 };
    let drawn = (0..seeds).map(|seed| assert_looks_differ(&timeline(&swarm::draw(seed))));
    assert!(drawn.max() > Some(4));
    for (seed, latency_ms) in [(1, 2_000), (2, 300), (3, 20)] {
        assert!(assert_looks_differ(&timeline(&crowded(seed, latency_ms))) >= 50);
    }
}

#[test]
fn writes_are_shown_in_words() {
    const VERBS: [&str; 9] =
        ["sets", "adds", "changes", "makes", "removes", "inserts", "deletes", "freezes", "merges"];
    let is_worded = |text: &str| VERBS.iter().any(|verb| text.starts_with(verb));
    let mut count = 0;
    for seed in 0..20 {
        let timeline = timeline(&swarm::draw(seed));
        for mark in timeline["marks"].as_array().unwrap().iter().filter(|mark| mark["what"] == "write") {
            let text = mark["text"].as_str().unwrap();
            let what = match text.split_once("accepted: ") {
                Some((_, what)) => what,
                None => text.strip_prefix("the application ").unwrap_or(text),
            };
            assert!(is_worded(what), "{text}");
            assert!(!text.contains('{') && !text.contains("Some("), "{text}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
