//! The flags that describe single links: capacity, bad stretches, and what carries the frames.

use crate::values;
use clap::{Args, ValueEnum};
use std::ops::Range;
use std::str::FromStr;
use sync_sim::prelude::{FaultConfig, LinkFaults, LinkModel, Rate, SimDuration};

/// What carries the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Model {
    /// Each frame fends for itself, as with UDP: it is lost, doubled and overtaken.
    Datagram,
    /// Connections, as with TCP: in order and once, late instead of lost, until the connection breaks.
    Stream,
}

/// A value, and how it was written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Given<T> {
    value: T,
    text: String,
}

impl<T> Given<T> {
    fn text(&self) -> String {
        self.text.clone()
    }
}

/// Reads a value by its parser, and keeps how it was written.
fn given<T>(parser: fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Given<T>, String> + Clone {
    move |text| Ok(Given { value: parser(text)?, text: text.to_owned() })
}

/// The flags of single links.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Links")]
pub(crate) struct LinkArgs {
    /// What carries the frames between two replicas. A connection costs a round trip to set up, waits
    /// while a partition lasts, and breaks after 2 s in which nothing got through; all that is on its
    /// way on it is lost then.
    #[arg(long, value_name = "MODEL", value_enum, default_value_t = Model::Datagram)]
    pub(crate) links: Model,

    /// How often, per frame, a connection breaks, from 0 to 1. Only --links stream has connections.
    #[arg(long, value_name = "P", value_parser = given(values::probability))]
    resets: Option<Given<f64>>,

    /// How many bits per second each link carries in each direction, as in 500k or 20M, and how many
    /// bytes may wait for their turn (64k if not said); what finds no room is dropped.
    #[arg(long, value_name = "BITS[,BYTES]", value_parser = given(capacity))]
    bandwidth: Option<Given<Capacity>>,

    /// As --bandwidth, for what a replica sends to all others together.
    #[arg(long, value_name = "BITS[,BYTES]", value_parser = given(capacity), conflicts_with = "bandwidth")]
    uplink: Option<Given<Capacity>>,

    /// How often a frame takes much longer, and how long at most (5s if not said). Half of those take
    /// twice as long or more, one in ten ten times, one in a hundred a hundred times.
    #[arg(long, value_name = "P[,TIME]", value_parser = given(tail))]
    latency_tail: Option<Given<Tail>>,

    /// How often a link is a bad one for the whole run, each direction for itself, and up to how many
    /// times slower it is (10 if not said). It loses one frame in five besides.
    #[arg(long, value_name = "P[,TIMES]", value_parser = given(counted))]
    bad_links: Option<Given<Counted>>,

    /// How often, per frame, a link begins a bad stretch, and how many frames that lasts in the mean (10
    /// if not said). Four frames of five are lost within.
    #[arg(long, value_name = "P[,FRAMES]", value_parser = given(counted))]
    burst_loss: Option<Given<Counted>>,

    /// Which share of the partitions stops frames in one direction only, from 0 to 1. Where --faults and
    /// --partition ask for no partitions, there are some.
    #[arg(long, value_name = "SHARE", value_parser = given(values::probability))]
    one_way: Option<Given<f64>>,

    /// Which share of the partitions splits the replicas into three groups or more, from 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = given(values::probability))]
    groups: Option<Given<f64>>,

    /// How often the link between two replicas goes up and down, and for how many milliseconds it is
    /// down (100..500 if not said); it is up four times as long.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = given(values::spell))]
    flap: Option<Given<values::Spell>>,
}

impl LinkArgs {
    /// The faults with what the flags say, or what is wrong with them together.
    pub(crate) fn apply(&self, mut faults: FaultConfig) -> Result<FaultConfig, String> {
        if self.links == Model::Stream {
            faults = faults.with_stream_links();
        }
        if let Some(Given { value, .. }) = &self.resets {
            if faults.links.model != LinkModel::Stream {
                return Err("only connections can break; --resets needs --links stream".into());
            }
            faults = faults.with_resets(*value);
        }
        if let Some(Given { value: Capacity { bytes_per_second, queue_bytes }, .. }) = self.bandwidth {
            faults = faults.with_bandwidth(bytes_per_second, queue_bytes.unwrap_or(LinkFaults::QUEUE_BYTES));
        }
        if let Some(Given { value: Capacity { bytes_per_second, queue_bytes }, .. }) = self.uplink {
            faults = faults.with_uplinks(bytes_per_second, queue_bytes.unwrap_or(LinkFaults::QUEUE_BYTES));
        }
        if let Some(Given { value: Tail { probability, most }, .. }) = self.latency_tail {
            faults = faults.with_latency_tail(probability, most.unwrap_or(SimDuration::from_secs(5)));
        }
        if let Some(Given { value: Counted { probability, count }, .. }) = self.bad_links {
            faults = faults.with_bad_links(probability, u64::from(count.unwrap_or(10)), 0.2);
        }
        if let Some(Given { value: Counted { probability, count }, .. }) = self.burst_loss {
            faults = faults.with_burst_loss(probability, count.unwrap_or(10), 0.8);
        }
        if let Some(Given { value, .. }) = &self.one_way {
            faults = with_some_partitions(faults).with_one_way_partitions(*value);
        }
        if let Some(Given { value, .. }) = &self.groups {
            faults = with_some_partitions(faults).with_group_partitions(*value);
        }
        if let Some(Given { value, .. }) = &self.flap {
            let down = value.lasting_ms.clone().unwrap_or(100..500);
            let up = 4 * down.start..4 * down.end;
            faults = faults.with_flapping(value.probability, up, down);
        }
        Ok(faults)
    }

    /// The flags that were given, and how.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("links", (self.links == Model::Stream).then(|| "stream".to_owned())),
            ("resets", self.resets.as_ref().map(Given::text)),
            ("bandwidth", self.bandwidth.as_ref().map(Given::text)),
            ("uplink", self.uplink.as_ref().map(Given::text)),
            ("latency-tail", self.latency_tail.as_ref().map(Given::text)),
            ("bad-links", self.bad_links.as_ref().map(Given::text)),
            ("burst-loss", self.burst_loss.as_ref().map(Given::text)),
            ("one-way", self.one_way.as_ref().map(Given::text)),
            ("groups", self.groups.as_ref().map(Given::text)),
            ("flap", self.flap.as_ref().map(Given::text)),
        ];
        flags.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect()
    }
}

