//! The faults of single links: their capacity, their bursts of losses, and connections.

use crate::faults::config::{ConfigError, FaultConfig, Rate};
use crate::faults::serde_units;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use syncline_types::SimDuration;

/// What carries the frames of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkModel {
    /// Datagrams, as of UDP: frames are independent of each other. This is the harsher model.
    #[default]
    Datagram,
    /// Connections, as of TCP or QUIC, with in-order delivery: each frame arrives once and in order, or the
    /// connection breaks and all frames in flight on it are lost, in both directions. The next frame opens a
    /// new connection, which costs a round trip. What loses a datagram costs a retransmission here, and a
    /// full queue makes the sender wait.
    Stream,
}

/// The faults of single links, in addition to the latency, loss, duplication and corruption that all links
/// share. By default there are none, and the simulation of links costs nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFaults {
    /// Whether frames are datagrams or connections carry them.
    pub model: LinkModel,
    /// The capacity of a link in each direction, in bytes per second; 0 for unbounded.
    pub bandwidth: u64,
    /// Whether a node shares this capacity between all its links.
    pub shared_uplink: bool,
    /// How many bytes may wait to be sent, if the bandwidth is bounded. A frame that finds no room is
    /// dropped.
    pub queue_bytes: u64,
    /// The probability that a frame falls into the latency tail, a Pareto distribution: half of these frames
    /// take at least twice as long, one of ten at least ten times, one of a hundred at least a hundred times.
    pub tail_rate: Rate,
    /// The maximum latency in the tail.
    #[serde(with = "serde_units::time")]
    pub tail_most: SimDuration,
    /// The probability that one direction of a link is bad, for the whole run.
    pub bad_link_rate: Rate,
    /// The maximum factor of the latency of bad links. Each draws its own factor.
    pub bad_link_slowdown: u64,
    /// The additional probability that a bad link loses a frame.
    pub bad_link_loss: Rate,
    /// The probability, per frame, that a burst of losses begins (the model of Gilbert and Elliott).
    pub burst_rate: Rate,
    /// The probability, per frame, that a burst ends.
    pub burst_end_rate: Rate,
    /// The probability that a frame within a burst is lost.
    pub burst_loss: Rate,
    /// The maximum length of a burst, however few frames there are.
    #[serde(with = "serde_units::time")]
    pub burst_most: SimDuration,
    /// The share of random partitions that block frames in one direction only.
    pub one_way_share: Rate,
    /// The share of random partitions that split the network into more than two groups.
    pub group_share: Rate,
    /// The probability that the link between two nodes flaps: it goes up and down while chaos lasts.
    pub flap_rate: Rate,
    /// How long a flapping link is up, in milliseconds. Each link draws its own length.
    #[serde(with = "serde_units::range")]
    pub flap_up_ms: Range<u64>,
    /// How long a flapping link is down, in milliseconds.
    #[serde(with = "serde_units::range")]
    pub flap_down_ms: Range<u64>,
    /// The probability, per frame and while chaos lasts, that a connection breaks. Datagrams have none.
    pub reset_rate: Rate,
    /// The time after which a connection retransmits a frame that was lost.
    #[serde(with = "serde_units::time")]
    pub retransmit_after: SimDuration,
    /// The time without progress after which a connection breaks.
    #[serde(with = "serde_units::time")]
    pub reset_after: SimDuration,
}

impl Default for LinkFaults {
    fn default() -> Self {
        Self::none()
    }
}

impl LinkFaults {
    /// The default of [`LinkFaults::queue_bytes`].
    pub const QUEUE_BYTES: u64 = 65_536;

    /// Links without faults of their own.
    pub const fn none() -> Self {
        Self {
            model: LinkModel::Datagram,
            bandwidth: 0,
            shared_uplink: false,
            queue_bytes: Self::QUEUE_BYTES,
            tail_rate: Rate::ZERO,
            tail_most: SimDuration::from_secs(5),
            bad_link_rate: Rate::ZERO,
            bad_link_slowdown: 10,
            bad_link_loss: Rate::ppm(200_000),
            burst_rate: Rate::ZERO,
            burst_end_rate: Rate::ppm(100_000),
            burst_loss: Rate::ppm(800_000),
            burst_most: SimDuration::from_secs(1),
            one_way_share: Rate::ZERO,
            group_share: Rate::ZERO,
            flap_rate: Rate::ZERO,
            flap_up_ms: 400..2_000,
            flap_down_ms: 100..500,
            reset_rate: Rate::ZERO,
            retransmit_after: SimDuration::from_millis(200),
            reset_after: SimDuration::from_secs(2),
        }
    }

