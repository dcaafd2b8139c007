//! Shrinking of large cases: megabytes of text and thousands of operations around a planted cause.

use std::fmt::Write;
use sync_sim::prelude::*;
use sync_sim::shrink::{Shrunk, shrink};

/// The lines around the cause. A run of the unoptimized simulator takes twenty times as long.
const LINES: usize = if cfg!(debug_assertions) { 300 } else { 4_200 };
/// The bytes of a large case, and of the result.
const LARGE: usize = LINES * 1_190;
const SMALL: usize = 2_000;
/// The most runs for a large case. A run of what is left after the first cuts takes a millisecond.
const MOST_RUNS: u64 = 120;

/// A case in which two writers of one entity meet a merge function that is another join than the application means. Around them, `bulk` writes lines
/// that have no part in the failure.
fn planted(settings: &str, bulk: impl Fn(usize) -> String) -> Case {
    let mut text = format!("merge_faults = {{ function = \"intersects\" }}\n{settings}\nscript = [\n");
    for line in 0..LINES {
        text += &bulk(line);
        let writers = ["alice", "bob"];
        if let Some(node) = line.checked_sub(LINES / 2).and_then(|at| writers.get(at)) {
            let at = 1_234 + line;
            let _ = writeln!(
                text,
                "{{ at = \"{at}ms\", write = {{ node = \"{node}\", ops = [{{ merge = {{ target = \"flags\", \
                 type = \"workload.flags\", in = \"{node}\" }} }}] }} }},"
            );
        }
    }
    text += "]\n";
    text.parse().unwrap()
}

/// A write by one of the nodes.
fn write(line: usize, operations: &str) -> String {
    let node = ["alice", "bob"][line % 2];
    format!("{{ at = \"{}ms\", write = {{ node = \"{node}\", ops = [{operations}] }} }},\n", 1_000 + line)
}

const NODES: &str = "nodes = [{ name = \"alice\" }, { name = \"bob\" }]";

/// Shrinks a case, and checks what is true of every result.
fn shrunk(case: &Case, most_runs: u64) -> Shrunk {
    let class = case.run().unwrap().class;
    let shrunk = shrink(case, most_runs, &mut |_| true).unwrap();
    let text = shrunk.case.to_text().unwrap();
    let again: Case = text.parse().unwrap();
    assert_eq!(again.run().unwrap().class, class, "{text}");
    assert_eq!(shrunk.case.found, Some(class));
    assert_eq!(shrunk.finished, shrunk.unfinished.is_empty());
    assert!(shrunk.case.size().causes() <= shrunk.from.causes(), "{}:\n{text}", shrunk.from);
    shrunk
}

/// Checks that a large case becomes the two merges alone, in few runs.
fn becomes_small(case: &Case) {
    let small = shrunk(case, MOST_RUNS);
    assert!(small.from_bytes > LARGE, "{} bytes", small.from_bytes);
    let text = small.case.to_text().unwrap();
    assert!(small.finished, "{:?} after {} runs:\n{text}", small.unfinished, small.runs);
    assert!(text.len() < SMALL, "{text}");
    assert_eq!(small.case.size().causes(), 2, "{text}");
}

#[test]
fn many_texts_go() {
    let letters = "lorem ipsum ".repeat(100);
    becomes_small(&planted(NODES, |line| {
        let insert =
            format!("{{ insert_text = {{ target = \"text/{line}\", at = 0, text = \"{letters}\" }} }}");
        let increment = format!("{{ increment = {{ target = \"likes/{}\", by = {line} }} }}", line % 60);
        write(line, &format!("{insert}, {increment}"))
    }));
}

#[test]
fn many_values_under_long_keys_go() {
    let letters = "lorem ipsum ".repeat(60);
    let key = "a long key ".repeat(45);
    becomes_small(&planted(NODES, |line| {
        write(line, &format!("{{ set = {{ target = \"> {key}{line}\", to = \"{line} {letters}\" }} }}"))
    }));
}

#[test]
fn large_states_before_the_run_go() {
    let letters = "lorem ipsum ".repeat(100);
    let list = |name: &str, items: &mut dyn Iterator<Item = String>| {
        format!("{name} = [{}]", items.collect::<Vec<_>>().join(", "))
    };
    let half = LINES / 2;
    let entities = list("entities", &mut (0..half).map(|at| format!("\"page {at} = {letters}\"")));
    let set = |at| format!("{{ set = {{ target = \"> key {at}\", to = \"{letters}\" }} }}");
    let writes = list("writes", &mut (0..half).map(set));
    let nodes = format!(
        "shared = [\"page/0..3000\"]\nnodes = [{{ name = \"alice\", {entities} }}, {{ name = \"bob\", {writes} }}]"
    );
    becomes_small(&planted(&nodes, |_| String::new()));
}

