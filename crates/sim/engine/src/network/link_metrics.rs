//! Counters of the faults of links.

use serde::{Deserialize, Serialize};

/// How often each fault of the links happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkMetrics {
    /// Frames that waited in the send queue of a link with bounded bandwidth.
    pub frames_queued: u64,
    /// The sum of these waiting times, in microseconds.
    pub queue_delay_us: u64,
    /// Frames that were sent over an uplink which their sender shares between all its links.
    pub uplink_frames: u64,
    /// Frames that were dropped because the send queue was full.
    pub queue_drops: u64,
    /// Frames that fell into the tail of the latency.
    pub tail_delays: u64,
    /// Frames sent over bad links.
    pub bad_link_frames: u64,
    /// Frames lost in bursts.
    pub burst_losses: u64,
    /// Bursts that ended at random.
    pub bursts_ended: u64,
    /// Bursts that ended at their maximum length.
    pub bursts_expired: u64,
    /// Frames that found their link down, when sent or on arrival.
    pub link_down_frames: u64,
    /// Partitions in one direction.
    pub one_way_partitions: u64,
    /// Partitions into more than two groups.
    pub group_partitions: u64,
    /// Connections set up.
    pub connections_opened: u64,
    /// Connections that broke, for any reason.
    pub connection_resets: u64,
    /// Connections that broke at random.
    pub chance_resets: u64,
    /// Connections that timed out because nothing got through.
    pub stall_resets: u64,
    /// How often a connection retransmitted a frame.
    pub frames_retransmitted: u64,
    /// How often a frame of a connection arrived while its direction was blocked.
    pub frames_stalled: u64,
}

impl LinkMetrics {
    /// Each counter with a description for people.
    pub const fn rows(&self) -> [(&'static str, u64); 18] {
        [
            ("frames that waited for bandwidth", self.frames_queued),
            ("… microseconds, all together", self.queue_delay_us),
            ("… that left by a shared line", self.uplink_frames),
            ("frames that found a queue full", self.queue_drops),
            ("frames in the tail of the latency", self.tail_delays),
            ("frames over bad links", self.bad_link_frames),
            ("frames lost in bad stretches", self.burst_losses),
            ("… stretches that ended by chance", self.bursts_ended),
            ("… that had lasted long enough", self.bursts_expired),
            ("frames that found their link down", self.link_down_frames),
            ("one-way partitions", self.one_way_partitions),
            ("partitions into groups", self.group_partitions),
            ("connections set up", self.connections_opened),
            ("connections that broke", self.connection_resets),
            ("… by chance", self.chance_resets),
            ("… because nothing got through", self.stall_resets),
            ("retransmissions", self.frames_retransmitted),
            ("frames stalled", self.frames_stalled),
        ]
    }

    /// Adds the counters of another run.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            frames_queued,
            queue_delay_us,
            uplink_frames,
            queue_drops,
            tail_delays,
            bad_link_frames,
            burst_losses,
            bursts_ended,
            bursts_expired,
            link_down_frames,
            one_way_partitions,
            group_partitions,
            connections_opened,
            connection_resets,
            chance_resets,
            stall_resets,
            frames_retransmitted,
            frames_stalled,
        } = other;
        self.frames_queued += frames_queued;
        self.queue_delay_us += queue_delay_us;
        self.uplink_frames += uplink_frames;
        self.queue_drops += queue_drops;
        self.tail_delays += tail_delays;
        self.bad_link_frames += bad_link_frames;
        self.burst_losses += burst_losses;
        self.bursts_ended += bursts_ended;
        self.bursts_expired += bursts_expired;
        self.link_down_frames += link_down_frames;
        self.one_way_partitions += one_way_partitions;
        self.group_partitions += group_partitions;
        self.connections_opened += connections_opened;
        self.connection_resets += connection_resets;
        self.chance_resets += chance_resets;
        self.stall_resets += stall_resets;
        self.frames_retransmitted += frames_retransmitted;
        self.frames_stalled += frames_stalled;
    }
}
