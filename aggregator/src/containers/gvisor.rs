//! gVisor runs all containers of a pod in one sandbox process, in the pod's own cgroup; only its command line tells
//! which pod that is.

use super::cgroup_path::hex_id;

/// The id of the sandbox container, from a command line with NUL between its arguments.
///
/// The program must be `runsc` or `runsc-sandbox`, the last argument holds the id.
pub(super) fn sandbox_id(cmdline: &[u8]) -> Option<&[u8]> {
    let mut arguments = cmdline
        .split(|&byte| byte == 0)
        .filter(|argument| !argument.is_empty());
    let program = arguments.next()?;
    if !program.ends_with(b"runsc") && !program.ends_with(b"runsc-sandbox") {
        return None;
    }
    hex_id(arguments.next_back()?).map(|found| found.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "46d9aa5b3db8d8f56d838020864a13c799c4d09f7938c7bd9cb88c8bf961be4e";

    #[test]
    fn finds_the_id_in_the_last_argument() {
        for program in ["runsc-sandbox", "/usr/local/bin/runsc"] {
            let cmdline = format!("{program}\0--root=/run/containerd/runsc/k8s.io\0boot\0{ID}\0");
            assert_eq!(
                sandbox_id(cmdline.as_bytes()),
                Some(ID.as_bytes()),
                "{program}"
            );
        }
    }

    #[test]
    fn wants_the_program_and_the_id() {
        for cmdline in [
            String::new(),
            "\0\0".to_owned(),
            "runsc".to_owned(),
            ID.to_owned(),
            format!("nginx\0{ID}\0"),
            format!("runsc\0{ID}\0--verbose\0"),
            format!("runsc\0boot\0{}\0", &ID[..63]),
        ] {
            assert_eq!(sandbox_id(cmdline.as_bytes()), None, "{cmdline:?}");
        }
    }
}
