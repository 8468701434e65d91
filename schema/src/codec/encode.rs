//! Messages that hold one thing.

use capnp::message::{Builder, HeapAllocator};
use capnp::serialize;

use super::bounds::{MAX_NAME_BYTES, MAX_PATH_BYTES, cut_bytes, cut_name};
use super::sensor_capnp as wire;
use crate::{
    AggregatorHello, ExecutableReply, FilesystemReply, MAX_PING_TARGETS, OpenFile, Reply, Request,
    RequestKind, SensorHello,
};

/// The sensor's first message. Texts longer than [`MAX_NAME_BYTES`] are cut.
pub fn encode_sensor_hello(hello: &SensorHello<'_>) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_sensor::Builder<'_>>()
        .init_hello();
    out.set_version(hello.version);
    out.set_oldest_version(hello.oldest_version);
    out.set_release(cut_name(hello.release));
    out.set_run_id(hello.run_id);
    out.set_v1_hierarchy(hello.v1_hierarchy);
    out.set_v1_controllers(cut_name(hello.v1_controllers));
    out.set_host_netns(hello.host_netns);
    out.set_hostname(cut_name(hello.hostname));
    out.set_kernel_release(cut_name(hello.kernel_release));
    to_bytes(&message)
}

/// The answer to a request.
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_sensor::Builder<'_>>()
        .init_reply();
    out.set_id(reply.id);
    match reply.result {
        Ok(()) => out.set_granted(()),
        Err(refusal) => out.set_refused(refusal.into()),
    }
    to_bytes(&message)
}

/// The granting answer to a request for the space of a file system.
pub fn encode_filesystem_reply(reply: &FilesystemReply) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_sensor::Builder<'_>>()
        .init_filesystem_reply();
    out.set_id(reply.id);
    out.set_size_bytes(reply.space.size_bytes);
    out.set_free_bytes(reply.space.free_bytes);
    out.set_available_bytes(reply.space.available_bytes);
    to_bytes(&message)
}

/// The granting answer to a request for the kind of a program. A name longer than [`MAX_NAME_BYTES`] is cut.
pub fn encode_executable_reply(reply: &ExecutableReply<'_>) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_sensor::Builder<'_>>()
        .init_executable_reply();
    out.set_id(reply.id);
    out.set_name(cut_bytes(reply.name, MAX_NAME_BYTES));
    out.set_language(reply.language.into());
    to_bytes(&message)
}

/// The aggregator's first message. A release longer than [`MAX_NAME_BYTES`] is cut.
pub fn encode_aggregator_hello(hello: &AggregatorHello<'_>) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_aggregator::Builder<'_>>()
        .init_hello();
    out.set_version(hello.version);
    out.set_oldest_version(hello.oldest_version);
    out.set_release(cut_name(hello.release));
    to_bytes(&message)
}

/// A request. A root longer than [`MAX_PATH_BYTES`] and other arguments longer than [`MAX_NAME_BYTES`] are cut; both
/// bounds are longer than what the kernel takes, so the cut argument names nothing. So are addresses beyond
/// [`MAX_PING_TARGETS`].
pub fn encode_request(request: &Request<'_>) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut out = message
        .init_root::<wire::from_aggregator::Builder<'_>>()
        .init_request();
    out.set_id(request.id);
    match &request.kind {
        RequestKind::OpenFile(open) => write_open_file(out.init_open_file(), open),
        RequestKind::Status => out.set_status(()),
        RequestKind::StatFilesystem(stat) => {
            let mut out = out.init_stat_filesystem();
            out.set_major(stat.major);
            out.set_minor(stat.minor);
        }
        RequestKind::SetPingTargets(targets) => {
            let addresses = targets.addresses;
            let addresses = addresses.get(..MAX_PING_TARGETS).unwrap_or(addresses);
            out.init_set_ping_targets()
                .set_addresses(addresses.as_flattened());
        }
        RequestKind::OpenJvmData(open) => out.init_open_jvm_data().set_pid(open.pid),
        RequestKind::DescribeExecutable(of) => out.init_describe_executable().set_pid(of.pid),
    }
    to_bytes(&message)
}

fn write_open_file(mut out: wire::open_file::Builder<'_>, open: &OpenFile<'_>) {
    let OpenFile {
        kind,
        container,
        namespace,
        root,
        uid,
        generation,
    } = *open;
    out.set_kind(kind.into());
    out.set_container(cut_bytes(container, MAX_NAME_BYTES));
    out.set_namespace(cut_bytes(namespace, MAX_NAME_BYTES));
    out.set_root(cut_bytes(root, MAX_PATH_BYTES));
    out.set_uid(uid);
    out.set_generation(generation);
}

fn to_bytes(message: &Builder<HeapAllocator>) -> Vec<u8> {
    serialize::write_message_to_words(message)
}
