//! Tells random strings and addresses from words by their spelling.

use std::net::{IpAddr, Ipv6Addr};

/// A part of a word shorter than this is not taken for a random string.
const RANDOM_MIN: usize = 20;

/// Whether the word is an e-mail address.
pub(super) fn is_email(word: &str) -> bool {
    let Some((local, domain)) = word.split_once('@') else {
        return false;
    };
    let domain_is_host = domain
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    !local.is_empty()
        && !local.contains('/')
        && domain_is_host
        && domain.contains('.')
        && !domain.starts_with('.')
}

/// The length of the IP address that the word begins with, if one does and nothing but a port, prefix or path follows.
pub(super) fn ip_len(word: &str) -> Option<usize> {
    let address = word
        .find(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'))
        .map_or(word, |end| &word[..end]);
    let v4 = address.split(':').next().unwrap_or_default();
    if v4.matches('.').count() == 3 && v4.parse::<IpAddr>().is_ok() {
        return Some(v4.len());
    }
    let address = address.trim_end_matches('.');
    let v6 = if address.ends_with("::") {
        address
    } else {
        address.trim_end_matches(':')
    };
    // Two colons alone are no address worth hiding, and without a digit they join names of code.
    let digit = v6.bytes().any(|byte| byte.is_ascii_digit());
    let hidden = digit && v6.parse::<Ipv6Addr>().is_ok();
    hidden.then_some(v6.len())
}

/// Whether the word is a UUID.
pub(super) fn is_uuid(word: &str) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| {
            if DASHES.contains(&at) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

/// Whether the word holds a long string that no person made up: letters and digits, or small and capital letters, that
/// keep changing. Names joined by marks are looked at one by one, so identifiers made of words and numbers stay.
pub(super) fn is_random(word: &str) -> bool {
    word.split(|c: char| "-_./\\:@$#%&*".contains(c))
        .any(is_random_part)
}

fn is_random_part(part: &str) -> bool {
    let plain = part
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'=');
    if part.len() < RANDOM_MIN || !plain {
        return false;
    }
    let changes = part
        .as_bytes()
        .windows(2)
        .filter(|pair| is_change(pair[0], pair[1]))
        .count();
    changes * 4 > part.len()
}

/// From letter to digit or back, or from a small letter to a capital, which CamelCase has once a word.
fn is_change(a: u8, b: u8) -> bool {
    a.is_ascii_digit() != b.is_ascii_digit() || a.is_ascii_lowercase() && b.is_ascii_uppercase()
}
