//! Every family, declared once.
//!
//! A new family is one `static` in [`node`], [`container`] or [`own`] and one line in that file's table. Tests compare the
//! tables with `tests/golden/metrics.txt` and with `docs/metrics.md`, and refuse a name that occurs twice.

pub mod container;
pub mod node;
pub mod own;

use super::Descriptor;

/// All families in the order of their exposition.
pub fn all() -> impl Iterator<Item = &'static Descriptor> {
    node::FAMILIES
        .iter()
        .chain(container::FAMILIES)
        .chain(own::FAMILIES)
        .copied()
}

/// Declares one family as a `static`.
macro_rules! family {
    ($(#[$meta:meta])* $ident:ident, $kind:ident, $scope:ident, $name:literal, [$($label:literal),*], $help:literal) => {
        $(#[$meta])*
        #[doc = concat!("`", $name, "`: ", $help, ".")]
        pub static $ident: $crate::metrics::Descriptor = $crate::metrics::Descriptor {
            name: $name,
            kind: $crate::metrics::Kind::$kind,
            scope: $crate::metrics::Scope::$scope,
            labels: &[$($label),*],
            help: $help,
        };
    };
}
pub(crate) use family;
