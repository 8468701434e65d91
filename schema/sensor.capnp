@0x8b7c326c8975af75;
# What nodescope-sensor and nodescope-aggregator send each other. One packet is one of the two messages at the end.
#
# The meaning and unit of each field is documented once, on the Rust types in src/record.rs, src/request.rs and
# src/message.rs; here is only their form. Rules for changes: field numbers are never used twice; a new field must be
# right when it is zero or empty; a new kind of record or request gets a new union member, and readers that do not know
# it count and skip it.
#
# Addresses are two words, most significant bytes first in `ipHigh`, so that reading one takes no pointer. `Data` is
# bytes as the kernel has them; `Text` is always made by the sensor itself.

struct Cgroup {
  hierarchy @0 :UInt32;
  id @1 :UInt64;
  createdNs @2 :UInt64;
  removedNs @3 :UInt64;
  path @4 :Data;
}

struct Processes {
  hierarchy @0 :UInt32;
  id @1 :UInt64;
  generation @2 :UInt64;
  live @3 :UInt32;
  started @4 :UInt64;
  ended @5 :UInt64;
  restarts @6 :UInt64;
  oomKills @7 :UInt64;
}

enum FlowKind {
  destination @0;
  other @1;
}

struct FlowKey {
  cgroupV2 @0 :UInt64;
  cgroupV1 @1 :UInt64;
  executable @2 :Data;
  ipHigh @3 :UInt64;
  ipLow @4 :UInt64;
  port @5 :UInt16;
  kind @6 :FlowKind;
  hostNetns @7 :Bool;
  actualIpHigh @8 :UInt64;
  actualIpLow @9 :UInt64;
  actualPort @10 :UInt16;
}

struct Flow {
  key @0 :FlowKey;
  generation @1 :UInt64;
  connects @2 :UInt64;
  failures @3 :UInt64;
  active @4 :UInt32;
  retransmits @5 :UInt64;
  sentBytes @6 :UInt64;
  receivedBytes @7 :UInt64;
  connectTimeNs @8 :UInt64;
  updatedNs @9 :UInt64;
  rttNs @10 :UInt64;
}

struct Listen {
  cookie @0 :UInt64;
  cgroupV2 @1 :UInt64;
  cgroupV1 @2 :UInt64;
  executable @3 :Data;
  pid @4 :UInt32;
  netns @5 :UInt32;
  ipHigh @6 :UInt64;
  ipLow @7 :UInt64;
  port @8 :UInt16;
  ipv6Only @9 :Bool;
  open @10 :Bool;
}

struct Loss {
  stage @0 :Text;
  reason @1 :Text;
  total @2 :UInt64;
}

enum Verdict {
  ok @0;
  degraded @1;
  unsupported @2;
  failed @3;
}

struct Hook {
  name @0 :Text;
  rung @1 :Text;
  verdict @2 :Verdict;
  detail @3 :Text;
}

struct MapFill {
  name @0 :Text;
  entries @1 :UInt32;
  capacity @2 :UInt32;
}

struct SensorStatus {
  residentBytes @0 :UInt64;
  cpuNs @1 :UInt64;
  recordsSent @2 :UInt64;
  requestsGranted @3 :UInt64;
  requestsRefused @4 :UInt64;
  requestsWaiting @5 :UInt32;
}

struct Delays {
  hierarchy @0 :UInt32;
  id @1 :UInt64;
  generation @2 :UInt64;
  accounted @3 :Bool;
  cpuNs @4 :UInt64;
  blockIoNs @5 :UInt64;
  swapInNs @6 :UInt64;
  reclaimNs @7 :UInt64;
  thrashingNs @8 :UInt64;
  compactionNs @9 :UInt64;
  writeCopyNs @10 :UInt64;
  irqNs @11 :UInt64;
}

struct Ping {
  ipHigh @0 :UInt64;
  ipLow @1 :UInt64;
  generation @2 :UInt64;
  sent @3 :UInt64;
  answered @4 :UInt64;
  lost @5 :UInt64;
  rttNs @6 :UInt64;
  answeredNs @7 :UInt64;
}

