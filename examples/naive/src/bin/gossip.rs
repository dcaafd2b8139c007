include!(concat!(env!("OUT_DIR"), "/gossip.rs"));
