//! Users, from `/etc/passwd` alone: no name service module is loaded into a root process. So the client's user and
//! users of rootless runtimes must be local ones; users of a directory service are not found.

/// A user of `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<'a> {
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: &'a [u8],
}

/// Longest `/etc/passwd` that is read; what is behind it is not found.
pub const MAX_PASSWD_BYTES: u64 = 4 << 20;

/// The first user of this name in the text of `/etc/passwd`.
pub fn find_name<'a>(passwd: &'a [u8], name: &str) -> Option<User<'a>> {
    users(passwd)
        .find(|(user_name, _)| *user_name == name.as_bytes())
        .map(|(_, user)| user)
}

/// The first user of this number.
pub fn find_uid(passwd: &[u8], uid: u32) -> Option<User<'_>> {
    users(passwd)
        .map(|(_, user)| user)
        .find(|user| user.uid == uid)
}

/// All well-formed lines; others are skipped.
fn users(passwd: &[u8]) -> impl Iterator<Item = (&[u8], User<'_>)> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = number(fields.next()?)?;
        let gid = number(fields.next()?)?;
        let _comment = fields.next()?;
        let home = fields.next()?;
        Some((name, User { uid, gid, home }))
    })
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        +nisuser\nbroken:x:a:1::/x:\n:x:7:7::/nobody:\n\
        anna:x:1000:1001:Anna,,,:/home/anna:/bin/bash\nalias:x:1000:5::/elsewhere:/bin/sh\n\
        last:x:4294967295:1::/home/last:";

    #[test]
    fn finds_by_name_and_number() {
        let anna = User {
            uid: 1000,
            gid: 1001,
            home: b"/home/anna",
        };
        assert_eq!(find_name(PASSWD, "anna"), Some(anna));
        assert_eq!(find_uid(PASSWD, 1000), Some(anna));
        assert_eq!(find_name(PASSWD, "alias").map(|user| user.gid), Some(5));
        assert_eq!(find_uid(PASSWD, u32::MAX).map(|user| user.gid), Some(1));
    }

    #[test]
    fn skips_what_is_no_user() {
        for name in ["", "+nisuser", "broken", "ann", "annab"] {
            assert_eq!(find_name(PASSWD, name), None, "{name}");
        }
        assert_eq!(find_uid(PASSWD, 7), None);
    }

    proptest! {
        #[test]
        fn any_bytes(passwd in proptest::collection::vec(any::<u8>(), 0..300), uid: u32) {
            find_uid(&passwd, uid);
            find_name(&passwd, "a");
        }
    }
}
