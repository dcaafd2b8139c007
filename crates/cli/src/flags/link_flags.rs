//! The flags of single links: transport, capacity, bad stretches, kinds of partitions.

use crate::flags::values::{self, Bandwidth, Occurrence, TimeSpan};
use clap::{Args, ValueEnum};
use std::ops::Range;
use std::str::FromStr;
use sync_sim::prelude::{FaultConfig, LinkFaults, LinkModel, Rate};

/// How many times longer than down a flapping link is up.
const UP_TO_DOWN: u64 = 4;

/// How many frames a bad stretch lasts in the mean if `--burst-loss` does not say.
pub(super) const DEFAULT_BURST_FRAMES: u32 = 10;

/// The partitions that `--one-way` and `--groups` fall back to if no other flag asks for any.
const FALLBACK_PARTITIONS: f64 = 0.01;

/// What carries the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum LinkModelArg {
    /// Datagrams, as with UDP: each frame is lost, duplicated and reordered independently.
    Datagram,
    /// Connections, as with TCP: delivery in order and exactly once, delayed instead of lost, until the
    /// connection breaks.
    Stream,
}

/// The flags of single links.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Links")]
pub(super) struct LinkArgs {
    /// What carries the frames between two replicas. A connection takes a round trip to set up, waits
    /// during a partition, and breaks after 2 s without progress; frames in flight on it are then lost.
    #[arg(long, value_name = "MODEL", value_enum, default_value_t = LinkModelArg::Datagram)]
    pub(super) links: LinkModelArg,

    /// The probability, per frame, that a connection breaks, from 0 to 1. Only --links stream has connections.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    resets: Option<f64>,

    /// The capacity of each link in each direction, in bits per second as in 500k or 20M, and the size of its
    /// send queue in bytes (64k by default). A frame that finds the queue full is dropped.
    #[arg(long, value_name = "BITS[,BYTES]", value_parser = link_capacity)]
    bandwidth: Option<LinkCapacity>,

    /// As --bandwidth, shared by all links over which a replica sends.
    #[arg(long, value_name = "BITS[,BYTES]", value_parser = link_capacity, conflicts_with = "bandwidth")]
    uplink: Option<LinkCapacity>,

    /// The probability that a frame takes much longer, and the longest delay (5s by default). Half of those
    /// frames take at least twice the usual time, one in ten takes ten times, one in a hundred takes a hundred.
    /// A bare number is in milliseconds.
    #[arg(long, value_name = "P[,TIME]", value_parser = latency_tail)]
    latency_tail: Option<LatencyTail>,

    /// The probability that a link is bad for the whole run, independently in each direction, and the largest
    /// factor by which it is slower (10 by default). A bad link also loses one frame in five.
    #[arg(long, value_name = "P[,TIMES]", value_parser = probability_and_count)]
    bad_links: Option<ProbabilityAndCount>,

    /// The probability, per frame, that a burst of losses begins on a link, and its mean length in frames (10
    /// by default). Four of five frames in a burst are lost.
    #[arg(long, value_name = "P[,FRAMES]", value_parser = probability_and_count)]
    burst_loss: Option<ProbabilityAndCount>,

    /// The share of partitions that stop frames in one direction only, from 0 to 1. Implies some partitions if
    /// neither --faults nor --partition asks for any.
    #[arg(long, value_name = "SHARE", value_parser = values::probability)]
    one_way: Option<f64>,

    /// The share of partitions that split the replicas into three groups or more, from 0 to 1. Implies some
    /// partitions, as --one-way does.
    #[arg(long, value_name = "SHARE", value_parser = values::probability)]
    groups: Option<f64>,

    /// The probability that the link between two replicas flaps, and for how many milliseconds it is down
    /// (100..500 by default); it is up four times as long.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    flap: Option<Occurrence>,
}

impl LinkArgs {
    /// The faults with the changes that the flags ask for, or why the flags contradict each other.
    pub(super) fn add_to(&self, mut faults: FaultConfig) -> Result<FaultConfig, String> {
        let default = LinkFaults::default();
        if self.links == LinkModelArg::Stream {
            faults = faults.with_stream_links();
        }
        if let Some(rate) = self.resets {
            if faults.links.model != LinkModel::Stream {
                return Err("only connections can break; --resets needs --links stream".into());
            }
            faults = faults.with_resets(rate);
        }
        if let Some(LinkCapacity { bytes_per_second, queue_bytes }) = self.bandwidth {
            faults = faults.with_bandwidth(bytes_per_second, queue_bytes.unwrap_or(default.queue_bytes));
        }
        if let Some(LinkCapacity { bytes_per_second, queue_bytes }) = self.uplink {
            faults = faults.with_uplinks(bytes_per_second, queue_bytes.unwrap_or(default.queue_bytes));
        }
        if let Some(LatencyTail { probability, longest }) = self.latency_tail {
            let longest = longest.map_or(default.tail_most, |TimeSpan(longest)| longest);
            faults = faults.with_latency_tail(probability, longest);
        }
        if let Some(ProbabilityAndCount { probability, count }) = self.bad_links {
            let slowdown = count.map_or(default.bad_link_slowdown, u64::from);
            faults = faults.with_bad_links(probability, slowdown, as_probability(default.bad_link_loss));
        }
        if let Some(ProbabilityAndCount { probability, count }) = self.burst_loss {
            let frames = count.unwrap_or(DEFAULT_BURST_FRAMES);
            faults = faults.with_burst_loss(probability, frames, as_probability(default.burst_loss));
        }
        if let Some(share) = self.one_way {
            faults = with_some_partitions(faults).with_one_way_partitions(share);
        }
        if let Some(share) = self.groups {
            faults = with_some_partitions(faults).with_group_partitions(share);
        }
        if let Some(Occurrence { probability, range_ms }) = self.flap.clone() {
            let down = range_ms.unwrap_or(default.flap_down_ms);
            let up = UP_TO_DOWN * down.start..UP_TO_DOWN * down.end;
            faults = faults.with_flapping(probability, up, down);
        }
        Ok(faults)
    }
}

