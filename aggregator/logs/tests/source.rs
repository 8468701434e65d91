//! From bytes to counters.

use nodescope_logs::decode::{Format, JournalEntry};
use nodescope_logs::pattern::{MinerLimits, PatternHash};
use nodescope_logs::{Level, Source, SourceLimits};

/// Level, text and count of each pattern that has messages.
fn found(source: &Source) -> Vec<(Level, &str, u64)> {
    let counted = source
        .patterns()
        .iter()
        .filter(|pattern| pattern.messages > 0);
    counted
        .map(|pattern| (pattern.level, pattern.text.as_str(), pattern.messages))
        .collect()
}

fn fed(format: Format, text: &str) -> Source {
    let mut source = Source::new(format, SourceLimits::default());
    source.feed(text.as_bytes(), 0);
    source.flush(true);
    source
}

#[test]
fn parts_of_each_stream_are_joined() {
    let docker = concat!(
        r#"{"log":"ERROR can't open ","stream":"stderr","time":"t"}"#,
        "\n",
        r#"{"log":"INFO ready\n","stream":"stdout","time":"t"}"#,
        "\n",
        r#"{"log":"/srv/a: gone\n","stream":"stderr","time":"t"}"#,
        "\n",
    );
    let cri = "t stderr P ERROR can't open \nt stdout F INFO ready\nt stderr F /srv/a: gone\n";
    for (format, text) in [(Format::DockerJson, docker), (Format::Cri, cri)] {
        let source = fed(format, text);
        let mut found = found(&source);
        found.sort();
        let expected = [
            (Level::Info, "INFO ready", 1),
            (Level::Error, "ERROR can't open <*> gone", 1),
        ];
        assert_eq!(found, expected, "{format:?}");
    }
}

#[test]
fn lines_that_are_not_of_the_format_are_counted() {
    let source = fed(
        Format::DockerJson,
        "text\n{\"log\":\"up\\n\"}\n{\"log\":\"cut",
    );
    assert_eq!(found(&source), [(Level::Unknown, "up", 1)]);
    assert_eq!(source.counts().decode.malformed, 2);
}

#[test]
fn long_lines_are_cut_and_counted() {
    let mut text = "word ".repeat(2 << 20);
    text.push_str("\nnext\n");
    let source = fed(Format::Plain, &text);
    let messages: u64 = source
        .patterns()
        .iter()
        .map(|pattern| pattern.messages)
        .sum();
    assert_eq!(messages, 2);
    assert_eq!(source.counts().decode.lines.cut, 1);
    assert_eq!(
        source.counts().decode.lines.cut_bytes,
        (10 << 20) - (64 << 10)
    );
    assert!(
        source
            .patterns()
            .iter()
            .all(|pattern| pattern.sample.len() <= 4096)
    );
}

#[test]
fn records_give_their_own_level_and_message() {
    let source = fed(
        Format::Plain,
        concat!(
            "{\"level\":\"error\",\"msg\":\"no space on 'a b'\",\"id\":1}\n",
            "{\"level\":\"error\",\"msg\":\"no space on 'c'\",\"other\":\"x\"}\n",
            "level=warn msg=\"slow query\" id=7\n",
            "{\"msg\":\"WARN slow query\"}\n",
        ),
    );
    let expected = [
        (Level::Error, "no space on <*>", 2),
        (Level::Warning, "slow query", 1),
        (Level::Warning, "WARN slow query", 1),
    ];
    assert_eq!(found(&source), expected);
}

