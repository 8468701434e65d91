//! `/proc/PID/status` (`proc_pid_status(5)`): whose a process is and how it is numbered inside. Pure.

/// What is used of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its effective user, as the node numbers it.
    pub uid: u32,
    /// Its number in its own pid namespace.
    pub own_pid: u32,
}

impl ProcessStatus {
    /// Reads the file. None if it is not complete, or is a thread's that is not its process's first.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let tgid = numbers(text, b"Tgid:")?.next()?;
        let pid = numbers(text, b"Pid:")?.next()?;
        let uid = numbers(text, b"Uid:")?.nth(1)?;
        let own_pid = numbers(text, b"NSpid:")?.last()?;
        (pid == tgid).then_some(Self { uid, own_pid })
    }
}

/// The numbers of the line that begins with `name`.
fn numbers<'a>(text: &'a [u8], name: &[u8]) -> Option<impl Iterator<Item = u32> + use<'a>> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
    let fields = line.split(u8::is_ascii_whitespace);
    Some(fields.filter_map(|field| std::str::from_utf8(field).ok()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Name:\tUid:\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\n\
        PPid:\t1\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t7\t7\t7\nNStgid:\t4711\t52\t1\nNSpid:\t4711\t52\t1\n";

    #[test]
    fn the_effective_user_and_the_innermost_number() {
        let status = ProcessStatus::parse(TEXT.as_bytes());
        let wanted = ProcessStatus {
            uid: 1001,
            own_pid: 1,
        };
        assert_eq!(status, Some(wanted));
    }

    #[test]
    fn what_is_no_process_is_nothing() {
        for (from, to) in [
            ("\nPid:\t4711", "\nPid:\t4712"),
            ("Uid:\t1000\t1001\t1002\t1003", "Uid:\t1000"),
            ("NSpid:\t4711\t52\t1", "NSpid:"),
            ("\nTgid:", "\nX:"),
        ] {
            let text = TEXT.replace(from, to);
            assert_ne!(text, TEXT);
            assert_eq!(ProcessStatus::parse(text.as_bytes()), None, "{to}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            ProcessStatus::parse(&text);
        }
    }
}
