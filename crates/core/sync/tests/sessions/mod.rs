//! Sessions between two states, run sans-IO.

mod id_shapes;
mod interleavings;
mod properties;
mod protocols;
mod side;
mod sketches;
mod snapshots;