/// A share of the partitions wants some to be a share of.
fn with_some_partitions(faults: FaultConfig) -> FaultConfig {
    if faults.partition_probability == Rate::ZERO {
        return faults.with_partitions(0.01, 100..500);
    }
    faults
}

/// What a link carries: `20M` or `20M,64k`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capacity {
    bytes_per_second: u64,
    queue_bytes: Option<u64>,
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let (rate, room) = halves(text);
    let bytes_per_second = values::bandwidth(rate)?;
    let queue_bytes = room.map(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match text.get(digits.len()..) {
            Some("") => 1,
            Some("k") => 1_000,
            Some("M") => 1_000_000,
            _ => 0,
        };
        let bytes = digits.parse::<u64>().ok().and_then(|bytes| bytes.checked_mul(factor));
        let known = bytes.filter(|_| factor > 0);
        known.ok_or_else(|| "a queue is bytes, as in 20M,64k or 500k,1500".to_owned())
    });
    Ok(Capacity { bytes_per_second, queue_bytes: queue_bytes.transpose()? })
}

/// How often, and how long at most: `0.01` or `0.01,5s`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Tail {
    probability: f64,
    most: Option<SimDuration>,
}

fn tail(text: &str) -> Result<Tail, String> {
    let (chance, most) = halves(text);
    Ok(Tail { probability: values::probability(chance)?, most: most.map(values::span).transpose()? })
}

/// How often, and how much: `0.01` or `0.01,10`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Counted {
    probability: f64,
    count: Option<u32>,
}

fn counted(text: &str) -> Result<Counted, String> {
    let (chance, count) = halves(text);
    let allowed: Range<u32> = 1..1_001;
    let read = |text| u32::from_str(text).ok().filter(|count| allowed.contains(count));
    let count =
        count.map(|text| read(text).ok_or("the second number lies between 1 and 1000, as in 0.01,10"));
    Ok(Counted { probability: values::probability(chance)?, count: count.transpose()? })
}

fn halves(text: &str) -> (&str, Option<&str>) {
    text.split_once(',').map_or((text, None), |(first, second)| (first, Some(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_what_is_allowed() {
        let read = capacity("8M,64k").unwrap();
        assert_eq!(read, Capacity { bytes_per_second: 1_000_000, queue_bytes: Some(64_000) });
        assert!(capacity("8M,64x").unwrap_err().contains("a queue is bytes"));
        assert!(capacity("x").unwrap_err().contains("bits per second"));
        assert_eq!(tail("0.1").unwrap(), Tail { probability: 0.1, most: None });
        assert!(tail("0.1,9").unwrap().most.is_some() && tail("0.1,x").is_err() && tail("2").is_err());
        assert_eq!(counted("0.1,7").unwrap(), Counted { probability: 0.1, count: Some(7) });
        assert!(counted("0.1,0").unwrap_err().contains("between 1 and 1000"));
    }
}
