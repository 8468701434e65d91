//! Asks the sensor what the programs of containers were written in, which only their files tell.
//!
//! One question for each program of a container, not for each process: those that are called by the same name are the same
//! program. So forking servers cost no more than others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodescope_schema::{DescribeExecutable, Language, Refusal};

use crate::applications::{application_type_of_executable, application_type_of_language};
use crate::broker::{Broker, Program};
use crate::containers::OpenError;

/// How long an answer holds: a container's program may be exchanged.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long a process is not asked for again that the sensor did not find, or whose file told nothing: it may have been out
/// of reach.
const MAX_AGE_OF_NOTHING: Duration = Duration::from_secs(60);
/// How long nothing is asked after an answer did not come in time: a program on a file system that hangs must not hold up
/// the looks at all containers, one after the other.
const PAUSE: Duration = Duration::from_secs(60);
/// Programs of all containers that are remembered; with more, all are asked for again.
const MAX_KNOWN: usize = 16 << 10;
/// Programs of a container asked for in one look.
const PROGRAMS_PER_LOOK: usize = 16;
/// Longest name that is remembered.
const MAX_COMMAND_BYTES: usize = 256;

/// A process whose executable may tell what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// First word of its command line.
    pub(super) command: Vec<u8>,
    /// Whether its command line told its type.
    pub(super) has_type: bool,
}

/// Container and command.
type Key = (Arc<str>, Vec<u8>);

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Executables {
    known: HashMap<Key, (Instant, Option<Program>)>,
    /// When an answer last did not come in time.
    timed_out: Option<Instant>,
}

impl Executables {
    /// The types of a container's processes. Without a sensor, or if it has too much to do, only those that are known.
    pub(super) async fn types(
        &mut self,
        broker: &Broker,
        container: &Arc<str>,
        processes: &[Process],
    ) -> Vec<&'static str> {
        let mut types = Vec::new();
        let mut questions = self.may_ask();
        for process in processes {
            let command = process.command.iter().take(MAX_COMMAND_BYTES);
            let key = (Arc::clone(container), command.copied().collect());
            if questions > 0 && !self.is_known(&key) {
                questions -= 1;
                let of = DescribeExecutable { pid: process.pid };
                match broker.describe_executable(of).await {
                    Ok(program) => self.remember(key.clone(), Some(program)),
                    // A sensor of an earlier release knows no such request.
                    Err(OpenError::Refused(Refusal::NotFound | Refusal::Unknown)) => {
                        self.remember(key.clone(), None);
                    }
                    // What was answered before is better than nothing.
                    Err(error) => {
                        if matches!(error, OpenError::TimedOut) {
                            self.timed_out = Some(Instant::now());
                        }
                        questions = 0;
                    }
                }
            }
            if let Some((_, Some(program))) = self.known.get(&key) {
                types.extend(types_of(program, process.has_type));
            }
        }
        types
    }

    /// Questions for one look.
    fn may_ask(&self) -> usize {
        match self.timed_out {
            Some(at) if at.elapsed() < PAUSE => 0,
            _ => PROGRAMS_PER_LOOK,
        }
    }

    fn is_known(&self, key: &Key) -> bool {
        self.known.get(key).is_some_and(|(at, program)| {
            let told = |program: &Program| program.language != Language::Unknown;
            let max_age = if program.as_ref().is_some_and(told) {
                MAX_AGE
            } else {
                MAX_AGE_OF_NOTHING
            };
            at.elapsed() < max_age
        })
    }

    fn remember(&mut self, key: Key, program: Option<Program>) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(key, (Instant::now(), program));
    }
}

fn types_of(program: &Program, has_type: bool) -> impl Iterator<Item = &'static str> {
    let by_name = application_type_of_executable(&program.name).filter(|_| !has_type);
    let by_language = application_type_of_language(program.language);
    by_name.into_iter().chain(by_language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_counts_only_where_the_command_line_tells_nothing() {
        let program = |name: &[u8], language| Program {
            name: name.to_vec(),
            language,
        };
        let types =
            |program: &Program, has_type| -> Vec<_> { types_of(program, has_type).collect() };
        let python = program(b"python3", Language::Unknown);
        assert_eq!(types(&python, false), ["python"]);
        assert!(types(&python, true).is_empty());
        let prometheus = program(b"prometheus", Language::Go);
        assert_eq!(types(&prometheus, true), ["golang"]);
    }

    #[test]
    fn a_sensor_that_does_not_answer_is_left_alone_for_a_while() {
        let mut executables = Executables::default();
        assert_eq!(executables.may_ask(), PROGRAMS_PER_LOOK);
        executables.timed_out = Some(Instant::now());
        assert_eq!(executables.may_ask(), 0);
        executables.timed_out = Instant::now().checked_sub(PAUSE);
        assert_eq!(executables.may_ask(), PROGRAMS_PER_LOOK);
    }

    #[test]
    fn nothing_is_asked_for_again_sooner_or_later() {
        let mut executables = Executables::default();
        let key = |command: &str| (Arc::from("/docker/a"), command.as_bytes().to_vec());
        executables.remember(key("a"), None);
        assert!(executables.is_known(&key("a")));
        assert!(!executables.is_known(&key("b")));
        let long_ago = Instant::now().checked_sub(MAX_AGE_OF_NOTHING).unwrap();
        executables.known.insert(key("a"), (long_ago, None));
        assert!(!executables.is_known(&key("a")));
        for (language, is_known) in [(Language::Go, true), (Language::Unknown, false)] {
            let program = Program {
                name: Vec::new(),
                language,
            };
            executables
                .known
                .insert(key("a"), (long_ago, Some(program)));
            assert_eq!(executables.is_known(&key("a")), is_known, "{language:?}");
        }
    }
}