    /// Whether any fault concerns single links, so that the router needs their state for each frame.
    pub(crate) fn are_on(&self) -> bool {
        // Resets apply to connections only, and the shares shape partitions: neither needs a link table.
        let rates = [self.tail_rate, self.bad_link_rate, self.burst_rate, self.flap_rate];
        self.model == LinkModel::Stream || self.bandwidth > 0 || rates.iter().any(|rate| *rate > Rate::ZERO)
    }

    /// Checks every setting. The error names the first invalid one.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const DAY_MS: u64 = 86_400_000;
        const TERABYTE: u64 = 1_000_000_000_000;
        let bandwidth = if self.bandwidth == 0 { 1_000 } else { self.bandwidth };
        let tail = self.tail_most.as_millis();
        let again = self.retransmit_after.as_millis();
        let reset = self.reset_after.as_millis();
        for (field, found, min, max) in [
            ("the bandwidth in bytes per second", bandwidth, 1_000, TERABYTE),
            ("the queue of a link in bytes", self.queue_bytes, 0, TERABYTE),
            ("the longest latency in milliseconds", tail, 1, DAY_MS),
            ("the factor of bad links", self.bad_link_slowdown, 1, 1_000),
            ("the time to retransmit in milliseconds", again, 1, 60_000),
            ("the time to a reset in milliseconds", reset, again, 3_600_000),
        ] {
            if !(min..=max).contains(&found) {
                return Err(ConfigError::OutOfBounds { field, found, min, max });
            }
        }
        let shares = u64::from(self.one_way_share.as_ppm() + self.group_share.as_ppm());
        if shares > 1_000_000 {
            let field = "the shares of one-way and group partitions together, in millionths,";
            return Err(ConfigError::OutOfBounds { field, found: shares, min: 0, max: 1_000_000 });
        }
        if self.burst_rate > Rate::ZERO && self.burst_end_rate == Rate::ZERO {
            let field = "the rate at which bad stretches end, in millionths,";
            return Err(ConfigError::OutOfBounds { field, found: 0, min: 1, max: 1_000_000 });
        }
        for (field, range) in
            [("the time up of links", &self.flap_up_ms), ("the time down of links", &self.flap_down_ms)]
        {
            if range.end > DAY_MS {
                return Err(ConfigError::OutOfBounds { field, found: range.end, min: 1, max: DAY_MS });
            }
            if range.start == 0 || range.is_empty() {
                return Err(ConfigError::Range { field, found: range.clone() });
            }
        }
        Ok(())
    }
}

impl FaultConfig {
    /// Bounds the capacity of each link in each direction, in bytes per second, and the bytes that may wait.
    pub const fn with_bandwidth(mut self, bytes_per_second: u64, queue_bytes: u64) -> Self {
        self.links.bandwidth = bytes_per_second;
        self.links.queue_bytes = queue_bytes;
        self
    }

    /// As [`FaultConfig::with_bandwidth`], but each node shares the capacity between all its links.
    pub const fn with_uplinks(mut self, bytes_per_second: u64, queue_bytes: u64) -> Self {
        self.links.shared_uplink = true;
        self.with_bandwidth(bytes_per_second, queue_bytes)
    }

    /// Sets the probability that a frame falls into the latency tail, and the maximum latency there.
    pub fn with_latency_tail(mut self, probability: f64, most: SimDuration) -> Self {
        self.links.tail_rate = self.rate("the rate of the latency's tail", probability);
        self.links.tail_most = most;
        self
    }

