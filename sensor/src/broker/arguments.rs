//! Checks the arguments of a request for a file. Pure: what comes out can be put into a path as it is.

use nodescope_schema::{OpenFile, Refusal};

use super::generations::{Generations, MAX_GENERATIONS};
use super::kinds::{self, Form, Kind};

/// Longest container id, namespace or LXC name; containerd's limit.
pub const MAX_NAME_BYTES: usize = 76;
/// Longest name of a pod's log directory: that of any file.
const MAX_POD_BYTES: usize = 255;
/// Longest data-root; a longer one is a bad argument.
pub const MAX_ROOT_BYTES: usize = 1024;

/// A request for a file whose arguments have the form their row asks for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The row.
    pub kind: &'static Kind,
    /// Empty, or one path component.
    pub container: String,
    /// Empty, or one path component.
    pub namespace: String,
    /// Empty, or an absolute path without `.`, `..` and empty components.
    pub root: String,
    /// 0 for the system's runtime.
    pub uid: u32,
    /// Less than [`MAX_GENERATIONS`].
    pub generation: u32,
}

impl Query {
    /// Checks `request`.
    ///
    /// # Errors
    /// [`Refusal::BadArgument`] when an argument is not of the form the kind takes.
    pub fn check(request: &OpenFile<'_>) -> Result<Self, Refusal> {
        let kind = kinds::find(request.kind).ok_or(Refusal::Unknown)?;
        if request.uid != 0 && kind.user.is_empty() {
            return Err(Refusal::BadArgument);
        }
        let is_rotated = kind.generations != Generations::One;
        let generations = if is_rotated { MAX_GENERATIONS } else { 1 };
        if request.generation >= generations {
            return Err(Refusal::BadArgument);
        }
        let root = match request.root {
            b"" => "",
            root if kind.data_root => checked_root(root).ok_or(Refusal::BadArgument)?,
            _ => return Err(Refusal::BadArgument),
        };
        Ok(Self {
            kind,
            container: checked(request.container, kind.container)?.to_owned(),
            namespace: checked(request.namespace, kind.namespace)?.to_owned(),
            root: root.to_owned(),
            uid: request.uid,
            generation: request.generation,
        })
    }
}

