//! The same job in other simulators.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Hosts that send 64 bytes to the next host over UDP every virtual millisecond until `target`
/// datagrams have arrived. Latency 5 to 15 ms.
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
                let (mut next, mut buffer) = (own + 1, [0; 64]);
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
