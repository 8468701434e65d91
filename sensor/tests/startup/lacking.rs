//! Nodes that lack something: cgroup v2, BTF, BPF; and what `--check` says of a whole one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::common::is_root;
use crate::{SENSOR, output, refuses};

/// Runs a shell script in namespaces of its own, in which it is process 1 and the sensor is `$0`. The cgroup namespace
/// keeps a mount of cgroup v2 from changing the options of the system's.
fn in_own_namespaces(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--cgroup",
        "--pid",
        "--fork",
    ]);
    command.args(["--kill-child", "--mount-proc", "sh", "-c", script, SENSOR]);
    command
}

const UNMOUNT_CGROUP2: &str =
    "for dir in $(awk '$3 == \"cgroup2\" { print $2 }' /proc/mounts); do umount -l $dir; done; ";

fn cgroup2_mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .map(str::to_owned)
        .collect()
}

/// The place of the cgroup tree that `--check` shows after this script, and what the system's mounts then are.
fn cgroup_tree_after(script: &str) -> String {
    let before = cgroup2_mounts();
    let output = in_own_namespaces(&format!("{script} \"$0\" --check"))
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert_eq!(cgroup2_mounts(), before);
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("cgroup_v2 "))
        .unwrap();
    line.trim().to_owned()
}

#[test]
fn without_cgroup_v2_it_mounts_its_own() {
    if !is_root() {
        return;
    }
    assert_eq!(cgroup_tree_after(UNMOUNT_CGROUP2), "own mount");
}

#[test]
fn the_cgroup_v2_of_process_1_will_do() {
    if !is_root() {
        return;
    }
    // Process 1 keeps what its child unmounts.
    let script = format!(
        "unshare --mount --propagation private sh -c '{}",
        UNMOUNT_CGROUP2.replace('\'', "'\\''")
    );
    let tree = cgroup_tree_after(&format!("{script} exec \"$0\" --check' \"$0\"; exit $?;"));
    assert!(tree.starts_with("/proc/1/root/sys/fs/cgroup"), "{tree}");
}

#[test]
fn without_btf_it_says_so() {
    if !is_root() {
        return;
    }
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" --check";
    does_without_bpf(&mut in_own_namespaces(script), "CONFIG_DEBUG_INFO_BTF");
}

/// `--check` says why, and what is looked at instead.
fn does_without_bpf(check: &mut Command, why: &str) {
    let checked = check.output().unwrap();
    let table = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{table}");
    let line = |hook: &str| {
        let mut lines = table.lines();
        lines
            .find(|line| line.starts_with(hook))
            .unwrap()
            .to_owned()
    };
    let tcp = line("tcp_state ");
    assert!(tcp.contains("unsupported") && tcp.contains(why), "{tcp}");
    let processes = line("existing_processes ");
    assert!(
        processes.contains("degraded") && processes.contains("/proc"),
        "{processes}"
    );
}

/// Only in the first pid namespace the kernel tells of processes that end.
#[test]
fn in_another_pid_namespace_there_is_no_taskstats() {
    if !is_root() {
        return;
    }
    let checked = in_own_namespaces("exec \"$0\" --check --taskstats")
        .output()
        .unwrap();
    let table = String::from_utf8(checked.stdout).unwrap();
    let mut lines = table.lines();
    let line = lines.find(|line| line.starts_with("delays ")).unwrap();
    assert!(
        line.contains("unsupported") && line.contains("first pid and user namespace"),
        "{line}"
    );
}

/// A filter with which `bpf` fails as on a kernel without it, or as where it is not permitted.
fn without_bpf(errno: i32) -> BpfProgram {
    let any = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, 0).unwrap();
    let rule = SeccompRule::new(vec![any]).unwrap();
    let rules = [(libc::SYS_bpf, vec![rule])].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let fails = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, fails, arch)
        .unwrap()
        .try_into()
        .unwrap()
}

#[test]
fn without_bpf_it_says_so() {
    if !is_root() {
        return;
    }
    let check_with = |errno| {
        let filter = without_bpf(errno);
        let mut command = Command::new(SENSOR);
        command.arg("--check");
        // SAFETY: between fork and exec this makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                seccompiler::apply_filter(&filter).map_err(std::io::Error::other)
            });
        }
        command
    };
    does_without_bpf(&mut check_with(libc::ENOSYS), "CONFIG_BPF_SYSCALL");
    let words = ["not permitted", "CAP_BPF"];
    refuses(&mut check_with(libc::EPERM), 77, &words);
}

#[test]
fn check_tells_what_works() {
    if !is_root() {
        return;
    }
    let table = output(&["--check"]);
    let text = String::from_utf8(table.stdout).unwrap();
    let good = table.status.code() == Some(0);
    assert!(good || table.status.code() == Some(69), "{text}");
    assert_eq!(good, !text.contains("  failed  "), "{text}");
    assert!(text.contains("tcp_state"), "{text}");
    let json = String::from_utf8(output(&["--check", "--json"]).stdout).unwrap();
    assert!(
        json.starts_with(&format!("{{\"good\":{good},\"node\":{{\"sensor\":")),
        "{json}"
    );
    assert_eq!(
        json.matches("\"verdict\":").count(),
        text.lines().skip_while(|line| !line.is_empty()).count() - 1
    );
}
