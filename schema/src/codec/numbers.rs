//! Enumerations to and from their numbers on the wire.
//!
//! Every `match` is exhaustive both ways, so a member added on one side only does not compile.

use super::sensor_capnp as wire;
use crate::{FileKind, FlowKind, Language, Refusal, Verdict};

macro_rules! same_members {
    ($name:ident: $($member:ident),+) => {
        impl From<$name> for wire::$name {
            fn from(ours: $name) -> Self {
                match ours {
                    $($name::$member => Self::$member,)+
                }
            }
        }

        impl From<wire::$name> for $name {
            fn from(wire: wire::$name) -> Self {
                match wire {
                    $(wire::$name::$member => Self::$member,)+
                }
            }
        }
    };
}

same_members!(FlowKind: Destination, Other);
same_members!(Verdict: Ok, Degraded, Unsupported, Failed);
same_members!(Refusal: BadArgument, NotFound, Forbidden, RateLimited, Io, Unknown, Busy);
same_members!(Language: Unknown, Go, Rust, DotNet);
same_members!(FileKind: DockerConfig, DockerDaemon, ContainerdBundle, StorageBundle, StorageContainers, LxcConfig, SystemUuid, DockerJsonLog, DockerLocalLog, PodLog, PodmanLog, HeldLog);

#[cfg(test)]
mod tests {
    use super::wire;
    use crate::{FileKind, FlowKind, Language, Refusal, Verdict};

    macro_rules! assert_numbers {
        ($name:ident, $all:expr) => {
            for (number, ours) in (0_u16..).zip($all) {
                let on_wire = wire::$name::from(ours);
                assert_eq!(u16::from(on_wire), number, "number of {ours:?}");
                assert_eq!($name::from(on_wire), ours);
            }
            let next = u16::try_from($all.len()).unwrap();
            assert!(
                wire::$name::try_from(next).is_err(),
                "a member of {} is not in ALL",
                stringify!($name)
            );
        };
    }

    #[test]
    fn all_lists_members_in_wire_order() {
        assert_numbers!(FileKind, FileKind::ALL);
        assert_numbers!(Refusal, Refusal::ALL);
        assert_numbers!(Verdict, Verdict::ALL);
        assert_numbers!(Language, Language::ALL);
        assert_numbers!(FlowKind, [FlowKind::Destination, FlowKind::Other]);
    }
}
