//! Sessions over TCP: between processes, through an adversary on the path, and with a killed process.

mod acceptor;
mod crashes;
mod frames;
mod greetings;
mod hostile;
mod nonces;
mod processes;
mod side;
mod slow_peers;
