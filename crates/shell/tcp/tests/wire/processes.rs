//! Two operating-system processes that converge. The second process runs this test binary too.

use crate::side::*;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use syncline_sync::{DriveError, Outcome, SyncTransport, serve};
use syncline_tcp::{accept, connect};
use tokio::net::TcpListener;

const STORE: &str = "SYNCLINE_TCP_STORE";
const PROTOCOL: &str = "SYNCLINE_TCP_PROTOCOL";
const PORT: &str = "SYNCLINE_TCP_PORT";

/// Another process of this binary. Dropping the value kills it.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs the test `name` alone, with `environment` added.
    fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Starts a process that serves the store at `path`; gives its port too.
    pub(crate) fn server(path: &Path) -> (Self, u16) {
        let path = path.to_str().unwrap();
        let mut server = Self::start("processes::child_that_serves", &[(STORE, path)]);
        let port = server.said("port").parse().unwrap();
        (server, port)
    }

    /// Starts a process that drives sessions from the store at `path` until it has converged.
    pub(crate) fn client(path: &Path, protocol: Protocol, port: u16) -> Self {
        let protocol = protocol.name();
        let port = port.to_string();
        let environment = [(STORE, path.to_str().unwrap()), (PROTOCOL, &protocol), (PORT, &port)];
        Self::start("processes::child_that_drives", &environment)
    }

    /// Waits until the process prints a line `<word> value`, and gives the value.
    pub(crate) fn said(&mut self, word: &str) -> String {
        for line in self.lines.by_ref() {
            // The first line begins with the name of the test.
            if let Some((_, said)) = line.unwrap().split_once(&format!("<{word}> ")) {
                return said.trim().to_owned();
            }
        }
        panic!("the other process ended and did not say its {word}");
    }

    /// Kills the process with SIGKILL: only its files remain.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends this process when its parent ends, which closes the parent's end of the pipe.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

/// Not a test by itself: serves one connection after another until it is killed.
#[test]
fn child_that_serves() {
    let Some(path) = std::env::var_os(STORE).filter(|_| std::env::var_os(PORT).is_none()) else { return };
    end_with_the_parent();
    let mut host = open(Path::new(&path), SERVER);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("<port> {}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut transport) = accept(stream, &config()).await else { continue };
            match serve(&mut host, &mut transport).await {
                Ok(_) | Err(DriveError::Transport(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// Not a test by itself: drives sessions until one has converged, and prints its root.
#[test]
fn child_that_drives() {
    let Ok(port) = std::env::var(PORT) else { return };
    end_with_the_parent();
    let path = std::env::var_os(STORE).unwrap();
    let protocol = Protocol::named(&std::env::var(PROTOCOL).unwrap());
    let mut host = open(Path::new(&path), CLIENT);
    let root = block_on(async {
        loop {
            let mut transport = connect(("127.0.0.1", port.parse().unwrap()), &config()).await.unwrap();
            let (outcome, _) = protocol.run(&mut host, &mut transport).await.unwrap();
            transport.close().await.unwrap();
            match outcome {
                Outcome::Converged { root } => return root,
                Outcome::SyncPending(_) => {}
                Outcome::Failed(reason) => panic!("{reason}"),
            }
        }
    });
    println!("<root> {root:#}");
}

#[test]
fn two_processes_converge_encrypted() {
    for protocol in Protocol::ALL {
        let folder = folder(&format!("equal-{}", protocol.name()));
        let ours = folder.join("client");
        let theirs = folder.join("server");
        let (client, server) = protocol.entries();
        make(&ours, CLIENT, client.clone());
        make(&theirs, SERVER, server.clone());
        let (mut process, port) = Process::server(&theirs);
        let mut host = open(&ours, CLIENT);
        let (outcome, stats) = block_on(async {
            let mut transport = connect(("127.0.0.1", port), &config()).await.unwrap();
            assert!(transport.encryption().is_on());
            let driven = protocol.run(&mut host, &mut transport).await.unwrap();
            assert_eq!(transport.dropped().total(), 0);
            driven
        });
        let by_its_own_protocol = match protocol {
            Protocol::Snapshot => stats.walks == 0 && stats.round_trips > 7,
            Protocol::Deltas => stats.walks == 0 && stats.deltas_received == 30 && stats.deltas_pushed == 30,
            Protocol::Walk => stats.walks == 1 && stats.records_received >= 600,
            Protocol::Any | Protocol::Filter => stats.round_trips > 2,
        };
        assert!(by_its_own_protocol, "{protocol:?}: {stats:?}");
        drop(host);
        process.kill();
        let root = reopened_root(&ours, &[client.clone(), server.clone()]);
        assert_eq!(reopened_root(&theirs, &[client, server]), root, "{protocol:?}");
        assert_eq!(outcome, Outcome::Converged { root }, "{protocol:?}");
    }
}
