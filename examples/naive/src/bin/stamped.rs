include!(concat!(env!("OUT_DIR"), "/stamped.rs"));