/// The failure needs a part of a long text: as much of it stays as it needs.
#[test]
fn needed_part_of_long_text_stays() {
    let text = "lorem ipsum ".repeat(300);
    let case: Case = format!(
        "max_frame_bytes = 2000\n{NODES}\nscript = [{}]",
        write(0, &format!("{{ insert_text = {{ target = \"text\", at = 0, text = \"{text}\" }} }}"))
    )
    .parse()
    .unwrap();
    let small = shrunk(&case, 1_000);
    let text = small.case.to_text().unwrap();
    let needed = text.matches('x').count();
    assert!(
        small.finished && (500..3_000).contains(&needed),
        "{needed} characters, {} runs: {text}",
        small.runs
    );
    assert!(!text.contains("lorem"), "{text}");
}

/// Names, keys, values and times are all larger than the failure needs.
#[test]
fn names_values_and_times_become_small() {
    let case: Case = r#"
        merge_faults = { function = "intersects" }
        max_time = "1h"
        nodes = [{ name = "the first of the two nodes" }, { name = "the second of the two nodes" }]
        script = [
            { at = "1234567us", write = { node = "the first of the two nodes", ops = [
                { merge = { target = "> the flags of everything", type = "workload.flags", in = "one and all" } },
            ] } },
            { at = "1236432us", write = { node = "the second of the two nodes", ops = [
                { merge = { target = "> the flags of everything", type = "workload.flags", in = "none at all" } },
            ] } },
        ]
    "#
    .parse()
    .unwrap();
    let small = shrunk(&case, 1_000);
    let text = small.case.to_text().unwrap();
    assert!(small.finished && small.runs < 100, "{} runs", small.runs);
    assert!(!text.contains("of the two") && !text.contains("everything") && !text.contains(" all"), "{text}");
    let times: Vec<u64> = small.case.script.iter().map(|line| line.at.as_micros()).collect();
    assert!(times.iter().all(|at| at % 1_000 == 0 && *at < 10_000), "{text}");
    assert!(small.case.max_time <= SimTime::from_secs(2), "{text}");
}

/// However early the budget ends, the result fails in the class of the original.
#[test]
fn every_budget_keeps_the_class() {
    let mut failures = 0;
    for seed in 0..if cfg!(debug_assertions) { 2 } else { 12 } {
        let faults = FaultConfig::light_chaos();
        let workload = Workload::new(20, SimDuration::from_secs(2));
        let case = Case { seed, faults, workload, ..planted(NODES, |_| String::new()) };
        if case.run().unwrap().class.is_converged() {
            continue;
        }
        failures += 1;
        let mut causes = usize::MAX;
        for most_runs in [10, 40, 160, 2_000] {
            let small = shrunk(&case, most_runs);
            assert!(small.runs <= most_runs && (small.finished || most_runs < 2_000), "seed {seed}");
            // A larger budget continues where a smaller one ended.
            assert!(small.case.size().causes() <= causes, "seed {seed}, {most_runs} runs:\n{}", small.case);
            causes = small.case.size().causes();
        }
    }
    assert!(failures > 0, "no case failed");
}

/// A file says how its case fails. A large one is then cut down without a run of its own, and the search still has a
/// result when it is stopped before the case is small.
#[test]
fn stopped_search_keeps_what_it_cut() {
    let letters = "lorem ipsum ".repeat(100);
    let set = |line| write(line, &format!("{{ set = {{ target = \"> key {line}\", to = \"{letters}\" }} }}"));
    let mut case = planted(NODES, set);
    let class = case.run().unwrap().class;
    case.found = Some(class.clone());
    let small = shrink(&case, MOST_RUNS, &mut |progress| progress.runs < 3).unwrap();
    assert!(!small.finished && small.unfinished.len() > 10, "{:?}", small.unfinished);
    assert_eq!(small.case.run().unwrap().class, class);
    assert!(small.case.to_text().unwrap().len() < small.from_bytes / 4, "{} bytes", small.from_bytes);
}
