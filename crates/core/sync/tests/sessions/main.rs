//! Sessions as sans-IO: two states, and what passes between them.

mod properties;
mod protocols;
mod side;
mod sketches;
mod snapshots;
