//! How well a hook works, from what happened on each rung of its ladder. Pure.

use nodescope_schema::{Hook, Verdict};

use super::probes::Probe;

/// Longest detail, in bytes: the verifier's log may be many pages.
const DETAIL_BYTES: usize = 240;

/// How the detail of a hook that works in part begins.
const MISSING: &str = "missing: ";

/// Why a rung did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The program.
    pub program: &'static str,
    /// True when this kernel has not what the program needs; false when something is wrong.
    pub unsupported: bool,
    /// In one line.
    pub reason: String,
}

impl Refusal {
    /// A program that the hook needs does not run.
    pub(super) fn without(needed: &'static str) -> Self {
        Self {
            program: needed,
            unsupported: true,
            reason: "of no use without this program".to_owned(),
        }
    }
}

/// The state of a hook, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookState {
    name: &'static str,
    rung: &'static str,
    pub verdict: Verdict,
    pub detail: String,
}

impl HookState {
    /// Without a detail.
    pub(super) fn new(name: &'static str, rung: &'static str, verdict: Verdict) -> Self {
        Self {
            name,
            rung,
            verdict,
            detail: String::new(),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn record(&self) -> Hook<'_> {
        Hook {
            name: self.name,
            rung: self.rung,
            verdict: self.verdict,
            detail: &self.detail,
        }
    }
}

/// Judges a ladder on which `refusals` came before rung number `reached`, or all failed.
pub(super) fn judge(probe: &Probe, refusals: &[Refusal], reached: Option<usize>) -> HookState {
    let why = refusals
        .first()
        .map(|r| format!("{}: {}", r.program, r.reason))
        .unwrap_or_default();
    let Some(rung) = reached.and_then(|index| probe.rungs.get(index)) else {
        let all_unsupported = refusals.iter().all(|refusal| refusal.unsupported);
        let verdict = if all_unsupported {
            Verdict::Unsupported
        } else {
            Verdict::Failed
        };
        return HookState {
            name: probe.name,
            rung: "",
            verdict,
            detail: one_line(&why),
        };
    };
    // Some ladders only follow a kernel's change: their lower rungs miss nothing.
    let (verdict, detail) = match rung.missing {
        "" => (Verdict::Ok, String::new()),
        missing if why.is_empty() => (Verdict::Degraded, format!("{MISSING}{missing}")),
        missing => (Verdict::Degraded, format!("{MISSING}{missing} ({why})")),
    };
    HookState {
        name: probe.name,
        rung: rung.name,
        verdict,
        detail: one_line(&detail),
    }
}

/// The hook could be loaded but did not do its work.
pub(super) fn broke(hook: &mut HookState, why: &str) {
    hook.verdict = Verdict::Failed;
    hook.detail = one_line(why);
}

/// This kernel or the place of the sensor cannot do it.
pub(super) fn cannot(hook: &mut HookState, why: &str) {
    hook.verdict = Verdict::Unsupported;
    hook.rung = "";
    hook.detail = one_line(why);
}

/// The hook works but what `missing` says; nothing when that is empty.
pub(super) fn lacks(hook: &mut HookState, missing: &str) {
    match (hook.verdict, missing) {
        (Verdict::Ok | Verdict::Degraded, "") => {
            hook.verdict = Verdict::Ok;
            hook.detail.clear();
        }
        (Verdict::Ok | Verdict::Degraded, missing) => {
            hook.verdict = Verdict::Degraded;
            hook.detail = one_line(&format!("{MISSING}{missing}"));
        }
        (Verdict::Unsupported | Verdict::Failed, _) => {}
    }
}

/// What a hook that works is said to lack.
pub(super) fn missing(hook: &HookState) -> &str {
    hook.detail.strip_prefix(MISSING).unwrap_or_default()
}

/// Why no container could be known; none when they can. Each of these hooks is there from the oldest kernel on.
pub(super) fn blindness(hooks: &[HookState]) -> Option<String> {
    let needed = ["process_fork", "existing_processes", "cgroup_mkdir"];
    let mut lacking = hooks.iter().filter(|hook| {
        needed.iter().any(|name| hook.is(name)) && hook.verdict == Verdict::Unsupported
    });
    lacking.next().map(|hook| hook.detail.clone())
}

/// Control characters become spaces; what is too long is cut.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
    {
        if line.len() + c.len_utf8() > DETAIL_BYTES {
            break;
        }
        line.push(c);
    }
    line
}

