//! The report of a comparison of protocols.

use crate::error::CommandError;
use crate::output::text::{bytes, grouped, numbers_from, table, verdict};
use crate::output::writer::Output;
use serde::Serialize;
use sync_sim::compare_protocols::{Measurement, Outcome, ProtocolCost};

/// The measurements. The JSON keys are stable; `cpu_us` alone depends on the machine.
#[derive(Serialize)]
pub(crate) struct CompareReport {
    pub(crate) entities: u64,
    pub(crate) difference: u64,
    pub(crate) shape: String,
    pub(crate) rtt_us: u64,
    pub(crate) bytes_per_second: u64,
    /// How many records differ according to the handshake's sketches.
    pub(crate) estimated_difference: u64,
    pub(crate) protocols: Vec<ProtocolRow>,
    pub(crate) adaptive: SelectedProtocol,
    pub(crate) table: SelectedProtocol,
    /// The estimated cost of each protocol.
    pub(crate) reckoned: Vec<CostEstimate>,
}

/// The protocol that a selection takes, and how long its session took.
#[derive(Serialize)]
pub(crate) struct SelectedProtocol {
    protocol: String,
    reason: String,
    time_us: u64,
}

impl SelectedProtocol {
    pub(crate) fn of(measured: &Measurement) -> Self {
        Self {
            protocol: measured.protocol.to_string(),
            reason: measured.reason.to_string(),
            time_us: measured.time_us,
        }
    }
}

/// What a protocol should cost after the handshake, without the records themselves.
#[derive(Serialize)]
pub(crate) struct CostEstimate {
    protocol: String,
    round_trips: u64,
    bytes: u64,
    cpu_us: u64,
    time_us: u64,
}

impl CostEstimate {
    pub(crate) fn of(cost: &ProtocolCost) -> Self {
        let ProtocolCost { protocol, round_trips, bytes, cpu_us, time_us } = *cost;
        Self { protocol: protocol.to_string(), round_trips, bytes, cpu_us, time_us }
    }
}

/// The session of one protocol, as measured.
#[derive(Serialize)]
pub(crate) struct ProtocolRow {
    protocol: String,
    pub(crate) converged: bool,
    outcome: String,
    messages: u64,
    round_trips: u64,
    bytes_out: u64,
    bytes_in: u64,
    /// Bytes of the session other than those of transferred records and deltas.
    control_bytes: u64,
    entities_received: u64,
    entities_pushed: u64,
    /// How many times the session fell back to a walk of the index.
    walks: u64,
    /// The CPU time of the initiator and of the responder.
    cpu_us: [u64; 2],
    time_us: u64,
}

impl ProtocolRow {
    pub(crate) fn of(name: &str, measured: &Measurement) -> Self {
        let Measurement { outcome, stats, bytes_out, bytes_in, payload_bytes, .. } = measured;
        Self {
            protocol: name.to_owned(),
            converged: matches!(outcome, Outcome::Converged { .. }),
            outcome: match outcome {
                Outcome::Converged { .. } => "converged".into(),
                Outcome::SyncPending(reason) => format!("pending: {}", reason.as_str()),
                Outcome::Failed(reason) => format!("failed: {reason}"),
            },
            messages: measured.messages,
            round_trips: stats.round_trips,
            bytes_out: *bytes_out,
            bytes_in: *bytes_in,
            control_bytes: (bytes_out + bytes_in).saturating_sub(*payload_bytes),
            entities_received: stats.records_received + stats.deltas_received,
            entities_pushed: stats.records_pushed + stats.deltas_pushed,
            walks: stats.walks,
            cpu_us: measured.cpu,
            time_us: measured.time_us,
        }
    }

    /// The row in one line.
    pub(crate) fn in_words(&self) -> String {
        let traffic = bytes(self.bytes_out + self.bytes_in);
        format!("{}: {}, {traffic}, {}", self.protocol, millis(self.time_us), self.outcome)
    }

    pub(crate) fn time_ms(&self) -> f64 {
        self.time_us as f64 / 1_000.0
    }

    pub(crate) const fn control_bytes(&self) -> f64 {
        self.control_bytes as f64
    }
}

impl CompareReport {
    /// Whether the session of every protocol converged.
    pub(crate) fn is_good(&self) -> bool {
        self.protocols.iter().all(|row| row.converged)
    }

    /// Prints the report, with the estimates behind the adaptive selection if `explain` is set.
    pub(crate) fn print(&self, explain: bool, out: &mut Output) -> Result<(), CommandError> {
        writeln!(
            out,
            "{} entities shared ({}), {} on one side only; round trip {} ms, {} per second\n",
            grouped(self.entities),
            self.shape,
            grouped(self.difference),
            self.rtt_us / 1_000,
            bytes(self.bytes_per_second)
        )?;
        let headings = [
            "protocol",
            "round trips",
            "bytes out",
            "bytes in",
            "of which control",
            "received",
            "pushed",
            "cpu, µs",
            "time",
            "",
        ];
        let mut rows = table(&headings);
        for row in &self.protocols {
            let [ours, theirs] = row.cpu_us;
            rows.add_row([
                row.protocol.clone(),
                row.round_trips.to_string(),
                bytes(row.bytes_out),
                bytes(row.bytes_in),
                bytes(row.control_bytes),
                grouped(row.entities_received),
                grouped(row.entities_pushed),
                format!("{} + {}", grouped(ours), grouped(theirs)),
                millis(row.time_us),
                self.notes(row),
            ]);
        }
        numbers_from(&mut rows, 1);
        writeln!(out, "{rows}\n")?;
        for (how, selected) in [("adaptive selection", &self.adaptive), ("the decision table", &self.table)] {
            writeln!(
                out,
                "{how} takes {}, {}: {}",
                selected.protocol,
                selected.reason,
                millis(selected.time_us)
            )?;
        }
        if explain {
            self.print_estimates(out)?;
        }
        let good = self.is_good();
        writeln!(out, "\n{}", verdict(good, if good { "ALL CONVERGED" } else { "NOT ALL CONVERGED" }))
    }

    /// Who selects the protocol, and how its session ended if not as usual.
    fn notes(&self, row: &ProtocolRow) -> String {
        let mut notes = Vec::new();
        if row.protocol == self.adaptive.protocol {
            notes.push("adaptive");
        }
        if row.protocol == self.table.protocol {
            notes.push("table");
        }
        if !row.converged {
            notes.push(&row.outcome);
        } else if row.walks > 0 && row.protocol != "HashComparison" {
            notes.push("ended in a walk");
        }
        notes.join(", ")
    }

    fn print_estimates(&self, out: &mut Output) -> Result<(), CommandError> {
        writeln!(
            out,
            "\nAccording to the sketches of the handshake, about {} records differ. After the handshake, and without\n\
             the records themselves, each protocol should then take:\n",
            grouped(self.estimated_difference)
        )?;
        let mut rows = table(&["protocol", "round trips", "bytes", "cpu, µs", "time"]);
        for cost in &self.reckoned {
            rows.add_row([
                cost.protocol.clone(),
                cost.round_trips.to_string(),
                bytes(cost.bytes),
                grouped(cost.cpu_us),
                millis(cost.time_us),
            ]);
        }
        numbers_from(&mut rows, 1);
        writeln!(out, "{rows}")
    }
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", grouped(us / 1_000), us / 100 % 10)
}
