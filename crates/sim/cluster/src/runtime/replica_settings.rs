//! The settings that all replicas of a run share.

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use sync_sim_engine::faults::{ConfigError, time};
use syncline_replica::ReplicaConfig;
use syncline_types::{ContextId, Limit, Limits, ReplicaId, SimDuration};

/// The settings that all replicas of a run share, as in the table `[replica]` of a case file. The defaults are
/// those of [`ReplicaConfig`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaSettings {
    /// The number of peers that a write is sent to at once.
    pub gossip_fanout: usize,
    /// The number of peers that the root is announced to at each heartbeat.
    pub heartbeat_fanout: usize,
    /// The pause between heartbeats after a change.
    #[serde(with = "time")]
    pub heartbeat_min: SimDuration,
    /// The longest pause between heartbeats.
    #[serde(with = "time")]
    pub heartbeat_max: SimDuration,
    /// How long a peer may take to answer before a round trip to it was measured.
    #[serde(with = "time")]
    pub first_timeout: SimDuration,
    /// The longest time that a peer may take to answer.
    #[serde(with = "time")]
    pub timeout_max: SimDuration,
    /// The pause after a failed session.
    #[serde(with = "time")]
    pub backoff_min: SimDuration,
    /// The longest pause after failures.
    #[serde(with = "time")]
    pub backoff_max: SimDuration,
    /// How long a session may stand still.
    #[serde(with = "time")]
    pub session_deadline: SimDuration,
    /// How far ahead of the local clock a stamp may be, in milliseconds.
    pub max_drift_ms: u64,
    /// The number of sessions that a replica may have under way as initiator.
    pub max_sessions: usize,
    /// The number of views that a replica stores for the snapshots of its peers.
    pub snapshot_views: usize,
    /// The sizes of frames, pages and writes, and the bounds of sessions. A file lists those that differ from
    /// their defaults.
    #[serde(with = "sparse_limits")]
    pub limits: Limits,
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        let config = ReplicaConfig::new(ContextId::default(), ReplicaId::default());
        Self {
            gossip_fanout: config.gossip_fanout,
            heartbeat_fanout: config.heartbeat_fanout,
            heartbeat_min: config.heartbeat_min,
            heartbeat_max: config.heartbeat_max,
            first_timeout: config.first_timeout,
            timeout_max: config.timeout_max,
            backoff_min: config.backoff_min,
            backoff_max: config.backoff_max,
            session_deadline: config.session_deadline,
            max_drift_ms: config.max_drift_ms,
            max_sessions: config.max_sessions,
            snapshot_views: config.snapshot_views,
            limits: config.limits,
        }
    }
}

impl ReplicaSettings {
    /// Gives these settings to a replica.
    pub(super) const fn apply_to(&self, config: &mut ReplicaConfig) {
        // By name, so that a new setting cannot be left out.
        let Self {
            gossip_fanout,
            heartbeat_fanout,
            heartbeat_min,
            heartbeat_max,
            first_timeout,
            timeout_max,
            backoff_min,
            backoff_max,
            session_deadline,
            max_drift_ms,
            max_sessions,
            snapshot_views,
            limits,
        } = self;
        config.gossip_fanout = *gossip_fanout;
        config.heartbeat_fanout = *heartbeat_fanout;
        config.heartbeat_min = *heartbeat_min;
        config.heartbeat_max = *heartbeat_max;
        config.first_timeout = *first_timeout;
        config.timeout_max = *timeout_max;
        config.backoff_min = *backoff_min;
        config.backoff_max = *backoff_max;
        config.session_deadline = *session_deadline;
        config.max_drift_ms = *max_drift_ms;
        config.max_sessions = *max_sessions;
        config.snapshot_views = *snapshot_views;
        config.limits = *limits;
    }

    /// Whether a session between honest replicas may exceed its bounds: it has less time, or may read a snapshot
    /// from fewer boundaries, than by default.
    pub(super) fn shortens_sessions(&self) -> bool {
        let usual = Self::default();
        self.session_deadline < usual.session_deadline || self.limits.boundaries() < usual.limits.boundaries()
    }

