use nodescope_logs::Level;

use super::*;

const CGROUP: &[u8] = b"/system.slice/api.service";

fn units(bytes_per_second: u64) -> Units {
    Units::new(SourceLimits::default(), bytes_per_second)
}

fn entry(message: &str) -> JournalEntry<'_> {
    JournalEntry {
        message: message.as_bytes(),
        level: Some(Level::Error),
        cgroup: Some(CGROUP),
        ..JournalEntry::default()
    }
}

/// Everything that is published, as container and messages.
fn published(units: &mut Units, now_ms: u64) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    units.publish(now_ms, |container, counts| {
        let messages = counts.iter().map(|count| count.messages).sum();
        all.push((container.to_string(), messages));
        true
    });
    all.sort();
    all
}

fn name(logger: &Logger) -> LogOwner {
    LogOwner::Container(match logger {
        Logger::Class(Class::Unit(id)) => id.as_str().into(),
        Logger::Class(Class::Container(container)) => {
            format!("in {}", String::from_utf8_lossy(&container.id)).into()
        }
        Logger::Container { id, uid } => format!("{} by {uid}", String::from_utf8_lossy(id)).into(),
        Logger::Class(_) => return LogOwner::Nobody,
    })
}

const fn not_yet(_: &Logger) -> LogOwner {
    LogOwner::NotYet
}

#[test]
fn entries_go_to_their_unit_or_container() {
    let mut units = units(1 << 20);
    for number in 0..3 {
        units.take(&entry(&format!("cannot open /a/{number}")), 0);
    }
    let for_container = JournalEntry {
        container_id: Some(b"abc"),
        uid: Some(0),
        ..entry("late")
    };
    units.take(&for_container, 0);
    let of_nobody = JournalEntry {
        cgroup: Some(b"/init.scope"),
        ..entry("Started it.")
    };
    units.take(&of_nobody, 0);
    units.flush();
    units.resolve(0, name);
    assert!(units.is_settled());
    let expected = [
        ("/system.slice/api.service".to_owned(), 3),
        ("abc by 0".to_owned(), 1),
    ];
    assert_eq!(published(&mut units, 0), expected);
    assert_eq!(published(&mut units, 0), []);
}

#[test]
fn a_message_of_several_entries_is_settled_when_it_is_complete() {
    let mut units = units(1 << 20);
    units.take(&entry("java.lang.IllegalStateException: no"), 0);
    units.take(&entry("\tat a.B.c(B.java:1)"), 1);
    assert!(!units.is_settled());
    units.flush_idle(60_000);
    units.resolve(60_000, name);
    assert!(units.is_settled());
    assert_eq!(published(&mut units, 60_000)[0].1, 1);
}

#[test]
fn counts_wait_for_their_container_and_not_for_ever() {
    let mut units = units(1 << 20);
    units.take(&entry("one"), 0);
    units.flush();
    units.resolve(0, not_yet);
    assert!(!units.is_settled());
    assert_eq!(published(&mut units, 0), []);
    units.resolve(10, name);
    assert!(units.is_settled());
    assert_eq!(published(&mut units, 10)[0].1, 1);

    let gone = |_: &Arc<str>, _: &[LogCount]| false;
    units.take(&entry("two"), 20);
    units.flush();
    units.publish(20, gone);
    units.resolve(20, not_yet);
    assert_eq!(units.counts().unclaimed, 0);
    units.resolve(20 + UNKNOWN_FOR_MS, not_yet);
    assert!(units.is_settled());
    assert_eq!(units.counts().unclaimed, 1);
}

#[test]
fn a_container_cannot_log_for_another() {
    let mut units = units(1 << 20);
    let id = "a".repeat(64);
    let cgroup = format!("/system.slice/docker-{id}.scope");
    let forged = JournalEntry {
        cgroup: Some(cgroup.as_bytes()),
        container_id: Some(b"abc"),
        uid: Some(0),
        ..entry("not me")
    };
    units.take(&forged, 0);
    units.flush();
    units.resolve(0, name);
    assert_eq!(published(&mut units, 0), [(format!("in {id}"), 1)]);
}

#[test]
fn made_up_containers_leave_room_for_others() {
    let mut units = units(1 << 20);
    for number in 0..2 * MAX_UNKNOWN {
        let id = number.to_string();
        let forged = JournalEntry {
            container_id: Some(id.as_bytes()),
            uid: Some(1000),
            ..entry("hello")
        };
        units.take(&forged, 0);
    }
    assert_eq!(units.units.len(), MAX_UNKNOWN);
    units.resolve(UNKNOWN_FOR_MS, not_yet);
    assert_eq!(units.counts().unclaimed, MAX_UNKNOWN as u64);
    assert!(units.take(&entry("real"), UNKNOWN_FOR_MS) > 0);
}

#[test]
fn what_is_of_nobody_is_forgotten() {
    let mut units = units(1 << 20);
    units.take(&entry("one"), 0);
    units.resolve(0, |_| LogOwner::Nobody);
    assert!(units.units.is_empty());
    assert_eq!(units.counts().unclaimed, 0);
}

#[test]
fn a_unit_that_logs_too_much_is_passed_over_in_part() {
    let mut units = units(10 * ENTRY_BYTES);
    for _ in 0..1000 {
        units.take(&entry("x"), 0);
    }
    units.flush();
    units.resolve(0, name);
    let taken = published(&mut units, 0)[0].1;
    assert!((1..=10).contains(&taken), "{taken}");
    let UnitCounts {
        read_bytes,
        skipped_bytes,
        ..
    } = units.counts();
    assert_eq!(read_bytes + skipped_bytes, 1000 * (ENTRY_BYTES + 1));
}

#[test]
fn too_many_units_and_those_that_are_quiet() {
    let mut units = units(1 << 20);
    for number in 0..=MAX_UNITS {
        let cgroup = format!("/system.slice/u{number}.service");
        let entry = JournalEntry {
            cgroup: Some(cgroup.as_bytes()),
            ..entry("hello")
        };
        units.take(&entry, 0);
        units.resolve(0, name);
    }
    assert_eq!(units.units.len(), MAX_UNITS);
    assert!(units.counts().skipped_bytes > 0);
    units.flush();
    units.resolve(0, name);
    assert_eq!(published(&mut units, 0).len(), MAX_UNITS);
    assert_eq!(published(&mut units, FORGET_AFTER_MS), []);
    assert!(units.units.is_empty());
}