struct HeldLog {
  number @0 :UInt64;
  cgroupV2 @1 :UInt64;
  cgroupV1 @2 :UInt64;
  inode @3 :UInt64;
  open @4 :Bool;
  path @5 :Data;
}

struct Record {
  union {
    none @0 :Void;  # Never sent: what a reader sees where a record has no kind. It counts as unknown.
    snapshotBegin @1 :Void;
    snapshotEnd @2 :Void;
    cgroup @3 :Cgroup;
    processes @4 :Processes;
    flow @5 :Flow;
    flowEvicted @6 :FlowKey;
    listen @7 :Listen;
    loss @8 :Loss;
    hook @9 :Hook;
    mapFill @10 :MapFill;
    status @11 :SensorStatus;
    delays @12 :Delays;
    ping @13 :Ping;
    heldLog @14 :HeldLog;
  }
}

struct Batch {
  sequence @0 :UInt64;
  records @1 :List(Record);
}

struct SensorHello {
  version @0 :UInt16;
  oldestVersion @1 :UInt16;
  release @2 :Text;
  runId @3 :UInt64;
  v1Hierarchy @4 :UInt32;
  v1Controllers @5 :Text;
  hostNetns @6 :UInt32;
  hostname @7 :Text;
  kernelRelease @8 :Text;
}

enum Refusal {
  badArgument @0;
  notFound @1;
  forbidden @2;
  rateLimited @3;
  io @4;
  unknown @5;
  busy @6;
}

struct Reply {
  id @0 :UInt64;
  union {
    none @1 :Void;  # Never sent, as in Record.
    granted @2 :Void;
    refused @3 :Refusal;
  }
}

struct FilesystemReply {
  id @0 :UInt64;
  sizeBytes @1 :UInt64;
  freeBytes @2 :UInt64;
  availableBytes @3 :UInt64;
}

enum Language {
  unknown @0;
  go @1;
  rust @2;
  dotNet @3;
}

struct ExecutableReply {
  id @0 :UInt64;
  name @1 :Data;
  language @2 :Language;
}

struct AggregatorHello {
  version @0 :UInt16;
  oldestVersion @1 :UInt16;
  release @2 :Text;
}

enum FileKind {
  dockerConfig @0;
  dockerDaemon @1;
  containerdBundle @2;
  storageBundle @3;
  storageContainers @4;
  lxcConfig @5;
  systemUuid @6;
  dockerJsonLog @7;
  dockerLocalLog @8;
  podLog @9;
  podmanLog @10;
  heldLog @11;
}

struct OpenFile {
  kind @0 :FileKind;
  container @1 :Data;
  namespace @2 :Data;
  root @3 :Data;
  uid @4 :UInt32;
  generation @5 :UInt32;
}

struct StatFilesystem {
  major @0 :UInt32;
  minor @1 :UInt32;
}

struct SetPingTargets {
  addresses @0 :Data;  # 16 bytes each, as they go over a network.
}

struct OpenJvmData {
  pid @0 :UInt32;
}

struct DescribeExecutable {
  pid @0 :UInt32;
}

struct Request {
  id @0 :UInt64;
  union {
    none @1 :Void;  # Never sent, as in Record.
    openFile @2 :OpenFile;
    status @3 :Void;
    statFilesystem @4 :StatFilesystem;
    setPingTargets @5 :SetPingTargets;
    openJvmData @6 :OpenJvmData;
    describeExecutable @7 :DescribeExecutable;
  }
}

struct FromSensor {
  union {
    none @0 :Void;  # Never sent, as in Record.
    hello @1 :SensorHello;
    batch @2 :Batch;
    reply @3 :Reply;
    filesystemReply @4 :FilesystemReply;
    executableReply @5 :ExecutableReply;
  }
}

struct FromAggregator {
  union {
    none @0 :Void;  # Never sent, as in Record.
    hello @1 :AggregatorHello;
    request @2 :Request;
  }
}
