//! Which messages are one pattern and which are not.

use nodescope_logs::Level;
use nodescope_logs::pattern::{Miner, MinerLimits, PatternHash};

fn pattern(message: &str) -> String {
    let mut miner = Miner::new(MinerLimits::default());
    let id = miner.observe(Level::Unknown, message.as_bytes());
    miner.pattern(id).text.clone()
}

#[test]
fn values_become_wildcards() {
    let cases = [
        ("took 15 ms", "took <*>"),
        (
            "wrote 1.5 MB (1572864 bytes) to /var/lib/a.db",
            "wrote <*> to <*>",
        ),
        (
            "peer 192.0.2.1:80 and [2001:db8::1]:443 up",
            "peer <*> and <*> up",
        ),
        ("link aa:bb:cc:dd:ee:ff down", "link <*> down"),
        ("at Fri Jan 5 10:00:00 2024 the end", "at <*> the end"),
        ("on 5 Jan 2024, the end", "on <*> the end"),
        (
            "id 123e4567-e89b-12d3-a456-426614174000 gone",
            "id <*> gone",
        ),
        ("object deadbeefcafe lost", "object <*> lost"),
        ("GET https://a.example/b?c=d#e done", "GET <*> done"),
        ("file C:\\data\\a.txt is gone", "file <*> is gone"),
        (
            "read user=bob, state = READY; n=1",
            "read user <*> state <*> n <*>",
        ),
        ("a == b or a => b", "a b or a b"),
        ("opened 'my file' for \"bob\"", "opened <*> for <*>"),
        ("saw \"GET /a HTTP/1.1\" again", "saw GET <*> again"),
        ("can't find it", "can't find it"),
        (
            "password for root from 192.0.2.1 refused",
            "password for <*> from <*> refused",
        ),
        ("session of user bob is over", "session of user <*> is over"),
        ("session of user was over", "session of user was over"),
        ("speeds ( 1 2 3 ) and ( 4 )", "speeds <*> and <*>"),
        ("cpu 1 ok cpu 2 ok cpu 3 ok end", "cpu <*> ok end"),
        ("resolved db.example for me", "resolved <*> for me"),
        (
            "java.io.IOException in a.B.c(D.java:7)",
            "java.io.IOException in a.B.c <*>",
        ),
        (
            "booting nodes node-[10-13] and node-7 now",
            "booting nodes <*> and <*> now",
        ),
        ("padded.........0", "padded <*>"),
        ("\u{1b}[31mred\u{1b}[0m alert", "red alert"),
        (
            "it broke\n\tat a.B(C.java:1)\nCaused by: worse",
            "it broke Caused by worse",
        ),
        ("Straße gesperrt bis 5", "Straße gesperrt bis <*>"),
    ];
    for (message, expected) in cases {
        assert_eq!(pattern(message), expected, "{message}");
    }
}

#[test]
fn short_messages_keep_what_tells_them_apart() {
    for (message, expected) in [
        ("eth0", "eth<*>"),
        ("up eth0", "up eth<*>"),
        ("true", "true"),
        ("user bob", "user bob"),
        ("a.b.c", "a.b.c"),
        ("'one'", "one"),
        ("restart", "restart"),
        ("", ""),
        ("42", "<*>"),
        ("...", ""),
    ] {
        assert_eq!(pattern(message), expected, "{message}");
    }
}

#[test]
fn the_hash_is_the_md5_of_the_pattern() {
    // printf 'took <*>' | md5sum
    assert_eq!(
        PatternHash::of("took <*>").to_string(),
        "5be3db650b367b9d45e26ee0865a4b30"
    );
    assert_eq!(
        PatternHash::of("").to_string(),
        "d41d8cd98f00b204e9800998ecf8427e"
    );
}

#[test]
fn a_word_that_keeps_changing_is_found_to_be_a_name() {
    let mut miner = Miner::new(MinerLimits::default());
    let mut observe = |name: &str| {
        let message = format!("replica {name} of the volume is not in sync");
        let id = miner.observe(Level::Error, message.as_bytes());
        (id, miner.pattern(id).text.clone())
    };
    for name in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        assert_eq!(
            observe(name).1,
            format!("replica {name} of the volume is not in sync")
        );
    }
    let common = observe("zeta");
    assert_eq!(common.1, "replica <*> of the volume is not in sync");
    assert_eq!(observe("eta"), common);
    assert_eq!(
        observe("alpha").1,
        "replica alpha of the volume is not in sync"
    );
}

#[test]
fn a_repeated_line_is_remembered() {
    let mut miner = Miner::new(MinerLimits::default());
    let mut parsed = 0;
    for _ in 0..3 {
        miner.observe_line(Level::Unknown, b"disk full", |line| {
            parsed += 1;
            (Level::Error, line)
        });
    }
    assert_eq!(parsed, 1);
    assert_eq!(
        miner.patterns().last().map(|pattern| pattern.messages),
        Some(3)
    );
}

#[test]
fn levels_have_patterns_of_their_own() {
    let mut miner = Miner::new(MinerLimits::default());
    let error = miner.observe(Level::Error, b"disk full");
    let warning = miner.observe(Level::Warning, b"disk full");
    assert_ne!(error, warning);
    assert_eq!(miner.pattern(error).hash, miner.pattern(warning).hash);
}

#[test]
fn patterns_that_read_the_same_are_the_same() {
    let mut miner = Miner::new(MinerLimits::default());
    let ids = [b"disk \xff full".as_slice(), b"disk \xfe full"]
        .map(|message| miner.observe(Level::Error, message));
    assert_eq!(ids[0], ids[1]);
}
