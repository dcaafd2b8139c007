//! The output of the commands: reports for machines, tables and charts for people, progress on a terminal.
//!
//! A report is a struct whose JSON keys are stable; the text for people is made from the same report.

pub(crate) mod charts;
pub(crate) mod compare_report;
pub(crate) mod coverage_report;
pub(crate) mod event_log;
pub(crate) mod explore_report;
pub(crate) mod failures;
pub(crate) mod fates_report;
pub(crate) mod fault_rows;
pub(crate) mod inspect_report;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod run_report;
pub(crate) mod run_text;
pub(crate) mod shrink_report;
pub(crate) mod sweep_report;
pub(crate) mod text;
pub(crate) mod totals;
pub(crate) mod verify_report;
pub(crate) mod writer;