/// What the verifier says when a kernel is too old for a program, or too new for one written for its past.
pub(super) fn is_unsupported(verifier_log: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "unknown func",
        "program of this type cannot use helper",
        "cannot pass map_type",
        "cannot use helper",
        "invalid func unknown#",
        "helper call is not allowed in probe",
        "0xbad2310",
    ];
    SIGNS.iter().any(|sign| verifier_log.contains(sign))
}

/// The line of a verifier log that says what is wrong: the last before the statistics.
pub(super) fn verifier_reason(log: &str) -> &str {
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !is_statistics(line))
        .unwrap_or_default()
}

fn is_statistics(line: &str) -> bool {
    [
        "processed ",
        "verification time ",
        "stack depth ",
        "peak_states ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::probes::PROBES;
    use super::*;

    fn probe(name: &str) -> &'static Probe {
        PROBES
            .iter()
            .find(|probe| probe.name == name)
            .expect("a probe")
    }

    fn refusal(unsupported: bool) -> Refusal {
        Refusal {
            program: "tcp_state",
            unsupported,
            reason: "unknown func\nbpf_x".to_owned(),
        }
    }

    #[test]
    fn the_first_rung_is_ok() {
        let hook = judge(probe("tcp_state"), &[], Some(0));
        assert_eq!(hook.record().verdict, Verdict::Ok);
        assert_eq!(
            hook.record().rung,
            "tp_btf/inet_sock_set_state, sockops, cgroup/sock_release"
        );
        assert_eq!(hook.record().detail, "");
    }

    #[test]
    fn a_lower_rung_says_what_is_missing_and_why() {
        let hook = judge(probe("tcp_state"), &[refusal(true)], Some(2));
        assert_eq!(hook.verdict, Verdict::Degraded);
        assert!(
            hook.detail.contains("sockets older than the sensor"),
            "{}",
            hook.detail
        );
        assert!(
            hook.detail.contains("tcp_state: unknown func bpf_x"),
            "{}",
            hook.detail
        );
    }

    #[test]
    fn a_lower_rung_that_misses_nothing_is_ok() {
        assert_eq!(
            judge(probe("oom_kill"), &[refusal(false)], Some(1)).verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn nothing_left_is_unsupported_only_if_every_rung_is() {
        assert_eq!(
            judge(probe("tcp_state"), &[refusal(true), refusal(true)], None).verdict,
            Verdict::Unsupported
        );
        assert_eq!(
            judge(probe("tcp_state"), &[refusal(true), refusal(false)], None).verdict,
            Verdict::Failed
        );
    }

    #[test]
    fn a_setting_degrades_only_what_works() {
        let mut hook = judge(probe("delays"), &[], Some(0));
        lacks(&mut hook, "half of it");
        assert_eq!(
            (hook.verdict, hook.detail.as_str()),
            (Verdict::Degraded, "missing: half of it")
        );
        lacks(&mut hook, "");
        assert_eq!((hook.verdict, hook.detail.as_str()), (Verdict::Ok, ""));
        broke(&mut hook, "gone");
        lacks(&mut hook, "half of it");
        assert_eq!(
            (hook.verdict, hook.detail.as_str()),
            (Verdict::Failed, "gone")
        );
    }

    #[test]
    fn without_processes_or_cgroups_it_is_blind() {
        let see = [
            "process_fork",
            "existing_processes",
            "cgroup_mkdir",
            "tcp_state",
        ];
        let hooks = |unsupported: &str| {
            see.map(|name| {
                let works = name != unsupported;
                judge(probe(name), &[refusal(true)], works.then_some(0))
            })
        };
        for name in see {
            let is_blind = blindness(&hooks(name)).is_some();
            assert_eq!(is_blind, name != "tcp_state", "{name}");
        }
        assert_eq!(blindness(&hooks("")), None);
    }

    #[test]
    fn details_are_bounded_at_a_character() {
        let line = one_line(&"ä".repeat(DETAIL_BYTES));
        assert_eq!(line.len(), DETAIL_BYTES);
    }

    #[test]
    fn finds_the_reason_in_a_log() {
        let log = "0: (85) call bpf_x#1\nunknown func bpf_x#1\nprocessed 1 insns (limit 1000000)\n";
        assert_eq!(verifier_reason(log), "unknown func bpf_x#1");
        assert!(is_unsupported(log));
        // bpf_d_path in an iterator before Linux 5.12.
        assert!(is_unsupported(
            "90: (85) call bpf_d_path#147\nhelper call is not allowed in probe\n"
        ));
        assert_eq!(verifier_reason(""), "");
    }
}
