//! From a [`Class`] to a name: asks the runtimes' files, then the optional sources, and remembers the answers.
//!
//! Every outside call has a deadline. An answer is looked up again after [`Settings::refresh_interval`], so that a renamed
//! container gets its new name; while that fails the old answer stays. A failure is retried with growing pauses, the
//! first ones short, as runtimes write their files just before or after they make the cgroup.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::class::{Class, ContainerRef, Ignored};
use super::name;
use super::opener::FileOpener;
use super::runtimes::{Runtime, containerd};
use crate::logs::kinds::{self, LogPlace, Subject};
use cache::Cache;
use source::{Found, Sources};

mod cache;
mod docker_roots;
mod optional;
mod reader;
mod source;

/// How the resolver works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest time to open and read one file.
    pub file_deadline: Duration,
    /// Longest time for an answer of an optional source.
    pub api_deadline: Duration,
    /// How long an answer is used before it is looked up again.
    pub refresh_interval: Duration,
    /// Pause after the first failure; each further one doubles it.
    pub first_retry: Duration,
    /// Longest pause between retries.
    pub longest_retry: Duration,
    /// How often the runtimes are asked for a container whose path only looks like one's, before it is ignored.
    pub guess_attempts: u32,
    /// Answers kept; the least recently used are dropped above it, and looked up again when needed.
    pub capacity: usize,
    /// Further data-roots of docker, tried before that of `daemon.json` and the default.
    pub docker_roots: Vec<PathBuf>,
    /// Namespaces of containerd that a container may be in when its cgroup does not tell.
    pub containerd_namespaces: Vec<String>,
    /// Docker's API socket. Access to it is as good as root; off by default.
    pub docker_socket: Option<PathBuf>,
    /// A CRI socket, of containerd or CRI-O. Access to it is as good as root; off by default.
    pub cri_socket: Option<PathBuf>,
    /// The time of day, which tells a CronJob's pods from others.
    pub now: fn() -> SystemTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file_deadline: Duration::from_secs(2),
            api_deadline: Duration::from_secs(2),
            refresh_interval: Duration::from_secs(60),
            first_retry: Duration::from_millis(50),
            longest_retry: Duration::from_secs(30),
            guess_attempts: 4,
            capacity: 8192,
            docker_roots: Vec::new(),
            containerd_namespaces: vec![
                containerd::DEFAULT.to_owned(),
                containerd::KUBERNETES.to_owned(),
            ],
            docker_socket: None,
            cri_socket: None,
            now: SystemTime::now,
        }
    }
}

/// A container or service with its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Label `container_id`.
    pub id: String,
    /// Label `app_id`; empty when it would be the same.
    pub app_id: String,
    /// Reference of its image.
    pub image: Option<String>,
    /// Its runtime, `systemd` for units.
    pub runtime: &'static str,
    /// TCP addresses of the host that lead to it through docker's proxy or its firewall rules.
    pub published: Vec<std::net::SocketAddr>,
    /// Paths on the node of its Kubernetes volumes by mount point.
    pub volumes: std::collections::BTreeMap<String, String>,
    /// Where its log may be.
    pub logs: Vec<LogPlace>,
}

impl Identity {
    fn of_unit(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            app_id: name::app_id(id),
            image: None,
            runtime: "systemd",
            ..Self::default()
        }
    }
}

/// What a cgroup is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// This.
    Container(Arc<Identity>),
    /// It is not reported.
    Ignored(Ignored),
    /// Not known now: ask again after the pause. Asking earlier costs nothing and gives the same.
    Retry {
        /// What went wrong last.
        reason: RetryReason,
        /// The pause.
        after: Duration,
    },
}

/// Why a container has no name yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// None of the files is there.
    NotFound,
    /// A file may not be given out, or cannot be read.
    Unreadable,
    /// A file is not what it should be.
    Malformed,
    /// The sensor is asked too often.
    RateLimited,
    /// The sensor is not there.
    Disconnected,
    /// No answer came in time.
    TimedOut,
    /// Only an optional source may know it, and that does not answer.
    SourceSilent,
}

