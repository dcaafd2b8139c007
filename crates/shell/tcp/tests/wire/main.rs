//! Sessions over TCP: between processes, with a hostile one in between, and with one that is killed.

mod crashes;
mod frames;
mod greetings;
mod hostile;
mod processes;
mod side;
