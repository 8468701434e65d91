//! Where records go: packed into packets, to the client and the recording, if there are any.

use std::time::Duration;

use nodescope_schema::{Record, RecordWriter};

use super::client::{Client, Sent};
use super::recording::Recording;
use crate::losses::{Losses, Lost};

/// The way out for records.
#[derive(Debug)]
pub struct Outlet {
    writer: RecordWriter,
    sequence: u64,
    /// The client, once it has said hello.
    pub client: Option<Client>,
    recording: Option<Recording>,
    /// What was dropped.
    pub losses: Losses,
    /// Records that reached a client.
    pub records_sent: u64,
}

impl Outlet {
    /// An outlet without a client.
    pub fn new(recording: Option<Recording>) -> Self {
        Self {
            writer: RecordWriter::new(),
            sequence: 0,
            client: None,
            recording,
            losses: Losses::default(),
            records_sent: 0,
        }
    }

    /// Writes the first message of the recording.
    pub fn record_hello(&mut self, hello: &[u8]) {
        if let Some(recording) = &mut self.recording {
            recording.write(hello);
        }
    }

    /// Begins a round of records, for which the client may let us wait `patience` in all.
    pub fn begin(&mut self, patience: Duration) {
        if let Some(client) = &mut self.client {
            client.grant(patience);
        }
    }

    /// Begins a snapshot: a client that waits for it is sent everything from here on.
    pub fn begin_snapshot(&mut self, patience: Duration) {
        if let Some(client) = &mut self.client {
            client.begin_snapshot();
        }
        self.begin(patience);
    }

    /// Adds a record; a full packet is sent.
    pub fn push(&mut self, record: &Record<'_>) {
        if self.writer.push(record) {
            return;
        }
        self.send();
        // An empty packet takes any record.
        let fits = self.writer.push(record);
        debug_assert!(fits);
    }

    /// Ends a round: what was pushed is sent.
    pub fn finish(&mut self) {
        self.send();
        if let Some(recording) = &mut self.recording {
            recording.flush();
        }
    }

    fn send(&mut self) {
        let records = self.writer.len() as u64;
        if records == 0 {
            return;
        }
        let packet = self.writer.finish(self.sequence);
        self.sequence += 1;
        if let Some(recording) = &mut self.recording
            && !recording.write(packet)
        {
            self.losses.add(Lost::RecordingFull, records);
        }
        match self.client.as_mut().map(|client| client.send(packet)) {
            Some(Sent::Yes) => self.records_sent += records,
            Some(Sent::Lagging) => self.losses.add(Lost::ClientSlow, records),
            // Found out about and closed by the loop, too.
            Some(Sent::Gone) => self.client = None,
            Some(Sent::Early) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nodescope_schema::{
        Cgroup, CgroupKey, Decoded, FromSensorSink, Reply, SensorHello, decode_from_sensor,
    };
    use std::os::fd::AsFd;

    #[derive(Default)]
    struct Ids(Vec<u64>);

    impl FromSensorSink for Ids {
        fn hello(&mut self, _: SensorHello<'_>) {}
        fn reply(&mut self, _: Reply) {}
        fn record(&mut self, record: Record<'_>) {
            let Record::Cgroup(cgroup) = record else {
                panic!("{record:?}")
            };
            self.0.push(cgroup.key.id);
        }
    }

    fn push(outlet: &mut Outlet, id: u64) {
        let key = CgroupKey { hierarchy: 0, id };
        let path = &[b'/'; 200];
        outlet.push(&Record::Cgroup(Cgroup {
            key,
            path,
            created_ns: 0,
            removed_ns: 0,
        }));
    }

    #[test]
    fn many_records_arrive_in_order_in_several_packets() {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (left, right) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let mut outlet = Outlet::new(None);
        outlet.client = Some(Client::new(left, 1));
        outlet.begin_snapshot(Duration::ZERO);
        (0..500).for_each(|id| push(&mut outlet, id));
        outlet.finish();
        outlet.finish();

        let mut ids = Ids::default();
        let mut buffer = crate::packet::buffer();
        let mut packets = 0;
        while let Ok(crate::packet::Received::Packet(length)) =
            crate::packet::receive(right.as_fd(), &mut buffer)
        {
            let decoded = decode_from_sensor(&buffer[..length], &mut ids).unwrap();
            let Decoded::Records(counts) = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!(counts.sequence, packets);
            packets += 1;
        }
        assert!(packets >= 2);
        assert_eq!(ids.0, (0..500).collect::<Vec<_>>());
        assert_eq!(outlet.records_sent, 500);
        assert_eq!(outlet.losses.total(Lost::ClientSlow), 0);
    }

    #[test]
    fn every_record_is_either_sent_or_counted_as_lost() {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (left, _right) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let mut outlet = Outlet::new(None);
        outlet.client = Some(Client::new(left, 1));
        outlet.begin_snapshot(Duration::ZERO);
        (0..20_000).for_each(|id| push(&mut outlet, id));
        outlet.finish();
        let lost = outlet.losses.total(Lost::ClientSlow);
        assert!(lost > 0 && outlet.records_sent > 0);
        assert_eq!(lost + outlet.records_sent, 20_000);
    }

    #[test]
    fn without_anybody_nothing_is_lost() {
        let mut outlet = Outlet::new(None);
        (0..5000).for_each(|id| push(&mut outlet, id));
        outlet.finish();
        assert!(outlet.losses.records().all(|record| matches!(
            record,
            Record::Loss(nodescope_schema::Loss { total: 0, .. })
        )));
    }
}
