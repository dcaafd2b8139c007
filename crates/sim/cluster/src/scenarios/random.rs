//! Scenarios that a seed determines.

use crate::scenarios::build::{Scenario, author, register};
use sync_sim_engine::random::{Choices, Stream};
use syncline_storage::Action;
use syncline_types::{Choice, EntityId};

/// The bounds of random scenarios. Ranges include both ends.
#[derive(Clone, PartialEq, Debug)]
pub struct RandomScenarioConfig {
    seed: u64,
    nodes: (usize, usize),
    entities: (usize, usize),
    divergence_ppm: u32,
}

impl RandomScenarioConfig {
    /// Two nodes, 10 to 100 entities, half of them shared.
    pub const fn new(seed: u64) -> Self {
        Self { seed, nodes: (2, 2), entities: (10, 100), divergence_ppm: 500_000 }
    }

    /// Sets the least and the greatest number of nodes.
    pub const fn with_node_count(mut self, min: usize, max: usize) -> Self {
        self.nodes = (min, max);
        self
    }

    /// Sets the least and the greatest number of entities on each node.
    pub const fn with_entity_count(mut self, min: usize, max: usize) -> Self {
        self.entities = (min, max);
        self
    }

    /// Sets the share of the entities of a node that the others lack. A value outside `0..=1` counts as
    /// the nearer end.
    #[allow(clippy::float_arithmetic, reason = "read once, at the edge, and rounded to an integer")]
    pub fn with_divergence(mut self, share: f64) -> Self {
        self.divergence_ppm = (share.clamp(0.0, 1.0) * 1e6).round() as u32;
        self
    }
}

/// Builds random scenarios: the same seed and settings give the same scenario.
#[derive(Clone, Copy, Debug)]
pub struct RandomScenario;

impl RandomScenario {
    /// Draws a scenario with flat and nested entities, of which some are shared and the rest differ from
    /// node to node.
    pub fn generate(config: &RandomScenarioConfig) -> Scenario {
        let mut choices = Choices::seeded(config.seed);
        let mut draw = |low: usize, high: usize| {
            choices.between(Stream::Scenario, Choice::ScenarioShape, low as u64, high as u64) as usize
        };
        let nodes = draw(config.nodes.0, config.nodes.1);
        let entities = draw(config.entities.0, config.entities.1);
        // Integer arithmetic: floats would not be the same on every machine.
        let own = (entities as u64 * u64::from(config.divergence_ppm) / 1_000_000) as usize;
        assert!(own <= entities, "a share is at most one");
        let shared = entities - own;
        let mut make = |whose: u64, count: usize| -> Vec<Action> {
            let entity = |at: usize| {
                let name = format!("{}/{whose}/{at}", config.seed);
                // A third of the entities hang below others, so that trees have depth.
                let folder = choices.below(Stream::Scenario, Choice::ScenarioEntity, 12);
                let ancestors: Vec<EntityId> = (0..4u64.saturating_sub(folder))
                    .map(|level| EntityId::from_u64(level * 16 + folder + 1))
                    .collect();
                let parent = ancestors.last().copied().unwrap_or(EntityId::ROOT);
                let size = choices.below(Stream::Scenario, Choice::ScenarioEntity, 100) as usize;
                let text = format!("{name}{}", "·".repeat(size / 2));
                register(EntityId::child_of(parent, name.as_bytes()), ancestors, author(whose), text)
            };
            (0..count).map(entity).collect()
        };
        let shared = make(0, shared);
        Scenario::new(nodes, shared, |at| make(at as u64 + 1, own))
    }

    /// Two nodes with 50 to 100 entities, a third of them shared.
    pub fn two_nodes_random(seed: u64) -> Scenario {
        Self::draw(seed, 2, (50, 100), 0.7)
    }

    /// `nodes` nodes with 20 to 50 entities, half of them shared.
    pub fn mesh_random(seed: u64, nodes: usize) -> Scenario {
        Self::draw(seed, nodes, (20, 50), 0.5)
    }

    /// `nodes` nodes with 50 to 100 entities, most of them shared, and one more that has nothing.
    pub fn fresh_join_random(seed: u64, nodes: usize) -> Scenario {
        let mut scenario = Self::draw(seed, nodes + 1, (50, 100), 0.2);
        if let Some(last) = scenario.nodes.last_mut() {
            last.has_shared = false;
            last.own.clear();
        }
        scenario
    }

    /// `nodes` nodes with 50 to 200 entities, few of them shared.
    pub fn heavy_divergence(seed: u64, nodes: usize) -> Scenario {
        Self::draw(seed, nodes, (50, 200), 0.9)
    }

    /// `nodes` nodes with 100 to 150 entities, nearly all of them shared.
    pub fn nearly_synced(seed: u64, nodes: usize) -> Scenario {
        Self::draw(seed, nodes, (100, 150), 0.05)
    }

    fn draw(seed: u64, nodes: usize, (least, most): (usize, usize), divergence: f64) -> Scenario {
        let config = RandomScenarioConfig::new(seed)
            .with_node_count(nodes, nodes)
            .with_entity_count(least, most)
            .with_divergence(divergence);
        Self::generate(&config)
    }
}
