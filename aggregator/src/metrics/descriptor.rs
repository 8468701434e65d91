//! What a metric family is called, what it means and which labels its series carry.

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A total that grows until it begins again from zero.
    Counter,
    /// A value that may go up and down.
    Gauge,
    /// Observations counted in buckets. Only nodescope's own families use it so far.
    Histogram,
}

impl Kind {
    /// The word of the exposition formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a series is about; it decides the labels in front of the family's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The machine.
    Node,
    /// One container or service.
    Container,
    /// nodescope itself; written by `prometheus-client`, see [`own`](super::own).
    Own,
}

impl Scope {
    /// Labels every series of this scope begins with, in their order.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["machine_id", "system_uuid"],
            Self::Container => &["machine_id", "system_uuid", "container_id", "app_id"],
            Self::Own => &[],
        }
    }
}

/// A metric family. All of them are in the [catalogue](super::catalogue).
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Full name, with `_total` where it has one.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What its series are about.
    pub scope: Scope,
    /// Labels after those of the scope.
    pub labels: &'static [&'static str],
    /// One sentence with the unit, without a full stop.
    pub help: &'static str,
}

impl Descriptor {
    /// All label names of a series, in their order.
    pub fn all_labels(&self) -> impl Iterator<Item = &'static str> {
        self.scope.labels().iter().chain(self.labels).copied()
    }
}