impl RetryReason {
    /// A word for logs and label values.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::RateLimited => "rate_limited",
            Self::Disconnected => "disconnected",
            Self::TimedOut => "timed_out",
            Self::SourceSilent => "source_silent",
        }
    }

    /// It is about the sensor and not the container: another one would fail the same way.
    fn is_about_sensor(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Disconnected | Self::TimedOut
        )
    }

    fn is_about_container(self) -> bool {
        !self.is_about_sensor() && self != Self::SourceSilent
    }
}

/// Finds names. One serves all tasks.
pub struct Resolver {
    settings: Settings,
    sources: Sources,
    cache: Mutex<Cache>,
}

impl Resolver {
    /// A resolver that opens files with `opener`.
    pub fn new(opener: Arc<dyn FileOpener>, settings: Settings) -> Self {
        let cache = Mutex::new(Cache::new(settings.capacity));
        Self {
            sources: Sources::new(opener, &settings),
            cache,
            settings,
        }
    }

    /// The name of what `class` stands for. Returns at once for anything but a container, or one asked for recently.
    pub async fn resolve(&self, class: &Class) -> Resolution {
        match class {
            Class::Container(container) => self.container(container).await,
            Class::Unit(id) => Resolution::Container(Arc::new(Identity::of_unit(id))),
            Class::Pod => Resolution::Ignored(Ignored::PodDirectory),
            Class::Ignored(reason) => Resolution::Ignored(*reason),
        }
    }

    /// Drops what is known of a container, so that the next [`Resolver::resolve`] looks it up. For when its cgroup is
    /// removed: a container that is started again may have been renamed in between.
    pub fn forget(&self, class: &Class) {
        if let Class::Container(container) = class {
            self.cache().remove(container);
        }
    }

    async fn container(&self, container: &ContainerRef) -> Resolution {
        if let Some(known) = self.cache().get(container, Instant::now()) {
            return known;
        }
        let outcome = self.sources.find(container).await;
        let now = Instant::now();
        let mut cache = self.cache();
        match outcome {
            Ok(found) => {
                let answer = self.answer(container, found);
                cache.put(container, answer, now, self.settings.refresh_interval)
            }
            Err(reason) => {
                let failures = cache.failures(container) + 1;
                if !container.certain
                    && reason.is_about_container()
                    && failures >= self.settings.guess_attempts
                {
                    let answer = Resolution::Ignored(Ignored::UnknownContainer);
                    return cache.put(container, answer, now, self.settings.refresh_interval);
                }
                cache.fail(container, reason, now, self.pause(reason, failures))
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, container: &ContainerRef, found: Found) -> Resolution {
        let Found {
            runtime,
            metadata,
            docker_root,
        } = found;
        let logs = kinds::places(&Subject {
            runtime: runtime.name(),
            container,
            docker_root: &docker_root,
            metadata: &metadata,
        });
        let since_epoch = (self.settings.now)()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        match name::container_id(runtime, container, &metadata, since_epoch.as_secs()) {
            Err(reason) => Resolution::Ignored(reason),
            Ok(id) => Resolution::Container(Arc::new(Identity {
                app_id: name::app_id(&id),
                id,
                image: metadata.image,
                runtime: runtime.name(),
                published: metadata.published,
                volumes: metadata.volumes,
                logs,
            })),
        }
    }

    /// Doubles with each failure. What is about the sensor or a source and not the container may pass any time, so it
    /// is never long.
    fn pause(&self, reason: RetryReason, failures: u32) -> Duration {
        const LONGEST_FOR_SENSOR: Duration = Duration::from_secs(1);
        const LONGEST_FOR_SOURCE: Duration = Duration::from_secs(5);
        let doubled = self
            .settings
            .first_retry
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = match reason {
            RetryReason::SourceSilent => LONGEST_FOR_SOURCE,
            reason if reason.is_about_sensor() => LONGEST_FOR_SENSOR,
            _ => self.settings.longest_retry,
        };
        doubled.min(longest)
    }
}

#[cfg(test)]
mod tests;
