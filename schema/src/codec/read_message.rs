//! Hellos, replies and requests out of their packets.

use capnp::{NotInSchema, text};

use super::sensor_capnp as wire;
use crate::{
    AggregatorHello, DecodeError, DescribeExecutable, ExecutableReply, FilesystemReply,
    FilesystemSpace, FromAggregator, Language, OpenFile, OpenJvmData, Refusal, Reply, Request,
    RequestKind, SensorHello, SetPingTargets, StatFilesystem,
};

pub(super) fn read_sensor_hello(
    hello: wire::sensor_hello::Reader<'_>,
) -> Result<SensorHello<'_>, DecodeError> {
    Ok(SensorHello {
        version: hello.get_version(),
        oldest_version: hello.get_oldest_version(),
        release: read_text("release", hello.get_release()?)?,
        run_id: hello.get_run_id(),
        v1_hierarchy: hello.get_v1_hierarchy(),
        v1_controllers: read_text("v1_controllers", hello.get_v1_controllers()?)?,
        host_netns: hello.get_host_netns(),
        hostname: read_text("hostname", hello.get_hostname()?)?,
        kernel_release: read_text("kernel_release", hello.get_kernel_release()?)?,
    })
}

/// A reply, or nothing when it neither grants nor refuses in a way this library knows. A refusal for an unknown reason
/// is one all the same, and becomes [`Refusal::Unknown`]: whoever asked must not wait for ever.
pub(super) fn read_reply(reply: wire::reply::Reader<'_>) -> Option<Reply> {
    use wire::reply::Which;
    let result = match reply.which() {
        Ok(Which::Granted(())) => Ok(()),
        Ok(Which::Refused(refusal)) => Err(refusal.map_or(Refusal::Unknown, Refusal::from)),
        Ok(Which::None(())) | Err(_) => return None,
    };
    Some(Reply {
        id: reply.get_id(),
        result,
    })
}

pub(super) fn read_filesystem_reply(reply: wire::filesystem_reply::Reader<'_>) -> FilesystemReply {
    FilesystemReply {
        id: reply.get_id(),
        space: FilesystemSpace {
            size_bytes: reply.get_size_bytes(),
            free_bytes: reply.get_free_bytes(),
            available_bytes: reply.get_available_bytes(),
        },
    }
}

/// A language that this library does not know is none that it could name.
pub(super) fn read_executable_reply(
    reply: wire::executable_reply::Reader<'_>,
) -> Result<ExecutableReply<'_>, DecodeError> {
    Ok(ExecutableReply {
        id: reply.get_id(),
        name: reply.get_name()?,
        language: reply
            .get_language()
            .map_or(Language::Unknown, Language::from),
    })
}

pub(super) fn read_from_aggregator(
    message: wire::from_aggregator::Reader<'_>,
) -> Result<FromAggregator<'_>, DecodeError> {
    use wire::from_aggregator::Which;
    match message.which() {
        Ok(Which::Hello(hello)) => read_aggregator_hello(hello?).map(FromAggregator::Hello),
        Ok(Which::Request(request)) => read_request(request?).map(FromAggregator::Request),
        Ok(Which::None(())) | Err(_) => Err(DecodeError::UnknownMessage),
    }
}

fn read_aggregator_hello(
    hello: wire::aggregator_hello::Reader<'_>,
) -> Result<AggregatorHello<'_>, DecodeError> {
    Ok(AggregatorHello {
        version: hello.get_version(),
        oldest_version: hello.get_oldest_version(),
        release: read_text("release", hello.get_release()?)?,
    })
}

fn read_request(request: wire::request::Reader<'_>) -> Result<Request<'_>, DecodeError> {
    use wire::request::Which;
    let id = request.get_id();
    let unknown = |_: NotInSchema| DecodeError::UnknownRequest { id };
    let kind = match request.which().map_err(unknown)? {
        Which::None(()) => return Err(DecodeError::UnknownRequest { id }),
        Which::OpenFile(open) => {
            let open = open?;
            RequestKind::OpenFile(OpenFile {
                kind: open.get_kind().map_err(unknown)?.into(),
                container: open.get_container()?,
                namespace: open.get_namespace()?,
                root: open.get_root()?,
                uid: open.get_uid(),
                generation: open.get_generation(),
            })
        }
        Which::Status(()) => RequestKind::Status,
        Which::StatFilesystem(stat) => {
            let stat = stat?;
            RequestKind::StatFilesystem(StatFilesystem {
                major: stat.get_major(),
                minor: stat.get_minor(),
            })
        }
        Which::SetPingTargets(targets) => {
            RequestKind::SetPingTargets(read_ping_targets(targets?.get_addresses()?)?)
        }
        Which::OpenJvmData(open) => RequestKind::OpenJvmData(OpenJvmData {
            pid: open?.get_pid(),
        }),
        Which::DescribeExecutable(of) => {
            RequestKind::DescribeExecutable(DescribeExecutable { pid: of?.get_pid() })
        }
    };
    Ok(Request { id, kind })
}

fn read_ping_targets(bytes: &[u8]) -> Result<SetPingTargets<'_>, DecodeError> {
    let (addresses, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(SetPingTargets { addresses })
    } else {
        Err(DecodeError::PartOfAnAddress)
    }
}

fn read_text<'a>(field: &'static str, text: text::Reader<'a>) -> Result<&'a str, DecodeError> {
    text.to_str().map_err(|_| DecodeError::NotUtf8 { field })
}
