//! Any packet may come from the aggregator: decoding returns, and what it says can be encoded and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_schema::{
    FromAggregator, decode_from_aggregator, encode_aggregator_hello, encode_request,
};

fuzz_target!(|bytes: &[u8]| {
    let encoded = decode_from_aggregator(bytes, |message| match message {
        FromAggregator::Hello(hello) => encode_aggregator_hello(&hello),
        FromAggregator::Request(request) => encode_request(&request),
    });
    if let Ok(encoded) = encoded {
        decode_from_aggregator(&encoded, |_| ()).expect("reads what it wrote");
    }
});
