//! Scenarios without random choices.

use crate::scenarios::build::{Scenario, author, register};
use syncline_replica::{Operation, Target};
use syncline_storage::Action;
use syncline_types::EntityId;

/// `count` registers whose names begin with `whose`.
fn registers(whose: &str, by: u64, count: usize) -> Vec<Action> {
    let register = |at| {
        let name = format!("{whose}/{at}");
        register(EntityId::child_of(EntityId::ROOT, name.as_bytes()), vec![], author(by), name)
    };
    (0..count).map(register).collect()
}

impl Scenario {
    /// `nodes` nodes that all have the same `entities` entities.
    pub fn n_nodes_synced(nodes: usize, entities: usize) -> Self {
        Self::new(nodes, registers("shared", 0, entities), |_| Vec::new())
    }

    /// `nodes` nodes, each with `entities` entities of its own and no others.
    pub fn n_nodes_diverged(nodes: usize, entities: usize) -> Self {
        Self::overlap(nodes, 0, entities)
    }

    /// `nodes` nodes that share `shared` entities and have `unique` more each.
    pub fn overlap(nodes: usize, shared: usize, unique: usize) -> Self {
        let own = |at: usize| registers(&crate::scenarios::build::node_name(at), at as u64 + 1, unique);
        Self::new(nodes, registers("shared", 0, shared), own)
    }

    /// `nodes` nodes that share `shared` entities and have `unique` more each: the guide's name for
    /// [`Scenario::overlap`].
    pub fn partial_overlap(nodes: usize, shared: usize, unique: usize) -> Self {
        Self::overlap(nodes, shared, unique)
    }

    /// `nodes` nodes of which all but the last have the same `entities` entities; the last is empty.
    pub fn fresh_joiner(nodes: usize, entities: usize) -> Self {
        let mut scenario = Self::n_nodes_synced(nodes, entities);
        if let Some(last) = scenario.nodes.last_mut() {
            last.has_shared = false;
        }
        scenario
    }

    /// One node with a hundred entities and an empty one: the empty one takes a snapshot.
    pub fn force_snapshot() -> Self {
        Self::fresh_joiner(2, 100)
    }

    /// Two empty nodes: the negotiation selects no protocol.
    pub fn force_none() -> Self {
        Self::n_nodes_synced(2, 0)
    }

    /// Another name for [`Scenario::force_snapshot`].
    pub fn fresh_and_initialized() -> Self {
        Self::force_snapshot()
    }

    /// Forty entities against a hundred others: the counts differ so much that the table selects a walk
    /// of the index.
    pub fn force_hash_high_divergence() -> Self {
        Self::new(
            2,
            Vec::new(),
            |at| if at == 0 { registers("few", 1, 40) } else { registers("many", 2, 100) },
        )
        .choosing_by_table()
    }

    /// Nodes that share a tree five levels deep, each with more entities of its own in one branch.
    pub fn deep_tree(nodes: usize, shared: usize, own: impl Fn(usize) -> usize) -> Self {
        let leaf = |whose: &str, by: u64, branch: usize, at: usize| {
            let mut path = Vec::new();
            let mut parent = EntityId::ROOT;
            for level in 0..4 {
                parent = EntityId::child_of(parent, format!("branch {branch}, {level}").as_bytes());
                path.push(parent);
            }
            let name = format!("{whose}/{at}");
            register(EntityId::child_of(parent, name.as_bytes()), path, author(by), name)
        };
        Self::new(nodes, (0..shared).map(|at| leaf("shared", 0, at % 8, at)).collect(), |node| {
            let name = crate::scenarios::build::node_name(node);
            (0..own(node)).map(|at| leaf(&name, node as u64 + 1, 0, at)).collect()
        })
    }

    /// Eighty shared entities five levels deep and a few more on each side in one branch: the table
    /// selects subtree prefetch.
    pub fn force_subtree_prefetch() -> Self {
        Self::deep_tree(2, 80, |node| if node == 0 { 5 } else { 15 }).choosing_by_table()
    }

    /// A hundred entities, five of which one side lacks: the table selects Bloom filters.
    pub fn force_bloom_filter() -> Self {
        Self::new(
            2,
            registers("shared", 0, 95),
            |node| if node == 0 { registers("more", 1, 5) } else { Vec::new() },
        )
        .choosing_by_table()
    }

    /// Thirty-six entities against forty, wide and flat: the table selects the level-wise comparison.
    pub fn force_levelwise() -> Self {
        Self::new(2, registers("shared", 0, 30), |node| {
            let name = crate::scenarios::build::node_name(node);
            registers(&name, node as u64 + 1, if node == 0 { 6 } else { 10 })
        })
        .choosing_by_table()
    }

    /// A hundred shared entities and two writes that only one side has, as deltas: the table selects a
    /// delta sync.
    pub fn force_delta_sync() -> Self {
        let mut scenario = Self::n_nodes_synced(2, 100);
        if let Some(first) = scenario.nodes.first_mut() {
            let write = |key: u64| Operation::Set {
                target: Target::top(EntityId::child_of(EntityId::ROOT, &key.to_le_bytes())),
                bytes: format!("delta {key}").into_bytes(),
            };
            first.writes = (0..2).map(write).collect();
        }
        scenario.choosing_by_table()
    }

    /// Two nodes with fifty entities each and none in common.
    pub fn both_initialized() -> Self {
        Self::n_nodes_diverged(2, 50)
    }

    /// Three nodes that share fifty entities, one of which has ten more.
    pub fn three_nodes_one_diverged() -> Self {
        Self::new(
            3,
            registers("shared", 0, 50),
            |at| if at == 2 { registers("more", 3, 10) } else { Vec::new() },
        )
    }
}
