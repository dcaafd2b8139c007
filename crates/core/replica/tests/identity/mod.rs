//! One identity, two lives: a store that was restored from a backup, copied, lost, or that is some starts old.

mod bringing_back;
mod conflicts;
mod incarnations;
mod mixed;
mod records;
mod recovery;
mod world;
