//! An error and what caused it, in one line for the log.

use std::error::Error;

/// The error's text and that of each cause which is not in it already.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let mut text = error.to_string();
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: no answer")]
    struct Repeats(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[test]
    fn causes_are_told_once() {
        assert_eq!(with_causes(&Repeats(Inner)), "outer: no answer");
        assert_eq!(with_causes(&Outer(Inner)), "outer: no answer");
    }
}