fn as_probability(rate: Rate) -> f64 {
    f64::from(rate.as_ppm()) / 1e6
}

/// A share of no partitions would be none: makes sure that there are some.
fn with_some_partitions(faults: FaultConfig) -> FaultConfig {
    if faults.partition_probability == Rate::ZERO {
        return faults.with_partitions(FALLBACK_PARTITIONS, FaultConfig::heavy_chaos().partition_duration_ms);
    }
    faults
}

/// The capacity of a link: `20M` or `20M,64k`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LinkCapacity {
    bytes_per_second: u64,
    queue_bytes: Option<u64>,
}

fn link_capacity(text: &str) -> Result<LinkCapacity, String> {
    let (rate, queue) = halves(text);
    let Bandwidth { bytes_per_second } = values::bandwidth(rate)?;
    let queue_bytes = queue.map(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match text.get(digits.len()..) {
            Some("") => 1,
            Some("k") => 1_000,
            Some("M") => 1_000_000,
            _ => 0,
        };
        let bytes = digits.parse::<u64>().ok().and_then(|bytes| bytes.checked_mul(factor));
        let known = bytes.filter(|_| factor > 0);
        known.ok_or_else(|| "a queue is a number of bytes, as in 20M,64k or 500k,1500".to_owned())
    });
    Ok(LinkCapacity { bytes_per_second, queue_bytes: queue_bytes.transpose()? })
}

/// How likely a long delay is, and the longest: `0.01` or `0.01,5s`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct LatencyTail {
    probability: f64,
    longest: Option<TimeSpan>,
}

fn latency_tail(text: &str) -> Result<LatencyTail, String> {
    let (probability, longest) = halves(text);
    let longest = longest.map(values::time_span).transpose()?;
    Ok(LatencyTail { probability: values::probability(probability)?, longest })
}

/// A probability and a number: `0.01` or `0.01,10`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct ProbabilityAndCount {
    probability: f64,
    count: Option<u32>,
}

fn probability_and_count(text: &str) -> Result<ProbabilityAndCount, String> {
    let (probability, count) = halves(text);
    let allowed: Range<u32> = 1..1_001;
    let read = |text| u32::from_str(text).ok().filter(|count| allowed.contains(count));
    let count =
        count.map(|text| read(text).ok_or("the second number lies between 1 and 1000, as in 0.01,10"));
    Ok(ProbabilityAndCount { probability: values::probability(probability)?, count: count.transpose()? })
}

fn halves(text: &str) -> (&str, Option<&str>) {
    text.split_once(',').map_or((text, None), |(first, second)| (first, Some(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_what_is_allowed() {
        let read = link_capacity("8M,64k").unwrap();
        assert_eq!(read, LinkCapacity { bytes_per_second: 1_000_000, queue_bytes: Some(64_000) });
        assert!(link_capacity("8M,64x").unwrap_err().contains("a queue is a number of bytes"));
        assert!(link_capacity("x").unwrap_err().contains("bits per second"));
        assert_eq!(latency_tail("0.1").unwrap(), LatencyTail { probability: 0.1, longest: None });
        assert!(latency_tail("0.1,9").unwrap().longest.is_some());
        assert!(latency_tail("0.1,x").is_err() && latency_tail("2").is_err());
        let read = probability_and_count("0.1,7").unwrap();
        assert_eq!(read, ProbabilityAndCount { probability: 0.1, count: Some(7) });
        assert!(probability_and_count("0.1,0").unwrap_err().contains("between 1 and 1000"));
    }

    #[test]
    fn burst_default_is_the_library_default() {
        let asked = FaultConfig::none().with_burst_loss(0.1, DEFAULT_BURST_FRAMES, 0.8);
        let default = LinkFaults::default();
        assert_eq!(asked.links.burst_end_rate, default.burst_end_rate);
        assert_eq!(asked.links.burst_loss, default.burst_loss);
    }
}
