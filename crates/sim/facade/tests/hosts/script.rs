//! Script lines about hosts in case files: each has its effect.

use sync_sim::prelude::*;

/// Runs three nodes with a script, and gives the effects of host faults.
fn effects(script: &str) -> HostEffects {
    let text = format!(
        r#"
        version = 1
        seed = 3
        max_time = "300s"
        nodes = [{{ name = "alice" }}, {{ name = "bob" }}, {{ name = "carol" }}]
        script = [
            {{ at = "1s", write = {{ node = "alice", ops = [{{ set = {{ target = "title", to = "one" }} }}] }} }},
            {script}
            {{ at = "9s", write = {{ node = "alice", ops = [{{ set = {{ target = "title", to = "two" }} }}] }} }},
        ]
        "#
    );
    let case: Case = text.parse().expect("a case");
    let mut rt = case.build().expect("a run");
    assert_eq!(rt.run(), StopCondition::Converged, "{script}: {}", rt.explain());
    rt.metrics().effects.hosts
}

/// Script lines, and the number in the effects that counts them.
type CountedLines = (&'static str, fn(&HostEffects) -> u64);

#[test]
fn every_line_takes_effect() {
    let lines: [CountedLines; 9] = [
        (r#"{ at = "2s", pause = { node = "alice", lasting = "2s" } },"#, |effects| effects.pauses),
        (r#"{ at = "2s", clock = { node = "alice", ahead = "400s", lasting = "2s" } },"#, |effects| {
            effects.clocks_ahead
        }),
        (r#"{ at = "2s", freeze_clock = { node = "alice", lasting = "2s" } },"#, |effects| {
            effects.clock_freezes
        }),
        (r#"{ at = "8s", fail_write = "alice" },"#, |effects| effects.failed_writes),
        (
            r#"{ at = "100ms", lying_disk = { node = "alice", lies = true } },
               { at = "3s", crash = { node = "alice", down_for = "1s" } },
               { at = "3500ms", lying_disk = { node = "alice", lies = false } },"#,
            |effects| effects.lost_commits,
        ),
        (r#"{ at = "2s", rot = "alice" },"#, |effects| effects.rotten_rows),
        (
            r#"{ at = "500ms", back_up = "alice" }, { at = "3s", restore = { node = "alice", down_for = "1s" } },"#,
            |effects| effects.restored_disks,
        ),
        (r#"{ at = "3s", clone_disk = { from = "bob", to = "alice", down_for = "1s" } },"#, |effects| {
            effects.cloned_disks
        }),
        (r#"{ at = "3s", lose_disk = { node = "alice", down_for = "1s" } },"#, |effects| effects.lost_disks),
    ];
    for (line, count) in lines {
        let effects = effects(line);
        assert!(count(&effects) > 0, "{line}: {effects:?}");
    }
}
