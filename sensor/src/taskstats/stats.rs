//! `struct taskstats`: what the kernel says of a task, or of all tasks of a process together. Pure.
//!
//! Kernels append fields, so a struct may end before or after those of today; what one does not have is 0. Only Linux 6.14
//! and the first of 6.15 have fields in between, see [`StatsError::Layout`].
//!
//! Source: `include/uapi/linux/taskstats.h`.

/// Kinds of waits, in the order of `enum delay_kind` in `ebpf/include/abi.h`.
pub const KINDS: usize = 8;

/// Where `struct taskstats` has the nanoseconds of each kind.
const WAITS: [usize; KINDS] = [24, 40, 56, 320, 336, 360, 408, 424];
const VERSION: usize = 0;
const FLAGS: usize = 8;
const PID: usize = 128;
const PARENT: usize = 132;
const ELAPSED_US: usize = 144;
const SWITCHES: [usize; 2] = [272, 280];
/// Since version 12.
const THREAD_GROUP: usize = 368;
/// Since version 12.
const GROUP_ELAPSED_US: usize = 376;

/// The task did not execute a program since it was forked.
const AFORK: u8 = 1;
/// It was the last of its process. Since version 12.
const AGROUP: u8 = 0x20;

/// Up to the numbers of the task, which all versions have.
const BYTES_MIN: usize = 136;
/// Of version 14, the last before fields came in between.
const BYTES_14: usize = 432;
/// The first version after that.
const VERSION_MENDED: u16 = 16;

/// Block I/O among the kinds.
const BLOCK_IO: usize = 1;

/// Nanoseconds waited by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits(pub [u64; KINDS]);

impl Waits {
    /// What is more than in `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u64::saturating_sub)
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// The larger of each kind.
    pub fn max(&self, other: &Self) -> Self {
        self.zip(other, u64::max)
    }

    /// Whether there was none.
    pub fn is_none(&self) -> bool {
        self.0 == [0; KINDS]
    }

    /// For block I/O.
    pub fn block_io_ns(&self) -> u64 {
        self.0[BLOCK_IO]
    }

    /// The others.
    pub fn without_block_io(mut self) -> Self {
        self.0[BLOCK_IO] = 0;
        self
    }

    fn zip(&self, other: &Self, with: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|kind| {
            with(self.0[kind], other.0[kind])
        }))
    }
}

/// What is read of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// The task; 0 in those of a whole process.
    pub pid: u32,
    /// The process that waits for it; 0 in those of a whole process.
    pub parent: u32,
    /// The process it belongs to; none before version 12 and in those of a whole process.
    pub thread_group: Option<u32>,
    /// It was forked and did not execute a program.
    pub only_forked: bool,
    /// It was the last task of its process; known only with [`Stats::thread_group`].
    pub was_last: bool,
    /// How long it has been, or its process as far as that is known, in nanoseconds; in those of a whole process the
    /// times of all tasks that live added up.
    pub elapsed_ns: u64,
    /// Times it gave up a CPU or lost one.
    pub switches: u64,
    /// What it waited for.
    pub waits: Waits,
}

/// Bytes that are no `struct taskstats` of which the fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// There are too few.
    #[error("a struct taskstats of {0} bytes")]
    Short(usize),
    /// The kernel has the fields in other places.
    #[error(
        "taskstats version {version} of {bytes} bytes has a layout of its own (Linux 6.14 and 6.15)"
    )]
    Layout {
        /// Of the struct; 0 in what a process leaves.
        version: u16,
        /// Its size.
        bytes: usize,
    },
}

