//! The names before which a secret stands.

/// Parts of names that say that their value is secret, in lower case and without `_` and `-`.
const SECRET_PARTS: [&[u8]; 14] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"apikey",
    b"accesskey",
    b"privatekey",
    b"authorization",
    b"credential",
    b"cookie",
    b"sessionid",
    b"signature",
    b"pwd",
];
/// Names that are such a word as a whole; as part of others they are harmless ("author", "passing").
const SECRET_NAMES: [&[u8]; 5] = [b"pass", b"auth", b"pin", b"otp", b"sid"];
/// A name longer than this is none.
const MAX_NAME_BYTES: usize = 64;

/// Whether a value under this name is secret.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let mut folded = [0; MAX_NAME_BYTES];
    let mut len = 0;
    for &byte in name {
        if byte == b'_' || byte == b'-' {
            continue;
        }
        if len == MAX_NAME_BYTES {
            return false;
        }
        folded[len] = byte.to_ascii_lowercase();
        len += 1;
    }
    let folded = &folded[..len];
    SECRET_NAMES.contains(&folded)
        || SECRET_PARTS
            .iter()
            .any(|part| memchr::memmem::find(folded, part).is_some())
}

/// Whether the word announces credentials as the next word, as in an `Authorization` header.
pub(super) fn is_scheme(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic")
}
