//! Every file in `traces` holds messages divided by lines of `====`: fed line by line, they come out as they are.

use std::fs;
use std::path::Path;

use nodescope_logs::multiline::{Assembler, AssemblyLimits};

const DIVIDER: &str = "====\n";

fn assemble<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut assembler = Assembler::new(AssemblyLimits::default());
    let mut messages = Vec::new();
    let mut keep = |message: &[u8]| messages.push(String::from_utf8_lossy(message).into_owned());
    for line in lines {
        assembler.push(line.as_bytes(), 0, &mut keep);
    }
    assembler.flush(&mut keep);
    messages
}

#[test]
fn messages_come_out_as_they_were_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut files = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.split(DIVIDER).map(str::trim).collect();
        let lines = text.lines().filter(|line| *line != DIVIDER.trim_end());
        assert_eq!(assemble(lines), expected, "{}", path.display());
        files += 1;
    }
    assert!(files >= 10, "only {files} files");
}

#[test]
fn a_message_is_complete_when_nothing_came_for_a_while() {
    let mut assembler = Assembler::new(AssemblyLimits::default());
    let mut messages = 0;
    assembler.push(b"10:00:00 one", 5_000, |_| messages += 1);
    assembler.push(b"\tdetail", 5_900, |_| messages += 1);
    assembler.flush_idle(6_800, |_| messages += 1);
    assert_eq!(messages, 0);
    assembler.flush_idle(6_900, |message| {
        assert_eq!(message, b"10:00:00 one\n\tdetail");
        messages += 1;
    });
    assert_eq!(messages, 1);
    assert!(!assembler.is_open());
}

#[test]
fn a_large_message_is_cut_between_characters_and_counted() {
    let limits = AssemblyLimits {
        max_message_bytes: 10,
        ..AssemblyLimits::default()
    };
    let mut assembler = Assembler::new(limits);
    let mut messages = Vec::new();
    for line in ["10:00:00", "ß", "next line", "11:00:00", "12:00:00 ß"] {
        assembler.push(line.as_bytes(), 0, |message| {
            messages.push(message.to_vec())
        });
    }
    assembler.flush(|message| messages.push(message.to_vec()));
    let expected: [&[u8]; 4] = [b"10:00:00", b"next line", b"11:00:00", b"12:00:00"];
    assert_eq!(messages, expected);
    assert_eq!(assembler.counts().cut, 2);
    assert_eq!(assembler.counts().cut_bytes, 2);
}

#[test]
fn a_cut_takes_only_what_is_left_of_a_character() {
    let limits = AssemblyLimits {
        max_message_bytes: 4,
        ..AssemblyLimits::default()
    };
    let cases: [(&[u8], &[u8]); 3] = [
        ("aßßß".as_bytes(), "aß".as_bytes()),
        (b"a\x87\x87\x87\x87", b"a\x87\x87\x87"),
        ("ab\u{fffd}c".as_bytes(), b"ab"),
    ];
    for (line, expected) in cases {
        let mut assembler = Assembler::new(limits);
        assembler.push(line, 0, |_| unreachable!("the first line begins a message"));
        let mut messages = 0;
        assembler.flush(|message| {
            assert_eq!(message, expected);
            messages += 1;
        });
        assert_eq!(messages, 1);
    }
}
