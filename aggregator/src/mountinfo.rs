//! Lines of `/proc/PID/mountinfo`, see proc_pid_mountinfo(5). Anybody with a user namespace chooses the bytes in them.

use std::borrow::Cow;

use nodescope_schema::StatFilesystem;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount<'a> {
    /// Device number of the file system.
    pub(crate) device: StatFilesystem,
    /// Directory of the file system that is mounted.
    pub(crate) root: Cow<'a, [u8]>,
    /// Where it is mounted.
    pub(crate) point: Cow<'a, [u8]>,
    /// Whether the mount, and the file system below it, may be written to.
    pub(crate) is_writable: bool,
    /// Type of the file system.
    pub(crate) kind: &'a [u8],
    /// What is mounted, as the type of file system names it: a device's path, a server.
    pub(crate) source: Cow<'a, [u8]>,
    /// Options of the file system, separated by commas; of a v1 hierarchy also its controllers.
    pub(crate) options: &'a [u8],
}

/// All mounts whose line is complete.
pub(crate) fn parse(bytes: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    bytes.split(|byte| *byte == b'\n').filter_map(parse_line)
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS`.
fn parse_line(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = device(fields.nth(2)?)?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mount_options = fields.next()?;
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let source = unescape(fields.next()?);
    let options = fields.next()?;
    let may_write = |options: &[u8]| options.split(|byte| *byte == b',').any(|one| one == b"rw");
    Some(Mount {
        device,
        root,
        point,
        is_writable: may_write(mount_options) && may_write(options),
        kind,
        source,
        options,
    })
}

fn device(text: &[u8]) -> Option<StatFilesystem> {
    parse_device(std::str::from_utf8(text).ok()?)
}

/// `MAJOR:MINOR`.
pub(crate) fn parse_device(text: &str) -> Option<StatFilesystem> {
    let (major, minor) = text.split_once(':')?;
    Some(StatFilesystem {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        match escaped_byte(rest) {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}

fn escaped_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let [
        b'\\',
        high @ b'0'..=b'3',
        middle @ b'0'..=b'7',
        low @ b'0'..=b'7',
        rest @ ..,
    ] = text
    else {
        return None;
    };
    Some((
        (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'),
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse, unescape};

    #[test]
    fn parses_with_and_without_tags() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw shared:9 master:1 - tmpfs tmpfs rw,mode=755\n\
                     35 31 0:32 /a /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory\n";
        let mounts: Vec<_> = parse(text).collect();
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            (mounts[0].kind, mounts[0].options),
            (&b"tmpfs"[..], &b"rw,mode=755"[..])
        );
        assert_eq!(
            (&*mounts[1].root, &*mounts[1].point),
            (&b"/a"[..], &b"/sys/fs/cgroup/mem ory"[..])
        );
    }

    #[test]
    fn a_truncated_line_costs_only_itself() {
        let whole = b"35 31 0:32 / /m rw - cgroup cgroup rw,memory";
        for end in 0..whole.len() - b"rw,memory".len() {
            let text = [&whole[..end], b"\n", whole].concat();
            assert_eq!(parse(&text).count(), 1, "cut at {end}");
        }
    }

    #[test]
    fn undoes_octal_escapes_only() {
        assert_eq!(&*unescape(br"a\040b\134\012"), b"a b\\\n");
        assert_eq!(&*unescape(br"\400\08\x\04"), br"\400\08\x\04");
        assert_eq!(&*unescape(b"\\377\xff\\"), b"\xff\xff\\");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\\'), Just(b'-'), Just(b'\n'), any::<u8>()], 0..200)) {
            for mount in parse(&bytes) {
                prop_assert!(mount.point.len() <= bytes.len());
            }
        }
    }
}
