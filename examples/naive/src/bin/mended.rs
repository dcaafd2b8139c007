include!(concat!(env!("OUT_DIR"), "/mended.rs"));
