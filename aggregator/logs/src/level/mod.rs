//! How serious a message is: from its text, from a field, from a syslog priority or a number.

mod text;

pub use text::{detect, split_priority};

/// The level of a message, from least to most serious.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing said how serious it is.
    #[default]
    Unknown,
    /// Debugging and tracing.
    Debug,
    /// Information and notices.
    Info,
    /// Warnings.
    Warning,
    /// Errors.
    Error,
    /// Critical, fatal, alert and emergency.
    Critical,
}

impl Level {
    /// All levels, from least to most serious.
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Debug,
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Critical,
    ];

    /// The value of the label `level`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

impl Level {
    /// The level that a word names in any of the usual spellings, of which only the first letters count.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        // Most words name none.
        let first = name.first()?.to_ascii_lowercase();
        if !matches!(first, b'a' | b'c'..=b'f' | b'i' | b'n' | b't' | b'w') || name.len() < 3 {
            return None;
        }
        let mut folded = [0; 5];
        let len = name.len().min(folded.len());
        folded[..len].copy_from_slice(&name[..len]);
        folded.make_ascii_lowercase();
        Some(match &folded {
            b"dbg\0\0" | b"trc\0\0" => Self::Debug,
            // Not a traceback.
            b"trace" if name.len() == 5 => Self::Debug,
            b"inf\0\0" => Self::Info,
            b"wrn\0\0" => Self::Warning,
            b"err\0\0" => Self::Error,
            b"ftl\0\0" | b"emerg" | b"fatal" | b"alert" => Self::Critical,
            _ => match &folded[..4] {
                b"debu" => Self::Debug,
                b"info" | b"noti" => Self::Info,
                b"warn" => Self::Warning,
                b"erro" => Self::Error,
                b"crit" => Self::Critical,
                _ => return None,
            },
        })
    }

    /// The level of a syslog severity, 0 (emergency) to 7 (debug), as journald's `PRIORITY` has it.
    pub fn from_syslog_severity(severity: u8) -> Option<Self> {
        Some(match severity {
            0..=2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            _ => return None,
        })
    }

    /// The level of a number as loggers for Node.js (bunyan, pino) write it.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            10..=29 => Self::Debug,
            30..=39 => Self::Info,
            40..=49 => Self::Warning,
            50..=59 => Self::Error,
            60..=99 => Self::Critical,
            _ => return None,
        })
    }
}