fn checked(argument: &[u8], form: Form) -> Result<&str, Refusal> {
    let fits = match form {
        Form::Empty => argument.is_empty(),
        Form::Id => argument.len() == 64 && argument.iter().all(|byte| is_lower_hex(*byte)),
        Form::Name => is_name(argument),
        Form::Pod => is_pod(argument),
        Form::Number => is_number(argument),
    };
    match std::str::from_utf8(argument) {
        Ok(text) if fits => Ok(text),
        _ => Err(Refusal::BadArgument),
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_name(argument: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = argument
        .first()
        .is_some_and(|byte| !matches!(byte, b'.' | b'-'));
    first && argument.len() <= MAX_NAME_BYTES && argument.iter().all(allowed)
}

fn is_number(argument: &[u8]) -> bool {
    let text = std::str::from_utf8(argument).unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

fn is_pod(argument: &[u8]) -> bool {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let is_part = |part: &[u8]| {
        let first = part
            .first()
            .is_some_and(|byte| !matches!(byte, b'.' | b'-'));
        first && part.iter().all(allowed)
    };
    let mut parts = argument.split(|byte| *byte == b'_');
    argument.len() <= MAX_POD_BYTES && parts.clone().count() == 3 && parts.all(is_part)
}

/// A data-root: any bytes but control characters, so that it is also safe to write into a log.
fn checked_root(root: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(root)
        .ok()
        .filter(|text| text.len() <= MAX_ROOT_BYTES)?;
    let mut parts = text.strip_prefix('/')?.split('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    (parts.all(plain) && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodescope_schema::FileKind;
    use proptest::prelude::*;

    const ID: &[u8] = &[b'a'; 64];

    fn request(kind: FileKind) -> OpenFile<'static> {
        OpenFile {
            kind,
            container: b"",
            namespace: b"",
            root: b"",
            uid: 0,
            generation: 0,
        }
    }

    fn with_root(root: &[u8]) -> Result<Query, Refusal> {
        Query::check(&OpenFile {
            container: ID,
            root,
            ..request(FileKind::DockerConfig)
        })
    }

    #[test]
    fn ids_are_64_hexadecimal_digits() {
        for kind in [FileKind::DockerConfig, FileKind::StorageBundle] {
            assert!(
                Query::check(&OpenFile {
                    container: ID,
                    ..request(kind)
                })
                .is_ok()
            );
            let bad: [&[u8]; 7] = [
                b"",
                &[b'a'; 63],
                &[b'a'; 65],
                &[b'A'; 64],
                &[b'g'; 64],
                &[b'.'; 64],
                &[b'/'; 64],
            ];
            for container in bad {
                let query = Query::check(&OpenFile {
                    container,
                    ..request(kind)
                });
                assert_eq!(query.err(), Some(Refusal::BadArgument), "{container:?}");
            }
        }
    }

    #[test]
    fn numbers_are_decimal() {
        let query = |container| {
            Query::check(&OpenFile {
                container,
                ..request(FileKind::HeldLog)
            })
        };
        for number in [&b"0"[..], b"7", b"18446744073709551615"] {
            assert!(query(number).is_ok(), "{number:?}");
        }
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"0x1",
            b"18446744073709551616",
        ] {
            assert_eq!(query(bad).err(), Some(Refusal::BadArgument), "{bad:?}");
        }
    }

    #[test]
    fn names_are_one_plain_component() {
        let bundle = request(FileKind::ContainerdBundle);
        for name in [&b"k8s.io"[..], b"a", b"my_pod-1.x", &[b'x'; MAX_NAME_BYTES]] {
            let query = Query::check(&OpenFile {
                container: name,
                namespace: name,
                ..bundle
            });
            assert_eq!(
                query.map(|query| query.container.into_bytes()),
                Ok(name.to_vec())
            );
        }
        let bad: [&[u8]; 12] = [
            b"",
            b".",
            b"..",
            b".hidden",
            b"-x",
            b"a/b",
            b"a\0b",
            b"a b",
            b"\xff",
            "\u{e9}".as_bytes(),
            b"../../etc",
            &[b'x'; MAX_NAME_BYTES + 1],
        ];
        for name in bad {
            for (container, namespace) in [(name, &b"ok"[..]), (b"ok", name)] {
                let query = Query::check(&OpenFile {
                    container,
                    namespace,
                    ..bundle
                });
                assert_eq!(query.err(), Some(Refusal::BadArgument), "{name:?}");
            }
        }
    }

    #[test]
    fn arguments_a_kind_does_not_take_are_refused() {
        for kind in FileKind::ALL {
            let row = kinds::find(kind).unwrap();
            let container: &[u8] = match row.container {
                Form::Empty => b"",
                Form::Id => ID,
                Form::Name | Form::Pod => b"name",
                Form::Number => b"17",
            };
            let namespace: &[u8] = match row.namespace {
                Form::Empty => b"",
                Form::Pod => b"default_web-1_0a1b",
                Form::Id | Form::Name | Form::Number => b"name",
            };
            let good = OpenFile {
                container,
                namespace,
                ..request(kind)
            };
            assert!(Query::check(&good).is_ok(), "{kind:?}");

            let other: &[u8] = if container.is_empty() { b"x" } else { b"" };
            assert!(
                Query::check(&OpenFile {
                    container: other,
                    ..good
                })
                .is_err(),
                "{kind:?}"
            );
            let other: &[u8] = if namespace.is_empty() { b"x" } else { b"" };
            assert!(
                Query::check(&OpenFile {
                    namespace: other,
                    ..good
                })
                .is_err(),
                "{kind:?}"
            );
            let rooted = Query::check(&OpenFile {
                root: b"/x",
                ..good
            });
            assert_eq!(rooted.is_ok(), row.data_root, "{kind:?}");
            let user = Query::check(&OpenFile { uid: 1000, ..good });
            assert_eq!(user.is_ok(), !row.user.is_empty(), "{kind:?}");
            let of_generation = |generation| Query::check(&OpenFile { generation, ..good });
            let is_rotated = row.generations != Generations::One;
            assert_eq!(of_generation(1).is_ok(), is_rotated, "{kind:?}");
            assert!(of_generation(MAX_GENERATIONS).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn a_pod_is_three_plain_words() {
        let logs = |pod| OpenFile {
            container: b"app",
            namespace: pod,
            ..request(FileKind::PodLog)
        };
        let static_pod = b"kube-system_etcd-node.example_0123456789abcdef0123456789abcdef";
        for pod in [&b"default_web-1_0a1b2c3d-0a1b"[..], static_pod] {
            assert!(Query::check(&logs(pod)).is_ok(), "{pod:?}");
        }
        let long = [b"a_b_".as_slice(), &[b'c'; MAX_POD_BYTES]].concat();
        let bad: [&[u8]; 11] = [
            b"",
            b"default",
            b"a_b",
            b"a_b_c_d",
            b"a__c",
            b"_b_c",
            b".._b_c",
            b"a_../x_c",
            b"a_b/_c",
            b"A_b_c",
            &long,
        ];
        for pod in bad {
            let refused = Query::check(&logs(pod)).err();
            assert_eq!(refused, Some(Refusal::BadArgument), "{pod:?}");
        }
    }

    #[test]
    fn a_data_root_is_an_absolute_plain_path() {
        for root in [
            &b"/srv/docker"[..],
            b"/a",
            "/d\u{e9}p\u{f4}t/1 2".as_bytes(),
        ] {
            assert!(with_root(root).is_ok(), "{root:?}");
        }
        let long = [b"/".as_slice(), &[b'x'; MAX_ROOT_BYTES]].concat();
        let bad: [&[u8]; 11] = [
            b"/",
            b"srv",
            b"/srv/",
            b"//srv",
            b"/srv//x",
            b"/srv/../x",
            b"/srv/./x",
            b"/..",
            b"/a\0",
            b"/a\n",
            &long,
        ];
        for root in bad {
            assert_eq!(
                with_root(root).err(),
                Some(Refusal::BadArgument),
                "{root:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_that_passes_can_leave_its_directory(name: Vec<u8>, root: Vec<u8>) {
            let bundle = OpenFile { container: &name, namespace: b"n", ..request(FileKind::ContainerdBundle) };
            if let Ok(query) = Query::check(&bundle) {
                prop_assert!(!query.container.contains('/') && !query.container.starts_with('.'));
            }
            if let Ok(query) = with_root(&root) {
                prop_assert!(query.root.is_empty() || query.root.starts_with('/'));
                prop_assert!(!query.root.split('/').any(|part| part == ".."));
            }
        }
    }
}