    /// Sets the probability that one direction of a link is bad, its maximum factor of the latency, and its
    /// additional probability of loss.
    pub fn with_bad_links(mut self, probability: f64, slowdown: u64, loss: f64) -> Self {
        self.links.bad_link_rate = self.rate("the rate of bad links", probability);
        self.links.bad_link_slowdown = slowdown;
        self.links.bad_link_loss = self.rate("the loss rate of bad links", loss);
        self
    }

    /// Sets the probability, per frame, that a burst of losses begins, its mean length in frames, and the
    /// probability of loss within. A length of 0 counts as 1.
    pub fn with_burst_loss(mut self, probability: f64, frames: u32, loss: f64) -> Self {
        self.links.burst_rate = self.rate("the rate of bad stretches", probability);
        self.links.burst_end_rate = Rate::ppm((1_000_000 / frames.max(1)).max(1));
        self.links.burst_loss = self.rate("the loss rate of bad stretches", loss);
        self
    }

    /// Sets the share of random partitions that block frames in one direction only.
    pub fn with_one_way_partitions(mut self, share: f64) -> Self {
        self.links.one_way_share = self.rate("the share of one-way partitions", share);
        self
    }

    /// Sets the share of random partitions that split the network into more than two groups.
    pub fn with_group_partitions(mut self, share: f64) -> Self {
        self.links.group_share = self.rate("the share of group partitions", share);
        self
    }

    /// Sets the probability that the link between two nodes flaps while chaos lasts, and how long it is up
    /// and down, in milliseconds.
    pub fn with_flapping(mut self, probability: f64, up_ms: Range<u64>, down_ms: Range<u64>) -> Self {
        self.links.flap_rate = self.rate("the rate of flapping links", probability);
        self.links.flap_up_ms = up_ms;
        self.links.flap_down_ms = down_ms;
        self
    }

    /// Uses connections instead of datagrams.
    pub const fn with_stream_links(mut self) -> Self {
        self.links.model = LinkModel::Stream;
        self
    }

    /// Sets the time after which a connection retransmits, and the time without progress after which it
    /// breaks.
    pub const fn with_stream_times(mut self, retransmit: SimDuration, reset: SimDuration) -> Self {
        self.links.retransmit_after = retransmit;
        self.links.reset_after = reset;
        self
    }

    /// Uses connections, and sets the probability, per frame, that one breaks.
    pub fn with_resets(mut self, probability: f64) -> Self {
        self.links.reset_rate = self.rate("the rate of resets", probability);
        self.with_stream_links()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_invalid_values() {
        let base = FaultConfig::default;
        let brief = SimDuration::from_millis(10);
        for (faults, word) in [
            (base().with_bandwidth(10, 1), "bandwidth"),
            (base().with_bandwidth(1_000, u64::MAX), "queue"),
            (base().with_latency_tail(0.1, SimDuration::ZERO), "latency"),
            (base().with_latency_tail(1.1, brief), "tail"),
            (base().with_bad_links(0.1, 0, 0.1), "factor"),
            (base().with_bad_links(0.1, 2, -0.1), "bad links"),
            (base().with_one_way_partitions(0.6).with_group_partitions(0.6), "shares"),
            (base().with_flapping(0.1, 5..5, 1..2), "time up"),
            (base().with_flapping(0.1, 1..2, 0..2), "time down"),
            (base().with_stream_times(brief, SimDuration::from_millis(9)), "reset"),
            (base().with_burst_loss(2.0, 5, 0.5), "bad stretches"),
        ] {
            let error = faults.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    }

    #[test]
    fn link_state_is_optional() {
        let base = FaultConfig::heavy_chaos;
        assert!(!base().links.are_on());
        assert!(!base().with_one_way_partitions(0.5).with_group_partitions(0.5).links.are_on());
        for faults in [
            base().with_bandwidth(10_000, 0),
            base().with_latency_tail(0.1, SimDuration::from_secs(1)),
            base().with_bad_links(0.1, 2, 0.1),
            base().with_burst_loss(0.1, 0, 0.5),
            base().with_flapping(0.1, 1..2, 1..2),
            base().with_resets(0.1),
        ] {
            assert!(faults.links.are_on());
            assert_eq!(faults.validate(), Ok(()));
        }
    }
}
