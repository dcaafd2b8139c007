//! Assertions on a runtime. A failed assertion prints the seed and what it found.

/// Asserts that all nodes have converged.
#[macro_export]
macro_rules! assert_converged {
    ($rt:expr) => {{
        let rt = &$rt;
        assert!(
            rt.check_convergence().is_converged(),
            "seed {}: not converged at {}: {}",
            rt.config().seed,
            rt.now(),
            rt.explain()
        );
    }};
}

/// Asserts that the nodes have not converged.
#[macro_export]
macro_rules! assert_not_converged {
    ($rt:expr) => {{
        let rt = &$rt;
        assert!(
            !rt.check_convergence().is_converged(),
            "seed {}: converged at {}, which was not expected",
            rt.config().seed,
            rt.now()
        );
    }};
}

/// Asserts that an application on the node sees this many entities.
#[macro_export]
macro_rules! assert_entity_count {
    ($rt:expr, $node:expr, $count:expr) => {{
        let rt = &$rt;
        let found = rt.entity_count($node);
        let expected = $count;
        assert!(
            found == expected,
            "seed {}: {:?} sees {found} entities, not {expected}",
            rt.config().seed,
            $node
        );
    }};
}

/// Asserts that an application on the node sees this entity.
#[macro_export]
macro_rules! assert_has_entity {
    ($rt:expr, $node:expr, $id:expr) => {{
        let rt = &$rt;
        let id = $id;
        assert!(
            rt.has_entity($node, id),
            "seed {}: {:?} does not see entity {id}; its record there is {:?}",
            rt.config().seed,
            $node,
            rt.node($node).record(id)
        );
    }};
}

/// Asserts that the node has no session under way, no buffered delta and no pending sync.
#[macro_export]
macro_rules! assert_idle {
    ($rt:expr, $node:expr) => {{
        let rt = &$rt;
        let pending = rt.node($node).replica().map(|replica| replica.pending());
        assert!(
            pending.is_some_and(|pending| pending.is_none()),
            "seed {}: {:?} is not idle: {}",
            rt.config().seed,
            $node,
            pending.map_or_else(|| "it is down".to_owned(), |pending| format!("{pending:?}"))
        );
    }};
}

/// Asserts that no delta is buffered on the node.
#[macro_export]
macro_rules! assert_buffer_empty {
    ($rt:expr, $node:expr) => {{
        let rt = &$rt;
        let waiting = rt.node($node).replica().map_or(0, |replica| replica.pending().buffered);
        assert!(waiting == 0, "seed {}: {waiting} deltas wait on {:?}", rt.config().seed, $node);
    }};
}