#[test]
fn a_priority_counts_where_the_text_names_no_level() {
    let source = fed(Format::Plain, "<27>disk gone\n<27>INFO: disk back\n");
    let expected = [
        (Level::Error, "disk gone", 1),
        (Level::Info, "INFO disk back", 1),
    ];
    assert_eq!(found(&source), expected);

    let mut source = Source::new(Format::Plain, SourceLimits::default());
    for (level, partial, message) in [
        (Some(Level::Warning), true, "fan "),
        (Some(Level::Warning), false, "slow"),
        (Some(Level::Debug), false, "fan slow"),
        (Some(Level::Warning), false, "fan slow"),
    ] {
        let message = message.as_bytes();
        let entry = JournalEntry {
            message,
            level,
            partial,
            ..JournalEntry::default()
        };
        source.feed_journal(&entry, 0);
    }
    source.flush(false);
    let expected = [
        (Level::Warning, "fan slow", 2),
        (Level::Debug, "fan slow", 1),
    ];
    assert_eq!(found(&source), expected);
}

#[test]
fn what_a_service_prints_is_assembled_from_its_journal_entries() {
    let mut source = Source::new(Format::Plain, SourceLimits::default());
    let lines =
        "up\nTraceback (most recent call last):\n  File \"a.py\", line 1\nValueError: bad\ndown";
    for line in lines.lines() {
        let entry = JournalEntry {
            message: line.as_bytes(),
            level: Some(Level::Info),
            ..JournalEntry::default()
        };
        source.feed_journal(&entry, 0);
    }
    source.flush(false);
    let expected = [
        (Level::Info, "up", 1),
        (
            Level::Error,
            "Traceback most recent call last ValueError bad",
            1,
        ),
        (Level::Info, "down", 1),
    ];
    assert_eq!(found(&source), expected);
}

#[test]
fn patterns_beyond_the_limit_are_counted_together() {
    let limits = SourceLimits {
        patterns: MinerLimits {
            max_patterns_per_level: 2,
            ..MinerLimits::default()
        },
        ..SourceLimits::default()
    };
    let mut source = Source::new(Format::Plain, limits);
    source.feed(b"ERROR a\nERROR b\nERROR c\nERROR d\nERROR a\nWARN e\n", 0);
    source.flush(true);
    let overflow = source
        .patterns()
        .iter()
        .find(|pattern| pattern.level == Level::Error)
        .unwrap();
    assert_eq!(
        (overflow.hash, overflow.messages),
        (PatternHash::OVERFLOW, 2)
    );
    assert_eq!(overflow.hash.to_string(), "0".repeat(32));
    let all: u64 = source
        .patterns()
        .iter()
        .map(|pattern| pattern.messages)
        .sum();
    assert_eq!(all, 6);
}

#[test]
fn no_new_pattern_is_made_while_closed() {
    let mut source = Source::new(Format::Plain, SourceLimits::default());
    let mut feed = |line: &[u8], closed| {
        source.set_closed(closed);
        source.feed(line, 0);
        source.flush(false);
    };
    feed(b"disk full\n", false);
    feed(b"disk gone\ndisk full\n", true);
    feed(b"disk gone\n", false);
    let expected = [
        (Level::Unknown, "", 1),
        (Level::Unknown, "disk full", 2),
        (Level::Unknown, "disk gone", 1),
    ];
    assert_eq!(found(&source), expected);
}

#[test]
fn a_reader_may_begin_again_at_the_position() {
    let text = "one a\ntwo b\nthree c";
    for cut in 0..=text.len() {
        let (before, _) = text.split_at(cut);
        let mut source = Source::new(Format::Plain, SourceLimits::default());
        source.feed(before.as_bytes(), 0);
        source.flush(false);
        let position = source.position_bytes() as usize;
        assert!(before[..position].is_empty() || before[..position].ends_with('\n'));
        assert_eq!(found(&source).len(), before[..position].lines().count());
        let rest = fed(Format::Plain, &text[position..]);
        assert_eq!(found(&source).len() + found(&rest).len(), 3);
    }
}

#[test]
fn an_idle_source_counts_what_it_has() {
    let mut source = Source::new(Format::Cri, SourceLimits::default());
    source.feed(b"t stdout P ERROR half\n", 1_000);
    source.flush_idle(1_999);
    assert_eq!(found(&source), []);
    source.flush_idle(2_000);
    source.flush_idle(3_000);
    assert_eq!(found(&source), [(Level::Error, "ERROR half", 1)]);
}
