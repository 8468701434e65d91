//! Any bytes may come from a netlink socket: reading them ends, and an entry that is read is one of TCP whose answers come
//! from elsewhere.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_sensor::conntrack::entry::translated;
use nodescope_sensor::conntrack::message::{Message, Messages};

fuzz_target!(|bytes: &[u8]| {
    for message in Messages::new(bytes) {
        if let Message::Entry { attributes, .. } = message {
            let found = translated(attributes);
            assert!(found.is_none_or(|found| found.actual != found.tuple.destination));
        }
    }
});
