//! The same workload in other simulators.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// turmoil: every host sends 64 bytes to the next host over UDP every virtual millisecond, until `target`
/// datagrams have arrived. The latency is 5 to 15 ms.
pub(crate) fn turmoil_deliveries(nodes: usize, target: u64) -> u64 {
    let received = Arc::new(AtomicU64::new(0));
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::from_millis(5))
        .max_message_latency(Duration::from_millis(15))
        .udp_capacity(1 << 16)
        .rng_seed(7)
        .build();
    for own in 0..nodes {
        let received = received.clone();
        sim.host(format!("n{own}"), move || {
            let received = received.clone();
            async move {
                let socket = turmoil::net::UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 9)).await?;
                let mut tick = tokio::time::interval(Duration::from_millis(1));
                let mut next = own + 1;
                let mut buffer = [0; 64];
                loop {
                    tokio::select! {
                        biased;
                        arrived = socket.recv_from(&mut buffer) => {
                            arrived?;
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                        _ = tick.tick() => {
                            let to = next % nodes;
                            next = if (to + 1) % nodes == own { own + 1 } else { to + 1 };
                            if to != own {
                                socket.send_to(&[7; 64], (format!("n{to}"), 9)).await?;
                            }
                        }
                    }
                }
            }
        });
    }
    while received.load(Ordering::Relaxed) < target {
        sim.step().expect("the simulation goes on");
    }
    received.load(Ordering::Relaxed)
}

/// madsim: every node sends 64 bytes every virtual millisecond from one task and receives in another, until
/// `target` messages have arrived. The latency is 10 ± 5 ms.
#[cfg(madsim)]
pub(crate) fn madsim_deliveries(nodes: usize, target: u64, loss: f64) -> u64 {
    use madsim::net::Endpoint;
    use std::net::SocketAddr;

    let mut config = madsim::Config::default();
    config.net.packet_loss_rate = loss;
    config.net.send_latency = Duration::from_millis(5)..Duration::from_millis(15);
    let received = Arc::new(AtomicU64::new(0));
    let runtime = madsim::runtime::Runtime::with_seed_and_config(7, config);
    let address = |node: usize| SocketAddr::from(([10, 0, 0, node as u8 + 1], 9));
    runtime.block_on(async {
        let handle = madsim::runtime::Handle::current();
        for own in 0..nodes {
            let node = handle.create_node().ip(address(own).ip()).build();
            let received = received.clone();
            node.spawn(async move {
                let endpoint = Arc::new(Endpoint::bind(address(own)).await.expect("a free address"));
                let inbox = endpoint.clone();
                madsim::task::spawn(async move {
                    let mut buffer = [0; 64];
                    while inbox.recv_from(1, &mut buffer).await.is_ok() {
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                });
                let mut next = own;
                loop {
                    madsim::time::sleep(Duration::from_millis(1)).await;
                    next = (next + 1) % nodes;
                    if next != own {
                        endpoint.send_to(address(next), 1, &[7; 64]).await.expect("an address of a node");
                    }
                }
            });
        }
        while received.load(Ordering::Relaxed) < target {
            madsim::time::sleep(Duration::from_millis(1)).await;
        }
    });
    received.load(Ordering::Relaxed)
}

/// Without `--cfg madsim` there is no simulator in madsim.
#[cfg(not(madsim))]
pub(crate) fn madsim_deliveries(_: usize, _: u64, _: f64) -> u64 {
    panic!("build with --cfg madsim: run from the benches folder, whose .cargo/config.toml says so")
}
