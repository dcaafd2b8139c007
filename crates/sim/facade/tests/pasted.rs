//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.

/// Found as `violated: Lost`: 2 nodes, 2 writes.
#[test]
fn no_longer_violated_lost() {
    let case: sync_sim::case::Case = r#"
version = 1
found = "violated: Lost"
max_time = "1s"

nodes = [
    { name = "bob", writes = [[{ insert_item = { list = "> list", at = 0, item = { bytes = "value 1" } } }, { set = { target = "> register 2", to = "rival 845" } }]] },
    { name = "carol", writes = [[{ insert_item = { list = "> list", at = 0, item = { bytes = "value 1" } } }, { set = { target = "> register 2", to = "value 637" } }]] },
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
