//! Any packet may come from the sensor: decoding returns, with counts that agree with what the sink saw, and records
//! that came out go in again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_schema::{
    Decoded, ExecutableReply, FilesystemReply, FromSensorSink, Record, RecordWriter, Reply, SensorHello, decode_from_sensor,
};

#[derive(Default)]
struct Again {
    records: u32,
    others: u32,
    writer: RecordWriter,
}

impl FromSensorSink for Again {
    fn hello(&mut self, _: SensorHello<'_>) {
        self.others += 1;
    }

    fn record(&mut self, record: Record<'_>) {
        self.records += 1;
        if !self.writer.push(&record) {
            self.writer.finish(0);
            assert!(
                self.writer.push(&record),
                "an empty writer takes any record"
            );
        }
    }

    fn reply(&mut self, _: Reply) {
        self.others += 1;
    }

    fn filesystem_reply(&mut self, _: FilesystemReply) {
        self.others += 1;
    }

    fn executable_reply(&mut self, _: ExecutableReply<'_>) {
        self.others += 1;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut sink = Again::default();
    let expected = match decode_from_sensor(bytes, &mut sink) {
        Ok(Decoded::Hello | Decoded::Reply) => (0, 1),
        Ok(Decoded::Records(counts)) => (counts.records, 0),
        Ok(Decoded::Unknown) | Err(_) => (0, 0),
    };
    assert_eq!((sink.records, sink.others), expected);

    let again = sink.writer.len();
    let packet = sink.writer.finish(1).to_vec();
    let decoded = decode_from_sensor(&packet, &mut Again::default());
    assert!(
        matches!(decoded, Ok(Decoded::Records(counts)) if counts.records as usize == again
            && counts.unknown + counts.malformed == 0),
        "{decoded:?}"
    );
});
