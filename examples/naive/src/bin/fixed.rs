include!(concat!(env!("OUT_DIR"), "/fixed.rs"));
