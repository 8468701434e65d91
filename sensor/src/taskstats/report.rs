//! What the process that asks taskstats tells the sensor: totals of a cgroup, or what was lost, each as 96 bytes. Pure.

use nodescope_ebpf::abi::CgroupKey;

use super::accounts::Account;
use super::ledger::Losses;
use super::stats::{KINDS, Waits};

/// Length of a report: below what a pipe takes in one piece or not at all (`PIPE_BUF`).
pub const BYTES: usize = 96;

const ACCOUNT: u64 = 1;
const LOSSES: u64 = 2;
const WORDS: usize = BYTES / 8;

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The totals of a cgroup; when they changed stays with who made them.
    Account(CgroupKey, Account),
    /// What was lost since the start, and how many processes are followed.
    Losses(Losses, u32),
}

impl Report {
    /// As it goes through the pipe.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let words: [u64; WORDS] = match self {
            Self::Account(key, account) => {
                let [a, b, c, d, e, f, g, h] = account.waits.0;
                let hierarchy = u64::from(key.hierarchy);
                let generation = account.generation_ns;
                [
                    ACCOUNT, hierarchy, key.id, generation, a, b, c, d, e, f, g, h,
                ]
            }
            Self::Losses(losses, followed) => {
                let [a, b, c, d, e, f, g] = losses.totals();
                [LOSSES, u64::from(followed), 0, 0, a, b, c, d, e, f, g, 0]
            }
        };
        let mut bytes = [0; BYTES];
        for (field, word) in bytes.chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// As it comes out of it; none when it is no report.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| words.get(index).map_or(0, |word| u64::from_ne_bytes(*word));
        let values: [u64; KINDS] = std::array::from_fn(|index| word(index + 4));
        match word(0) {
            ACCOUNT => {
                let key = CgroupKey {
                    id: word(2),
                    hierarchy: u32::try_from(word(1)).ok()?,
                };
                let account = Account {
                    generation_ns: word(3),
                    updated_ns: 0,
                    waits: Waits(values),
                };
                Some(Self::Account(key, account))
            }
            LOSSES => {
                let [losses @ .., _] = values;
                Some(Self::Losses(losses.into(), u32::try_from(word(1)).ok()?))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_pass_through_a_pipe() {
        let key = CgroupKey {
            id: u64::MAX,
            hierarchy: 7,
        };
        let account = Account {
            generation_ns: 3,
            updated_ns: 0,
            waits: Waits([1, 2, 3, 4, 5, 6, 7, u64::MAX]),
        };
        let losses = Losses::from([1, 2, 3, 4, 5, 6, u64::MAX]);
        assert_eq!((losses.overruns, losses.failed), (1, u64::MAX));
        for report in [Report::Account(key, account), Report::Losses(losses, 9)] {
            assert_eq!(Report::from_bytes(&report.to_bytes()), Some(report));
        }
        assert_eq!(Report::from_bytes(&[0; BYTES]), None);
        assert_eq!(Report::from_bytes(&[0xff; BYTES]), None);
    }
}
