//! Several contexts in case files.

use super::*;
use sync_sim::case::CaseError;
use sync_sim::swarm;

const LINES: &str = r#"
    seed = 4
    contexts = 2
    shared = ["page/0..3"]
    nodes = [
        { name = "alice", entities = ["alice/0..2"], contexts = [{ entities = ["draft/0..4"] }] },
        { name = "bob", contexts = [{ writes = [{ set = { target = "> mood", to = "calm" } }] }] },
    ]
    script = [
        { at = "50ms", write = { node = "alice", ops = [{ set = { target = "> mood", to = "first" } }] } },
        { at = "60ms", write = { node = "bob", context = 1, ops = [{ set = { target = "> tea", to = "hot" } }] } },
    ]
"#;

#[test]
fn case_describes_each_context() {
    let case: Case = LINES.parse().unwrap();
    let again: Case = case.to_text().unwrap().parse().unwrap();
    assert_eq!(again, case);
    let mut rt = case.build().unwrap();
    assert_eq!(rt.run(), StopCondition::Converged);
    for node in ["alice", "bob"] {
        assert!(shown(&rt, node, 0, "mood").unwrap().contains("first"));
        assert!(shown(&rt, node, 1, "mood").unwrap().contains("calm"));
        assert!(shown(&rt, node, 1, "tea").unwrap().contains("hot") && shown(&rt, node, 0, "tea").is_none());
        assert_eq!(rt.node(node).in_context(0).visible_entities(), Ok(6));
        assert_eq!(rt.node(node).in_context(1).visible_entities(), Ok(6));
    }
}

#[test]
fn rejects_case_with_unknown_context() {
    for (from, to, says) in [
        ("contexts = 2", "contexts = 1", "it tells of 1 contexts after the first; each node keeps 1 in all"),
        ("context = 1", "context = 2", "a write into context 2; each node keeps 2"),
        ("contexts = 2", "contexts = 9", "9 contexts; a node keeps from 1 to 8"),
    ] {
        let error = LINES.replacen(from, to, 1).parse::<Case>().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The pinned case has the initial state and the writes of each node in each context.
#[test]
fn pinned_case_repeats_several_contexts() -> Result<(), CaseError> {
    let seeds = if cfg!(debug_assertions) { 160 } else { 400 };
    let mut exact = 0;
    for case in (0..seeds).map(swarm::draw).filter(|case| case.contexts > 1) {
        let ended = case.run()?;
        assert!(ended.class.is_converged(), "seed {}: {ended}", case.seed);
        let pinned = case.pinned()?;
        assert_eq!(pinned.contexts, case.contexts);
        let again: Case = pinned.to_text()?.parse()?;
        assert_eq!(again, pinned, "seed {}", case.seed);
        exact += usize::from(pinned.run()?.trace == ended.trace);
    }
    assert!(exact * 40 >= seeds as usize, "{exact} runs did the very same");
    Ok(())
}

#[test]
fn failure_shrinks_to_its_context() -> Result<(), CaseError> {
    // Time runs out: bob never receives what is written to his second context.
    let mut case: Case = LINES.replace("contexts = 2", "contexts = 3").parse()?;
    case.max_time = SimTime::from_secs(3);
    case.rules = toml_rules();
    let ended = case.run()?;
    assert!(!ended.class.is_converged(), "{ended}");
    let shrunk = sync_sim::shrink::shrink(&case, 2_000, &mut |_| true)?;
    assert_eq!((shrunk.case.contexts, shrunk.case.size().contexts), (1, 1), "{}", shrunk.case);
    assert!(!shrunk.case.run()?.class.is_converged());
    Ok(())
}

fn toml_rules() -> Vec<sync_sim::case::RuleLine> {
    let case: Case = "nodes = [{ name = \"alice\" }, { name = \"bob\" }]\n\
         rules = [{ do = \"drop\", from = \"alice\", to = \"bob\" }]"
        .parse()
        .unwrap();
    case.rules
}