    /// Checks the numbers and times. [`Limits`] are within their bounds by themselves.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const MOST: u64 = 1_000;
        const DAY_MS: u64 = 86_400_000;
        let check = |field, found: u64, min, max| {
            let is_good = (min..=max).contains(&found);
            if is_good { Ok(()) } else { Err(ConfigError::OutOfBounds { field, found, min, max }) }
        };
        check("replica.gossip_fanout", self.gossip_fanout as u64, 1, MOST)?;
        check("replica.heartbeat_fanout", self.heartbeat_fanout as u64, 1, MOST)?;
        check("replica.max_drift_ms", self.max_drift_ms, 1, DAY_MS)?;
        check("replica.max_sessions", self.max_sessions as u64, 1, MOST)?;
        check("replica.snapshot_views", self.snapshot_views as u64, 1, MOST)?;
        let times = [
            ("replica.heartbeat_min (in ms)", self.heartbeat_min, SimDuration::from_millis(1)),
            ("replica.heartbeat_max (in ms)", self.heartbeat_max, self.heartbeat_min),
            ("replica.first_timeout (in ms)", self.first_timeout, SimDuration::from_millis(1)),
            ("replica.timeout_max (in ms)", self.timeout_max, self.first_timeout),
            ("replica.backoff_min (in ms)", self.backoff_min, SimDuration::from_millis(1)),
            ("replica.backoff_max (in ms)", self.backoff_max, self.backoff_min),
            ("replica.session_deadline (in ms)", self.session_deadline, SimDuration::from_millis(1)),
        ];
        times.into_iter().try_for_each(|(field, found, least)| {
            check(field, found.as_millis(), least.as_millis().max(1), DAY_MS)
        })
    }
}

/// For `#[serde(with)]`: the limits that differ from their defaults, by name.
mod sparse_limits {
    use super::*;

    pub(super) fn serialize<S: Serializer>(limits: &Limits, to: S) -> Result<S::Ok, S::Error> {
        let changed = Limit::ALL.iter().filter(|limit| limits.get(**limit) != limit.most());
        let changed: BTreeMap<&str, usize> =
            changed.map(|limit| (limit.name(), limits.get(*limit))).collect();
        changed.serialize(to)
    }

    struct SparseLimits;

    impl<'de> Visitor<'de> for SparseLimits {
        type Value = Limits;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of limits")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Limits, A::Error> {
            let mut found: Vec<(Limit, usize)> = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                let limit = Limit::ALL.iter().find(|limit| limit.name() == name);
                let Some(limit) = limit else {
                    let names: Vec<String> =
                        Limit::ALL.iter().map(|limit| format!("`{}`", limit.name())).collect();
                    let names = names.join(", ");
                    return Err(A::Error::custom(format!("unknown limit `{name}`, expected one of {names}")));
                };
                found.push((*limit, map.next_value()?));
            }
            // The frame has to have room for what is lowered before it.
            found.sort_by_key(|(limit, _)| *limit == Limit::FrameBytes);
            let limits = found
                .into_iter()
                .try_fold(Limits::default(), |limits, (limit, value)| limits.with(limit, value));
            limits.map_err(A::Error::custom)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Limits, D::Error> {
        from.deserialize_map(SparseLimits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_sparsely() {
        let mut settings = ReplicaSettings::default();
        settings.limits = settings.limits.with(Limit::PageBytes, 64).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.contains(r#""limits":{"page_bytes":64}"#), "{text}");
        assert_eq!(serde_json::from_str::<ReplicaSettings>(&text).unwrap(), settings);
    }

    #[test]
    fn refuses_limits_out_of_bounds() {
        let error = |text| serde_json::from_str::<ReplicaSettings>(text).unwrap_err().to_string();
        assert!(error(r#"{"limits":{"page_bytes":0}}"#).contains("between 1 and 262144"));
        assert!(
            error(r#"{"limits":{"page_byte":1}}"#).contains("unknown limit `page_byte`, expected one of")
        );
        assert!(error(r#"{"limits":{"frame_bytes":65536}}"#).contains("in frames of 65536 bytes"));
    }

    #[test]
    fn refuses_times_out_of_order() {
        let settings =
            ReplicaSettings { backoff_max: SimDuration::from_millis(10), ..ReplicaSettings::default() };
        assert!(settings.validate().unwrap_err().to_string().contains("replica.backoff_max (in ms) is 10"));
    }
}
