//! For any bytes: no panic, fixed bounds, and the same result however they are cut.

use std::collections::BTreeMap;

use nodescope_logs::decode::{Format, LineSplitter};
use nodescope_logs::multiline::{Assembler, AssemblyLimits};
use nodescope_logs::pattern::{Miner, MinerLimits};
use nodescope_logs::sample::{SampleOptions, sample};
use nodescope_logs::{Level, Source, SourceCounts, SourceLimits, level, structured};
use proptest::prelude::*;

const FORMATS: [Format; 4] = [
    Format::DockerJson,
    Format::DockerLocal,
    Format::Cri,
    Format::Plain,
];

/// Bytes that mean something to the parsers more often than any bytes would.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "\n", " ", "  ", "\t", "\"", "'", "`", "=", ":", "\\", "{", "}", "[", "]", "(", ")", "<", ">", ",", ";",
            "..", "\0", "\x1b[", "\x1b[31m", "://", "C:\\", "/", "a", "user ", "for x from 1", "Jan 5 ", "12:30:59 ",
            "ERROR ", "level=warn msg=", "{\"log\":\"", "\\n\"}\n", "{\"msg\":\"x\",\"level\":30}", "\\u12", "<13>",
            "t stdout P ", "t stderr F ", "Traceback (most recent call last):\n", "panic: x\n", "    at f\n", "^",
            "thread 'a' panicked at b:\n", "password=", "Bearer ", "-----BEGIN A", "10.0.0.1", "a@b.c", "ß", "#1 ",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => "[a-z]{1,12}".prop_map(String::into_bytes),
        1 => any::<u8>().prop_map(|len| {
            let len = u32::from(len % 32 + 16);
            let mut entry = len.to_be_bytes().to_vec();
            entry.extend_from_slice(b"\x0a\x06stdout\x1a");
            entry.push((len - 10) as u8);
            entry.resize(4 + len as usize, b'x');
            entry.extend_from_slice(&len.to_be_bytes());
            entry
        }),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn small_limits() -> SourceLimits {
    SourceLimits {
        max_line_bytes: 64,
        assembly: AssemblyLimits {
            max_message_bytes: 100,
            ..AssemblyLimits::default()
        },
        patterns: MinerLimits {
            max_patterns_per_level: 4,
            ..MinerLimits::default()
        },
    }
}

type Outcome = (BTreeMap<(Level, String, String), u64>, SourceCounts, u64);

fn outcome<'a>(format: Format, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut source = Source::new(format, small_limits());
    for piece in pieces {
        source.feed(piece, 0);
    }
    let position = source.position_bytes();
    source.flush(true);
    let patterns = source.patterns().iter().map(|pattern| {
        let name = (
            pattern.level,
            pattern.hash.to_string(),
            pattern.sample.clone(),
        );
        (name, pattern.messages)
    });
    (patterns.collect(), source.counts(), position)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bytes_may_be_cut_anywhere(bytes in hostile(), sizes in prop::collection::vec(1_usize..40, 1..20)) {
        for format in FORMATS {
            let whole = outcome(format, [bytes.as_slice()]);
            let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(*size));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(outcome(format, pieces), whole, "{:?}", format);
        }
    }

    #[test]
    fn all_that_is_taken_is_bounded(bytes in hostile()) {
        for format in FORMATS {
            let mut source = Source::new(format, small_limits());
            source.feed(&bytes, 0);
            source.flush(true);
            prop_assert!(source.patterns().len() <= 6 * 5);
            for pattern in source.patterns() {
                prop_assert!(pattern.sample.len() <= 4096);
                prop_assert!(pattern.text.len() <= 100 * 70);
            }
        }
        let mut assembler = Assembler::new(small_limits().assembly);
        let mut splitter = LineSplitter::new(50);
        let mut longest = 0;
        splitter.feed(&bytes, |line| {
            assert!(line.len() <= 50);
            assembler.push(line, 0, |message| longest = longest.max(message.len()));
        });
        assembler.flush(|message| longest = longest.max(message.len()));
        prop_assert!(longest <= 100);
    }

    #[test]
    fn a_pattern_depends_on_its_message_alone(messages in prop::collection::vec(hostile(), 1..12)) {
        let limits = MinerLimits { max_siblings: u32::MAX, ..MinerLimits::default() };
        let mut forward = Miner::new(limits.clone());
        let mut backward = Miner::new(limits);
        let mut texts = Vec::new();
        for message in &messages {
            let id = forward.observe(Level::Error, message);
            texts.push(forward.pattern(id).text.clone());
        }
        for (message, text) in messages.iter().zip(&texts).rev() {
            let id = backward.observe(Level::Error, message);
            prop_assert_eq!(&backward.pattern(id).text, text);
        }
    }

    #[test]
    fn a_sample_is_text_within_its_bound(bytes in hostile(), max_bytes in 0_usize..200, mask: bool) {
        let text = sample(&bytes, &SampleOptions { max_bytes, mask });
        prop_assert!(text.len() <= max_bytes);
        prop_assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in hostile()) {
        level::detect(&bytes);
        level::split_priority(&bytes);
        structured::parse(&bytes, &mut Vec::new());
        structured::attributes(&bytes);
    }
}

proptest! {
    /// A reader that dies and begins again where counting had come counts every line once, in both streams.
    #[test]
    fn beginning_again_neither_skips_nor_repeats(
        lines in proptest::collection::vec((any::<bool>(), 0_usize..4, any::<bool>()), 1..60),
        cut in 0_usize..4000,
    ) {
        let texts = ["ERROR one", "java.lang.Error: x", "\tat a.b(C.java:1)", "WARN two"];
        let mut file = String::new();
        for (stderr, text, whole) in &lines {
            let stream = if *stderr { "stderr" } else { "stdout" };
            let tag = if *whole { "F" } else { "P" };
            file += &format!("2024-01-05T10:00:00.1Z {stream} {tag} {}\n", texts[*text]);
        }
        let bytes = file.as_bytes();
        let whole = counted(&[bytes], [0; 2]);

        let cut = cut.min(bytes.len());
        let mut first = Source::new(Format::Cri, SourceLimits::default());
        first.feed(&bytes[..cut], 0);
        let places = first.counted_places();
        let begin = places[0].min(places[1]);
        let mut sum = messages(&first);
        let rest = counted(&[&bytes[begin as usize..]], places.map(|place| place - begin));
        for (key, count) in rest {
            *sum.entry(key).or_default() += count;
        }
        prop_assert_eq!(sum, whole);
    }
}

type Counts = std::collections::BTreeMap<(nodescope_logs::Level, String), u64>;

fn counted(pieces: &[&[u8]], passed_by: [u64; 2]) -> Counts {
    let mut source = Source::new(Format::Cri, SourceLimits::default());
    source.pass_by(passed_by);
    for piece in pieces {
        source.feed(piece, 0);
    }
    source.flush(true);
    messages(&source)
}

fn messages(source: &Source) -> Counts {
    let patterns = source.patterns().iter();
    patterns
        .filter(|pattern| pattern.messages > 0)
        .map(|pattern| ((pattern.level, pattern.hash.to_string()), pattern.messages))
        .collect()
}
