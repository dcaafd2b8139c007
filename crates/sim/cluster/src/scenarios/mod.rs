//! Scenarios: the nodes of a run and their initial states.

mod build;
mod deterministic;
mod random;

pub use build::{NodeSeed, Scenario, author, author_in, early_register, register};
pub use random::{RandomScenario, RandomScenarioConfig};

/// A scenario that can be named on a command line.
#[derive(Clone, Copy, Debug)]
pub struct NamedScenario {
    /// The name on the command line.
    pub name: &'static str,
    /// A description in one sentence.
    pub summary: &'static str,
    /// Builds the scenario for a number of nodes and entities; the seed matters for random ones only.
    pub build: fn(nodes: usize, entities: usize, seed: u64) -> Scenario,
}

/// All scenarios by name.
pub const NAMED: [NamedScenario; 9] = [
    NamedScenario {
        name: "diverged",
        summary: "each node has entities of its own and no others",
        build: |nodes, entities, _| Scenario::n_nodes_diverged(nodes, entities),
    },
    NamedScenario {
        name: "synced",
        summary: "all nodes have the same entities",
        build: |nodes, entities, _| Scenario::n_nodes_synced(nodes, entities),
    },
    NamedScenario {
        name: "overlap",
        summary: "half of the entities are shared, the rest differ from node to node",
        build: |nodes, entities, _| Scenario::overlap(nodes, entities / 2, entities - entities / 2),
    },
    NamedScenario {
        name: "fresh",
        summary: "the last node is empty and must take a snapshot; the others agree",
        build: |nodes, entities, _| Scenario::fresh_joiner(nodes, entities),
    },
    NamedScenario {
        name: "deltas",
        summary: "all agree but for two writes that only the first node has, as deltas",
        build: |nodes, entities, _| {
            let mut scenario = Scenario::n_nodes_synced(nodes, entities);
            for (to, from) in scenario.nodes.iter_mut().zip(Scenario::force_delta_sync().nodes) {
                to.writes = from.writes;
            }
            scenario
        },
    },
    NamedScenario {
        name: "uneven",
        summary: "each node has entities of its own, every second node only a third as many",
        build: |nodes, entities, _| {
            let mut scenario = Scenario::n_nodes_diverged(nodes, entities);
            for node in scenario.nodes.iter_mut().skip(1).step_by(2) {
                node.own.truncate(entities / 3);
            }
            scenario
        },
    },
    NamedScenario {
        name: "deep",
        summary: "a tree five deep that all share; each node has a tenth more of its own in one branch",
        build: |nodes, entities, _| Scenario::deep_tree(nodes, entities, |_| entities.div_ceil(10)),
    },
    NamedScenario {
        name: "empty",
        summary: "all nodes are empty",
        build: |nodes, _, _| Scenario::n_nodes_synced(nodes, 0),
    },
    NamedScenario {
        name: "random",
        summary: "states of random size, partly shared, drawn from the seed",
        build: |nodes, entities, seed| {
            let config = RandomScenarioConfig::new(seed)
                .with_node_count(nodes, nodes)
                .with_entity_count(entities / 2, entities);
            RandomScenario::generate(&config)
        },
    },
];