impl Stats {
    /// Reads one.
    ///
    /// # Errors
    /// See [`StatsError`].
    pub fn read(bytes: &[u8]) -> Result<Self, StatsError> {
        if bytes.len() < BYTES_MIN {
            return Err(StatsError::Short(bytes.len()));
        }
        let version = u16::from_ne_bytes(field(bytes, VERSION));
        // What a process leaves has no version. Another answer of the same kernel was read before.
        if bytes.len() > BYTES_14 && (1..VERSION_MENDED).contains(&version) {
            let bytes = bytes.len();
            return Err(StatsError::Layout { version, bytes });
        }
        let [flags] = field(bytes, FLAGS);
        let thread_group = u32::from_ne_bytes(field(bytes, THREAD_GROUP));
        let elapsed_us = [ELAPSED_US, GROUP_ELAPSED_US]
            .map(|offset| u64::from_ne_bytes(field(bytes, offset)))
            .into_iter()
            .fold(0, u64::max);
        Ok(Self {
            pid: u32::from_ne_bytes(field(bytes, PID)),
            parent: u32::from_ne_bytes(field(bytes, PARENT)),
            thread_group: (thread_group != 0).then_some(thread_group),
            only_forked: flags & AFORK != 0,
            was_last: flags & AGROUP != 0,
            elapsed_ns: elapsed_us.saturating_mul(1000),
            switches: SWITCHES
                .map(|offset| u64::from_ne_bytes(field(bytes, offset)))
                .into_iter()
                .fold(0, u64::saturating_add),
            waits: Waits(WAITS.map(|offset| u64::from_ne_bytes(field(bytes, offset)))),
        })
    }
}

/// The bytes of a field; zeros where the struct ends before it.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let field = bytes.get(offset..offset + N);
    field
        .and_then(|field| field.try_into().ok())
        .unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(version: u16, bytes: usize) -> Vec<u8> {
        let mut structure: Vec<u8> = (0..bytes).map(|offset| (offset / 8) as u8).collect();
        structure[..2].copy_from_slice(&version.to_ne_bytes());
        structure[FLAGS] = AGROUP;
        structure
    }

    #[test]
    fn reads_every_field_of_today() {
        let stats = Stats::read(&structure(17, 700)).expect("a known layout");
        let word = |offset: usize| u64::from_ne_bytes([(offset / 8) as u8; 8]);
        assert_eq!(stats.waits, Waits(WAITS.map(word)));
        assert_eq!(stats.pid, u32::from_ne_bytes([16; 4]));
        assert_eq!(stats.parent, u32::from_ne_bytes([16; 4]));
        assert_eq!(stats.thread_group, Some(u32::from_ne_bytes([46; 4])));
        assert_eq!(stats.elapsed_ns, word(376).saturating_mul(1000));
        assert_eq!(stats.switches, word(272) + word(280));
        assert!(stats.was_last && !stats.only_forked);
    }

    #[test]
    fn older_ones_end_earlier() {
        // Version 10, of Linux 5.10: no compaction, no copies, no interrupts, no thread group.
        let stats = Stats::read(&structure(10, 352)).expect("a known layout");
        assert_eq!(stats.waits.0[5..], [0; 3]);
        assert_ne!(stats.waits.0[4], 0);
        assert_eq!(stats.thread_group, None);
        assert_eq!(Stats::read(&[0; 100]), Err(StatsError::Short(100)));
    }

    #[test]
    fn a_layout_with_fields_in_between_is_refused() {
        for (version, bytes, is_known) in [
            (14, 432, true),
            (14, 496, false),
            (15, 560, false),
            (16, 560, true),
            (0, 560, true),
        ] {
            let read = Stats::read(&structure(version, bytes));
            assert_eq!(read.is_ok(), is_known, "version {version}, {bytes} bytes");
        }
    }

    #[test]
    fn waits_never_wrap() {
        let (small, large) = (Waits([1; KINDS]), Waits([u64::MAX; KINDS]));
        assert_eq!(small.since(&large), Waits::default());
        assert_eq!(large.plus(&small), large);
        assert_eq!(small.max(&large), large);
        assert!(Waits::default().is_none() && !small.is_none());
        assert_eq!(small.without_block_io().block_io_ns(), 0);
    }
}
