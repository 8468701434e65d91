//! Families about nodescope itself. Filled through [`crate::metrics::own`].

use super::family;
use crate::metrics::Descriptor;

family!(
    BUILD_INFO,
    Gauge,
    Own,
    "nodescope_build_info",
    ["version", "protocol_version"],
    "Release of the aggregator and newest protocol version it speaks, always 1"
);
family!(
    RECORDS_RECEIVED,
    Counter,
    Own,
    "nodescope_records_received_total",
    ["kind"],
    "Records received from the sensor by kind"
);
family!(
    RECORDS_LOST,
    Counter,
    Own,
    "nodescope_records_lost_total",
    ["stage", "reason"],
    "Records lost before they reached the aggregator, as the sensor counts them since its start; run_skipped: runs of a hook the kernel skipped, most of which others make up for; no_sensor: connects made while no sensor ran; impossible: waits for block I/O of which the kernel says that they took longer than there was time for; of the stage taskstats: overrun: times that exit records found no room; failed: messages; missed, unplaced, unknown, refused: processes of which some waits may be missing"
);
family!(
    DECODE_ERRORS,
    Counter,
    Own,
    "nodescope_decode_errors_total",
    [],
    "Messages of the sensor that could not be decoded"
);
family!(
    SEQUENCE_GAPS,
    Counter,
    Own,
    "nodescope_sequence_gaps_total",
    [],
    "Messages of the sensor that are missing between two that arrived"
);
family!(
    SENSOR_CONNECTED,
    Gauge,
    Own,
    "nodescope_sensor_connected",
    [],
    "1 while the aggregator is connected to the sensor, else 0"
);
family!(
    SENSOR_RECONNECTS,
    Counter,
    Own,
    "nodescope_sensor_reconnects_total",
    [],
    "Connections to the sensor after the first"
);
family!(
    SENSOR_HOOK,
    Gauge,
    Own,
    "nodescope_sensor_hook",
    ["hook", "rung", "verdict"],
    "State of a kernel hook: the attach point in use and how well it works, always 1"
);
family!(
    SENSOR_MAP_ENTRIES,
    Gauge,
    Own,
    "nodescope_sensor_map_entries",
    ["map"],
    "Entries in a kernel map"
);
family!(
    SENSOR_MAP_CAPACITY,
    Gauge,
    Own,
    "nodescope_sensor_map_capacity",
    ["map"],
    "Entries a kernel map can hold"
);
family!(
    SENSOR_RECORDS_SENT,
    Counter,
    Own,
    "nodescope_sensor_records_sent_total",
    [],
    "Records the sensor sent since its start"
);
family!(
    SENSOR_REQUESTS,
    Counter,
    Own,
    "nodescope_sensor_requests_total",
    ["result"],
    "Requests the sensor answered since its start, by result"
);
family!(
    SENSOR_MEMORY,
    Gauge,
    Own,
    "nodescope_sensor_resident_memory_bytes",
    [],
    "Resident memory of the sensor, in bytes"
);
family!(
    SENSOR_CPU,
    Counter,
    Own,
    "nodescope_sensor_cpu_seconds_total",
    [],
    "CPU time the sensor used, in seconds"
);
family!(
    AGGREGATOR_MEMORY,
    Gauge,
    Own,
    "nodescope_aggregator_resident_memory_bytes",
    [],
    "Resident memory of the aggregator, in bytes"
);
family!(
    AGGREGATOR_CPU,
    Counter,
    Own,
    "nodescope_aggregator_cpu_seconds_total",
    [],
    "CPU time the aggregator used, in seconds"
);
family!(
    SERIES,
    Gauge,
    Own,
    "nodescope_series",
    ["family"],
    "Series of a family in this page"
);
family!(
    SERIES_DROPPED,
    Counter,
    Own,
    "nodescope_series_dropped_total",
    ["reason"],
    "Series left out of pages, by reason"
);
family!(
    SCRAPE_DURATION,
    Histogram,
    Own,
    "nodescope_scrape_duration_seconds",
    [],
    "Time to write the node and container families of a page, in seconds"
);
family!(
    COLLECTOR_ERRORS,
    Counter,
    Own,
    "nodescope_collector_errors_total",
    ["collector"],
    "Runs of a node collector that failed"
);
family!(
    CONTAINERS,
    Gauge,
    Own,
    "nodescope_containers",
    [],
    "Containers and services that are reported"
);
family!(
    QUEUE_LENGTH,
    Gauge,
    Own,
    "nodescope_queue_length",
    ["queue"],
    "What waits: flows for their container's name, name lookups under way, requests the sensor has not answered (requests) \
     and those of them that reached its broker (sensor_requests)"
);
family!(
    LOG_READ_BYTES,
    Counter,
    Own,
    "nodescope_log_read_bytes_total",
    [],
    "Bytes read of logs"
);
family!(
    LOG_SKIPPED_BYTES,
    Counter,
    Own,
    "nodescope_log_skipped_bytes_total",
    ["reason"],
    "Bytes of logs that were not looked at: too many waited (budget), or they are not of the log's format (undecodable)"
);
family!(
    LOG_DAMAGED_LINES,
    Counter,
    Own,
    "nodescope_log_damaged_lines_total",
    ["reason"],
    "Lines of logs that are not of the log's format and not counted (malformed), lines and messages that were too long and \
     are counted by their beginning (cut)"
);
family!(
    LOG_GAPS,
    Counter,
    Own,
    "nodescope_log_gaps_total",
    ["reason"],
    "Times that lines of a log may be missing: a file was removed (rotated) or emptied (truncated) and nothing tells \
     whether it had been read to its end"
);
family!(
    LOG_ERRORS,
    Counter,
    Own,
    "nodescope_log_errors_total",
    ["operation"],
    "Times that a log could not be opened or read, or how far it was read not be saved or loaded"
);
family!(
    LOG_FILES,
    Gauge,
    Own,
    "nodescope_log_files",
    ["state"],
    "Log files that are open, and logs that wait until one may be opened for them"
);
family!(
    LOG_BACKLOG,
    Gauge,
    Own,
    "nodescope_log_backlog_bytes",
    [],
    "Bytes of logs that wait to be read"
);
family!(
    LOG_UNCLAIMED,
    Counter,
    Own,
    "nodescope_log_unclaimed_messages_total",
    [],
    "Messages of the journal that are not counted, because no container or service became known for them within a minute"
);
family!(
    JOURNAL_READABLE,
    Gauge,
    Own,
    "nodescope_journal_readable",
    [],
    "1 while systemd's journal is being read; the log says why it is not"
);

/// The families of this file.
pub static FAMILIES: &[&Descriptor] = &[
    &BUILD_INFO,
    &RECORDS_RECEIVED,
    &RECORDS_LOST,
    &DECODE_ERRORS,
    &SEQUENCE_GAPS,
    &SENSOR_CONNECTED,
    &SENSOR_RECONNECTS,
    &SENSOR_HOOK,
    &SENSOR_MAP_ENTRIES,
    &SENSOR_MAP_CAPACITY,
    &SENSOR_RECORDS_SENT,
    &SENSOR_REQUESTS,
    &SENSOR_MEMORY,
    &SENSOR_CPU,
    &AGGREGATOR_MEMORY,
    &AGGREGATOR_CPU,
    &SERIES,
    &SERIES_DROPPED,
    &SCRAPE_DURATION,
    &COLLECTOR_ERRORS,
    &CONTAINERS,
    &QUEUE_LENGTH,
    &LOG_READ_BYTES,
    &LOG_SKIPPED_BYTES,
    &LOG_DAMAGED_LINES,
    &LOG_GAPS,
    &LOG_ERRORS,
    &LOG_FILES,
    &LOG_BACKLOG,
    &LOG_UNCLAIMED,
    &JOURNAL_READABLE,
];
