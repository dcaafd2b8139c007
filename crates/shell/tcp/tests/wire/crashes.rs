//! One of the two processes is killed in the middle of a session, and started again.

use crate::processes::Process;
use crate::side::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use syncline_sync::{
    DriveError, EncryptionState, Nonce, Outcome, SharedKey, StreamMessage, SyncTransport, TransportError,
    serve,
};
use syncline_tcp::{TcpTransport, accept, connect};
use tokio::net::TcpListener;

/// Where in a session the other process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It waits for us: we have its nth message and have not sent the next.
    AfterReceiving(u64),
    /// It works for us: our nth message is on its way.
    AfterSending(u64),
}

use Moment::{AfterReceiving, AfterSending};

const MOMENTS: [Moment; 7] = [
    AfterSending(1),
    AfterReceiving(1),
    AfterSending(2),
    AfterReceiving(3),
    AfterSending(4),
    AfterReceiving(6),
    AfterSending(7),
];

/// A transport that kills the other end.
struct Deadly<'a> {
    inner: TcpTransport,
    moment: Moment,
    sent: u64,
    received: u64,
    victim: Option<&'a mut Process>,
}

impl<'a> Deadly<'a> {
    fn new(inner: TcpTransport, moment: Moment, victim: &'a mut Process) -> Self {
        Self { inner, moment, sent: 0, received: 0, victim: Some(victim) }
    }

    fn strike(&mut self) {
        let now = match self.moment {
            AfterReceiving(n) => self.received >= n,
            AfterSending(n) => self.sent >= n,
        };
        if now && let Some(victim) = self.victim.take() {
            if let AfterSending(n) = self.moment {
                // Let it come some way into its work: now more, now less.
                std::thread::sleep(Duration::from_micros(n * n * 311));
            }
            victim.kill();
        }
    }

    fn has_struck(&self) -> bool {
        self.victim.is_none()
    }
}

impl SyncTransport for Deadly<'_> {
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError> {
        self.inner.send(message).await?;
        self.sent += 1;
        self.strike();
        Ok(())
    }

    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError> {
        let received = self.inner.recv().await?;
        self.received += u64::from(received.is_some());
        self.strike();
        Ok(received)
    }

    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError> {
        let received = self.inner.recv_timeout(budget).await?;
        self.received += u64::from(received.is_some());
        self.strike();
        Ok(received)
    }

    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>) {
        self.inner.set_encryption(encryption);
    }

    fn encryption(&self) -> &EncryptionState {
        self.inner.encryption()
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}

/// Both stores of a session, as they were before: made once, and copied for each moment.
struct Stores {
    wish: Wish,
    folder: PathBuf,
}

impl Stores {
    fn make(wish: Wish, name: &str) -> Self {
        let stores = Self { wish, folder: folder(&format!("{name}-{}", wish.name())) };
        let (client, server) = wish.entries();
        make(&stores.folder.join("client"), CLIENT, client);
        make(&stores.folder.join("server"), SERVER, server);
        stores
    }

    fn copies(&self, at: usize) -> (PathBuf, PathBuf) {
        let copy_of = |side: &str| {
            let target = self.folder.join(format!("{at}-{side}"));
            copy(&self.folder.join(side), &target);
            target
        };
        (copy_of("client"), copy_of("server"))
    }

    /// Both have all that either had before. Afterwards they are gone.
    fn check_both(&self, client: &Path, server: &Path) {
        let (ours, theirs) = self.wish.entries();
        let all = [ours, theirs];
        assert_eq!(reopened_root(client, &all), reopened_root(server, &all), "{:?}", self.wish);
        for path in [client, server] {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

const WISHES: [Wish; 3] = [Wish::Snapshot, Wish::Walk, Wish::Deltas];

#[test]
fn a_server_killed_in_the_middle_is_synced_after_its_restart() {
    for wish in WISHES {
        let stores = Stores::make(wish, "server-killed");
        for (at, moment) in MOMENTS.into_iter().enumerate() {
            let (ours, theirs) = stores.copies(at);
            let mut host = open(&ours, CLIENT);
            let (mut process, port) = Process::server(&theirs);
            let error = block_on(async {
                let inner = connect(("127.0.0.1", port), &config()).await.unwrap();
                let mut transport = Deadly::new(inner, moment, &mut process);
                let driven = wish.run(&mut host, &mut transport).await;
                assert!(transport.has_struck(), "{wish:?} ended before {moment:?}: {driven:?}");
                driven.unwrap_err()
            });
            assert_eq!(error, DriveError::Transport(TransportError::Closed), "{wish:?} {moment:?}");
            reopened_root(&theirs, &[wish.entries().1]);
            root_with(&host.store, &[wish.entries().0]);

            let (mut process, port) = Process::server(&theirs);
            block_on(async {
                let mut transport = connect(("127.0.0.1", port), &config()).await.unwrap();
                let (outcome, _) = wish.run(&mut host, &mut transport).await.unwrap();
                assert!(matches!(outcome, Outcome::Converged { .. }), "{wish:?} {moment:?}: {outcome:?}");
            });
            drop(host);
            process.kill();
            stores.check_both(&ours, &theirs);
        }
    }
}

#[test]
fn a_client_killed_in_the_middle_is_synced_after_its_restart() {
    for wish in WISHES {
        let stores = Stores::make(wish, "client-killed");
        for (at, moment) in MOMENTS.into_iter().enumerate() {
            let (theirs, ours) = stores.copies(at);
            let mut host = open(&ours, SERVER);
            block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let mut process = Process::client(&theirs, wish, port);
                let inner = accept(listener.accept().await.unwrap().0, &config()).await.unwrap();
                let mut transport = Deadly::new(inner, moment, &mut process);
                match serve(&mut host, &mut transport).await {
                    Ok(_) | Err(DriveError::Transport(TransportError::Closed)) => {}
                    Err(error) => panic!("{wish:?} {moment:?}: {error}"),
                }
                assert!(transport.has_struck(), "{wish:?} ended before {moment:?}");
                reopened_root(&theirs, &[wish.entries().0]);
                root_with(&host.store, &[wish.entries().1]);

                let mut process = Process::client(&theirs, wish, port);
                let mut transport = accept(listener.accept().await.unwrap().0, &config()).await.unwrap();
                match serve(&mut host, &mut transport).await {
                    Ok(answered) => assert!(answered > 0),
                    Err(error) => panic!("{wish:?} {moment:?}: {error}"),
                }
                assert_eq!(process.said("root"), format!("{:#}", root_with(&host.store, &[])));
            });
            drop(host);
            stores.check_both(&theirs, &ours);
        }
    }
}
