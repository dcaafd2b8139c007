//! The tests of the replica, as one program: what is generic over the store is compiled once.
//! `cargo test -p syncline-replica --test replica fuzz::` runs one module.

mod clocks;
mod costs;
mod deep;
mod fuzz;
mod garbage;
mod hopeless;
mod hostile;
mod identity;
mod left_behind;
mod model;
