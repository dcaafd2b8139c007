//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.

/// Found as `violated: NotDurable`: 1 node, 1 write.
#[test]
fn no_longer_violated_not_durable() {
    let case: sync_sim::case::Case = r#"
version = 1
found = "violated: NotDurable"
max_time = "1s"

nodes = [
    { name = "bob" },
]

script = [
    { at = "0ms", write = { node = "bob", ops = [{ insert_item = { list = "> list", at = 0, item = { bytes = "x" } } }] } },
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
