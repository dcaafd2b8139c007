//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.

/// Found as `violated: NotDurable`: 2 nodes, 2 writes.
#[test]
fn no_longer_violated_not_durable() {
    let case: sync_sim::case::Case = r#"
version = 1
found = "violated: NotDurable"
seed = 171
max_time = "1s"

nodes = [
    { name = "alice" },
    { name = "carol" },
]

script = [
    { at = "0ms", write = { node = "carol", ops = [{ set = { target = "> register 0", to = "x" } }] } },
    { at = "0ms", write = { node = "alice", ops = [{ set = { target = "> register 0", to = "x" } }] } },
]

[faults]
base_latency_ms = 0
latency_jitter_ms = 0
"#
    .parse()
    .expect("a case");
    let ended = case.run().expect("a case that can be run");
    assert!(ended.class.is_converged(), "{ended}");
}
