//! Sessions over TCP: between processes, through an adversary on the path, and with a killed process.

mod crashes;
mod frames;
mod greetings;
mod hostile;
mod processes;
mod side;
