//! What the generated names of pods tell: which CronJob made it, and which workload it is a replica of.

/// Letters and digits of Kubernetes' generated suffixes: no vowels, nothing easily mistaken.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// A CronJob's scheduled time in minutes since the epoch has 8 digits until the year 2160.
const SCHEDULE_DIGITS: usize = 8;
/// Longest hash of a pod template.
const MAX_HASH_DIGITS: usize = 10;
/// How far a scheduled time may be from now, to tell it from another number of 8 digits.
const SCHEDULE_WINDOW_MINUTES: u64 = 7 * 24 * 60;

/// The CronJob that made a pod: `CRONJOB-MINUTES-SUFFIX`, with the minutes within a week of `now_s`.
pub(super) fn cronjob(pod: &str, now_s: u64) -> Option<&str> {
    let mut parts = pod.rsplitn(3, '-');
    let (suffix, minutes, cronjob) = (parts.next()?, parts.next()?, parts.next()?);
    let is_schedule = minutes.len() == SCHEDULE_DIGITS && is_number(minutes);
    if cronjob.is_empty() || !is_suffix(suffix) || !is_schedule {
        return None;
    }
    let minutes: u64 = minutes.parse().ok()?;
    (minutes.abs_diff(now_s / 60) <= SCHEDULE_WINDOW_MINUTES).then_some(cronjob)
}

/// The workload of a `container_id` of a pod's container: without the container and without what Deployments
/// (`-HASH-SUFFIX`), DaemonSets (`-SUFFIX`) and StatefulSets (`-NUMBER`) put behind the name.
pub(super) fn service(container_id: &str) -> Option<String> {
    let mut parts = container_id.strip_prefix("/k8s/")?.splitn(3, '/');
    let (namespace, pod, _) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, last) = pod.rsplit_once('-')?;
    let workload = if is_suffix(last) {
        name.rsplit_once('-')
            .filter(|(base, hash)| !base.is_empty() && is_hash(hash))
            .map_or(name, |(base, _)| base)
    } else if is_number(last) {
        name
    } else {
        return None;
    };
    (!workload.is_empty()).then(|| format!("/k8s/{namespace}/{workload}"))
}

fn is_suffix(text: &str) -> bool {
    text.len() == SUFFIX_LENGTH && text.bytes().all(|byte| SUFFIX_ALPHABET.contains(&byte))
}

fn is_hash(text: &str) -> bool {
    (1..=MAX_HASH_DIGITS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
