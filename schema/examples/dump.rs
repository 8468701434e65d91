//! Prints what a recording says, a record a line: `cargo run -p nodescope-schema --example dump -- FILE`

use std::fs::File;
use std::io::BufReader;

use nodescope_schema::{
    FromSensorSink, Record, RecordingReader, Reply, SensorHello, decode_from_sensor,
};

struct Print;

impl FromSensorSink for Print {
    fn hello(&mut self, hello: SensorHello<'_>) {
        println!("{hello:?}");
    }

    fn record(&mut self, record: Record<'_>) {
        match record {
            Record::Cgroup(cgroup) => {
                let path = String::from_utf8_lossy(cgroup.path);
                println!("Cgroup {path:?} {cgroup:?}");
            }
            Record::Flow(flow) => {
                let executable = String::from_utf8_lossy(flow.key.owner.executable);
                println!("Flow {executable:?} {flow:?}");
            }
            Record::Listen(listen) => {
                let executable = String::from_utf8_lossy(listen.owner.executable);
                println!("Listen {executable:?} {listen:?}");
            }
            other => println!("{other:?}"),
        }
    }

    fn reply(&mut self, reply: Reply) {
        println!("{reply:?}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: dump FILE")?;
    let mut reader = RecordingReader::new(BufReader::new(File::open(path)?))?;
    while let Some(message) = reader.next_message()? {
        decode_from_sensor(message, &mut Print)?;
    }
    Ok(())
}
