//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.

/// Found as `violated: HiddenDifference`: 2 nodes, 2 writes.
#[test]
fn no_longer_violated_hidden_difference() {
    let case: sync_sim::case::Case = r###"
version = 1
found = "violated: HiddenDifference"
max_time = "1s"

nodes = [
    { name = "alice" },
    { name = "bob" },
]

script = [
    { at = "0ms", write = { node = "bob", ops = [{ set = { target = "#de25fd6f71272a333a511fab07bed5d1bca5fe37bcbc8a58f313425d4cd51bb8 > #725723969eec6ac43e9a81d7f13a968183843881cdcd373c2c628a42b1931371 > [0300000000000000]", to = "x" } }], wraps = true } },
    { at = "0ms", write = { node = "alice", ops = [{ set = { target = "#de25fd6f71272a333a511fab07bed5d1bca5fe37bcbc8a58f313425d4cd51bb8 > #725723969eec6ac43e9a81d7f13a968183843881cdcd373c2c628a42b1931371 > [0300000000000000]", to = "x" } }], wraps = true } },
]

[faults]
base_latency_ms = 0
latency_jitter_ms = 0
"###
    .parse()
    .expect("a case");
    let ended = case.run().expect("a case that can be run");
    assert!(ended.class.is_converged(), "{ended}");
}
