//! Cgroup paths of services: units of systemd, of the system and of users, and services of Talos.
//!
//! - system: `/SLICE/NEXT`, with any slice and whatever comes next, even another slice
//!   (`/system.slice/system-getty.slice`), so that instances of a template are one;
//! - user: `/user.slice/user-UID.slice/SERVICE`, without the user's service manager and slices in between;
//! - Talos: `/talos/SERVICE`, `/talos/init`.
//!
//! systemd escapes `-` in some names as `\x2d`; the id has the plain dash.

use super::class::{Class, Ignored};

/// `/init`, `/system/SERVICE` and `/podruntime/SERVICE`.
pub(super) fn talos(components: &[&[u8]]) -> Option<Class> {
    let service = match components {
        [b"init"] => b"init",
        [b"system" | b"podruntime", service, ..] => *service,
        _ => return None,
    };
    Some(Class::Unit(format!("/talos/{}", text(service))))
}

/// Everything below `/user.slice`.
pub(super) fn user(components: &[&[u8]]) -> Option<Class> {
    if components[0] != b"user.slice" {
        return None;
    }
    let service = match components {
        [_, _, manager, rest @ ..] if manager.starts_with(b"user@") => first_below_slices(rest),
        _ => None,
    };
    let unit = service.filter(|name| name.ends_with(b".service"));
    Some(match (user_id(components), unit) {
        (Some(uid), Some(name)) => {
            Class::Unit(format!("/user.slice/user-{uid}.slice/{}", text(name)))
        }
        _ => Class::Ignored(Ignored::UserSession),
    })
}

/// Everything below any other slice, and systemd itself.
pub(super) fn system(components: &[&[u8]]) -> Option<Class> {
    let slice = components[0];
    if slice == b"init.scope" || slice == b"systemd" {
        return Some(Class::Ignored(Ignored::Init));
    }
    if !slice.ends_with(b".slice") {
        return None;
    }
    let below = &components[1..];
    Some(match (below.first(), first_below_slices(below)) {
        (None, _) => Class::Ignored(Ignored::Root),
        (_, Some(name)) if name.ends_with(b".scope") => Class::Ignored(Ignored::Scope),
        (Some(next), _) => Class::Unit(format!("/{}/{}", text(slice), text(next))),
    })
}

/// The user whose slice the path is in.
pub(super) fn user_id(components: &[&[u8]]) -> Option<u32> {
    let [b"user.slice", slice, ..] = components else {
        return None;
    };
    let digits = slice.strip_prefix(b"user-")?.strip_suffix(b".slice")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn first_below_slices<'a>(components: &[&'a [u8]]) -> Option<&'a [u8]> {
    components
        .iter()
        .copied()
        .find(|name| !name.ends_with(b".slice"))
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).replace("\\x2d", "-")
}
