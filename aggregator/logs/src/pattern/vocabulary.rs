//! The closed sets of words that the rules need: calendar names, units of measurement, and what stands before a name.
//! They are facts of English and of measurement; none was collected from logs.

/// Whether the word names a month or a day of the week, short or in full.
pub(crate) fn is_calendar_name(word: &[u8]) -> bool {
    const NAMES: [&[u8]; 19] = [
        b"january",
        b"february",
        b"march",
        b"april",
        b"may",
        b"june",
        b"july",
        b"august",
        b"september",
        b"october",
        b"november",
        b"december",
        b"monday",
        b"tuesday",
        b"wednesday",
        b"thursday",
        b"friday",
        b"saturday",
        b"sunday",
    ];
    if word.len() < 3 || !word[0].is_ascii_uppercase() {
        return false;
    }
    let short = word.len() == 3;
    NAMES.iter().any(|name| {
        if short {
            word.eq_ignore_ascii_case(&name[..3])
        } else {
            word.eq_ignore_ascii_case(name)
        }
    })
}

/// Whether the word is a unit of size, time, rate or share, as printed behind a number.
pub(crate) fn is_unit(word: &[u8]) -> bool {
    const UNITS: [&[u8]; 46] = [
        b"b",
        b"byte",
        b"bytes",
        b"kb",
        b"mb",
        b"gb",
        b"tb",
        b"pb",
        b"kib",
        b"mib",
        b"gib",
        b"tib",
        b"k",
        b"m",
        b"g",
        b"bit",
        b"bits",
        b"kbps",
        b"mbps",
        b"gbps",
        b"hz",
        b"khz",
        b"mhz",
        b"ghz",
        b"ns",
        b"us",
        b"ms",
        b"s",
        b"sec",
        b"secs",
        b"second",
        b"seconds",
        b"min",
        b"mins",
        b"minute",
        b"minutes",
        b"h",
        b"hour",
        b"hours",
        b"day",
        b"days",
        b"msec",
        b"usec",
        b"milliseconds",
        b"microseconds",
        b"nanoseconds",
    ];
    word.len() <= 12 && UNITS.iter().any(|unit| word.eq_ignore_ascii_case(unit))
}

/// Whether the next word is the name of somebody: nothing else in a log is so often spelled like ordinary words.
pub(crate) fn introduces_account(word: &[u8]) -> bool {
    const NOUNS: [&[u8]; 3] = [b"user", b"username", b"account"];
    NOUNS.iter().any(|noun| word.eq_ignore_ascii_case(noun))
}

/// Whether the word says what happened to an account and so is not its name.
pub(crate) fn is_predicate(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 18] = [
        b"is", b"was", b"has", b"had", b"are", b"not", b"and", b"or", b"of", b"in", b"on", b"to",
        b"for", b"from", b"by", b"with", b"at", b"does",
    ];
    word.len() > 4 && (word.ends_with(b"ed") || word.ends_with(b"ing"))
        || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}
