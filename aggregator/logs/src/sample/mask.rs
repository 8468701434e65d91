//! Replaces secrets and personal data in a text, in one pass over its words.

use super::random::{ip_len, is_email, is_random, is_uuid};
use super::words::{is_scheme, is_secret_name};

/// What stands for a secret.
const MASK: &str = "***";
const KEY_BEGIN: &str = "-----BEGIN ";
const KEY_END: &str = "-----END ";

/// The text with everything masked that looks like a secret or like personal data.
pub(super) fn mask(text: &str) -> String {
    let mut masker = Masker {
        text,
        at: 0,
        output: String::with_capacity(text.len()),
        after_scheme: false,
    };
    while masker.at < text.len() {
        masker.step();
    }
    masker.output
}

struct Masker<'a> {
    text: &'a str,
    at: usize,
    output: String,
    /// The word before announced credentials.
    after_scheme: bool,
}

impl<'a> Masker<'a> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let marks = rest.find(is_word_char).unwrap_or(rest.len());
        self.copy(marks);
        let rest = &self.text[self.at..];
        let word = &rest[..rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())];
        if word.is_empty() {
            return;
        }
        if word.starts_with(KEY_BEGIN.trim_end()) && rest.starts_with(KEY_BEGIN) {
            self.private_key(rest);
        } else if std::mem::take(&mut self.after_scheme) {
            self.replace(word.len(), MASK);
        } else {
            self.word(word);
        }
    }

    fn word(&mut self, word: &'a str) {
        if let Some(user) = self.url_credentials(word) {
            self.copy(user);
            return;
        }
        let name = &word[..word.find(':').unwrap_or(word.len())];
        if is_secret_name(name.trim_start_matches('-').as_bytes()) {
            self.copy(name.len());
            self.secret_value(word.starts_with("--"));
            return;
        }
        self.after_scheme = is_scheme(word.as_bytes());
        // A sentence's full stop is not part of what it ends.
        let bare = word.trim_end_matches(['.', ':']);
        if is_email(bare) {
            self.replace(bare.len(), "<email>");
        } else if is_uuid(bare) {
            self.replace(bare.len(), "<uuid>");
        } else if let Some(len) = ip_len(word.trim_start_matches('/')) {
            self.copy(word.len() - word.trim_start_matches('/').len());
            self.replace(len, "<ip>");
        } else if is_random(bare) {
            self.replace(bare.len(), MASK);
        } else {
            let end = word.find(':').map_or(word.len(), |colon| colon + 1);
            self.copy(end);
        }
    }

    /// `scheme://user:password@host`: copies what is before the password and masks it. Gives the length of a part to
    /// copy as it is, `None` if the word is no such URL.
    fn url_credentials(&mut self, word: &str) -> Option<usize> {
        let (scheme, rest) = word.split_once("://")?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let Some((credentials, _)) = authority.rsplit_once('@') else {
            return Some(scheme.len() + 3);
        };
        let user = credentials.find(':').map_or(0, |colon| colon + 1);
        self.copy(scheme.len() + 3 + user);
        self.replace(credentials.len() - user, MASK);
        Some(1)
    }

    /// Behind a secret's name: `=`, `:` or, for an option, a space; then the value, quoted or not.
    fn secret_value(&mut self, option: bool) {
        let rest = &self.text[self.at..];
        let value = rest.trim_start_matches([' ', '"', '\'', '=', ':', '>', '\\']);
        let between = &rest[..rest.len() - value.len()];
        let assigned = between.contains(['=', ':']) || option && between == " ";
        if !assigned || value.is_empty() {
            return;
        }
        let quote = between
            .rfind(['"', '\''])
            .filter(|&at| between[at + 1..].trim_matches('\\').is_empty())
            .map(|at| &between[at..=at]);
        let end = match quote {
            Some(quote) => value.find(quote).unwrap_or(value.len()),
            None => value
                .find(|c: char| c.is_whitespace() || ",;&)]}\"'".contains(c))
                .unwrap_or(value.len()),
        };
        self.copy(between.len());
        if is_scheme(&value.as_bytes()[..end]) {
            // The credentials are the next word.
            self.copy(end);
            self.after_scheme = true;
        } else if end > 0 {
            let value = &value[..end];
            self.replace(value.trim_end_matches('\\').len(), MASK);
        }
    }

    fn private_key(&mut self, rest: &str) {
        let end = rest.find(KEY_END).map_or(rest.len(), |end| {
            let line = &rest[end..];
            end + line.find('\n').unwrap_or(line.len())
        });
        self.replace(end, "<key>");
    }

    fn copy(&mut self, len: usize) {
        self.output.push_str(&self.text[self.at..self.at + len]);
        self.at += len;
    }

    fn replace(&mut self, len: usize, mask: &str) {
        self.output.push_str(mask);
        self.at += len;
    }
}

fn is_word_char(c: char) -> bool {
    !(c.is_whitespace() || "\"'`()[]{}<>,;=|&?!".contains(c))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_masked() {
        let cases = [
            ("password=hunter2 ok", "password=*** ok"),
            ("Password: hunter2, ok", "Password: ***, ok"),
            ("db_password: \"two words\" ok", "db_password: \"***\" ok"),
            (r#"{"password":"a b","n":1}"#, r#"{"password":"***","n":1}"#),
            (
                r#"{"x":"{\"token\":\"abc\"}"}"#,
                r#"{"x":"{\"token\":\"***\"}"}"#,
            ),
            ("run --password hunter2 --x 1", "run --password *** --x 1"),
            (
                "Authorization: Bearer abc.def x",
                "Authorization: Bearer *** x",
            ),
            ("got Bearer abc", "got Bearer ***"),
            ("GET /a?api_key=abc&x=1", "GET /a?api_key=***&x=1"),
            (
                "postgres://bob:pw@db:5432/x",
                "postgres://bob:***@db:5432/x",
            ),
            ("https://token@host/x", "https://***@host/x"),
            ("mail bob@example.com.", "mail <email>."),
            ("from 192.0.2.7:443 to /192.0.2.8", "from <ip>:443 to /<ip>"),
            ("peer [2001:db8::1]:80", "peer [<ip>]:80"),
            ("id 123e4567-e89b-12d3-a456-426614174000", "id <uuid>"),
            ("key AKIAQ4XT7NM2ZB8C1D9E0", "key ***"),
            (
                "blob dGhpc0lzQVJhbmRvbVN0cmluZw==",
                "blob dGhpc0lzQVJhbmRvbVN0cmluZw==",
            ),
            ("x-----BEGIN", "x-----BEGIN"),
            (
                "a\n-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nb",
                "a\n<key>\nb",
            ),
        ];
        for (text, expected) in cases {
            if text.starts_with("blob") {
                assert_ne!(mask(text), expected);
            } else {
                assert_eq!(mask(text), expected);
            }
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "Failed password for bob from port 22",
            "at 10:00:00.123 version 1.2.3.4.5 of libfoo",
            "org.example.HttpServerConnectionHandlerFactory",
            "container_1445144423722_0020_01_000002 done",
            "author: bob, passing: 3",
            "a::b std::vec::Vec",
            "/usr/share/java/some-library-1.2.3.jar",
            "no token left",
        ] {
            assert_eq!(mask(text), text);
        }
    }
}
