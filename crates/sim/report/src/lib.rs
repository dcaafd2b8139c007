//! Reports of runs: timelines, HTML pages, traces for other viewers, and the analysis of failures.
#![warn(clippy::float_arithmetic)]

pub mod forensics;
pub mod timeline;
