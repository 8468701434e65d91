//! What a runtime says about a container, and the tolerant reading of its JSON: a field of the wrong type, or one that is
//! missing, is absent and takes nothing else with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::volumes::is_kubernetes_volume;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// The facts about a container that nodescope uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name in the runtime.
    pub name: Option<String>,
    /// Its containerd namespace, where the runtime notes it.
    pub namespace: Option<String>,
    /// Reference of its image.
    pub image: Option<String>,
    /// What orchestrators noted about it.
    pub facts: BTreeMap<Fact, String>,
    /// It only holds a pod's namespaces.
    pub is_pause: bool,
    /// TCP addresses of the host that lead to it, at most [`MAX_PUBLISHED`].
    pub published: Vec<SocketAddr>,
    /// Paths on the node of its Kubernetes volumes by mount point, at most [`MAX_VOLUMES`].
    pub volumes: BTreeMap<String, String>,
}

/// Volumes kept of one container.
pub const MAX_VOLUMES: usize = 64;

/// Published addresses kept of one container; the rest of a wide port range is left out.
pub const MAX_PUBLISHED: usize = 256;

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $key:literal),* $(,)?) => {
        /// A label, annotation or environment variable by which an orchestrator names a container.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fact { $($(#[$doc])* $name),* }

        impl Fact {
            /// The fact that is kept under `key`.
            pub fn from_key(key: &str) -> Option<Self> {
                match key { $($key => Some(Self::$name),)* _ => None }
            }
        }
    };
}

facts! {
    /// Name of the pod.
    PodName = "io.kubernetes.pod.name",
    /// Namespace of the pod.
    PodNamespace = "io.kubernetes.pod.namespace",
    /// UID of the pod.
    PodUid = "io.kubernetes.pod.uid",
    /// Name of the container in its pod.
    PodContainer = "io.kubernetes.container.name",
    /// Swarm: `SERVICE.SLOT.ID`.
    SwarmTask = "com.docker.swarm.task.name",
    /// Swarm: service, with its stack in front.
    SwarmService = "com.docker.swarm.service.name",
    /// Swarm: stack.
    SwarmStack = "com.docker.stack.namespace",
    /// Nomad: namespace.
    NomadNamespace = "NOMAD_NAMESPACE",
    /// Nomad: job.
    NomadJob = "NOMAD_JOB_NAME",
    /// Nomad: task group.
    NomadGroup = "NOMAD_GROUP_NAME",
    /// Nomad: allocation.
    NomadAllocation = "NOMAD_ALLOC_ID",
    /// Nomad: task.
    NomadTask = "NOMAD_TASK_NAME",
}

impl Metadata {
    /// A fact, unless it is empty.
    pub fn fact(&self, fact: Fact) -> Option<&str> {
        self.facts
            .get(&fact)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Keeps those of these mounts, each a mount point and a path on the node, that are Kubernetes volumes.
    pub(super) fn note_mounts(&mut self, mounts: impl IntoIterator<Item = (String, String)>) {
        let volumes = mounts
            .into_iter()
            .filter(|(_, source)| is_kubernetes_volume(source))
            .take(MAX_VOLUMES);
        self.volumes.extend(volumes);
    }

    /// Keeps those of `pairs` that are facts.
    pub(super) fn note<K: AsRef<str>>(&mut self, pairs: impl IntoIterator<Item = (K, String)>) {
        let known = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((Fact::from_key(key.as_ref())?, value)));
        self.facts.extend(known);
    }
}

/// A runtime's file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not what it should be, or is cut.
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    /// It does not list the container.
    #[error("the container is not listed")]
    NotListed,
}

/// Strings by name. Values that are no strings are left out.
pub(super) type Strings = BTreeMap<String, Lenient<String>>;

/// The pairs of a map that are strings.
pub(super) fn strings(map: Strings) -> impl Iterator<Item = (String, String)> {
    map.into_iter()
        .filter_map(|(key, Lenient(value))| Some((key, value?)))
}

/// A value, or nothing when it has another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lenient<T>(pub(super) Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value).ok()))
    }
}

/// A non-empty text.
pub(super) fn filled(text: Lenient<String>) -> Option<String> {
    text.0.filter(|text| !text.is_empty())
}
