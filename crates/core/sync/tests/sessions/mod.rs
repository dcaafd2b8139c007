//! Sessions between two states, run sans-IO.

mod interleavings;
mod properties;
mod protocols;
mod side;
mod sketches;
mod snapshots;
