//! From a container's metadata to its `container_id` and `app_id`, in the formats of coroot-node-agent.
//!
//! | kind | container_id |
//! |---|---|
//! | Kubernetes | `/k8s/NAMESPACE/POD/CONTAINER`, `/k8s-cronjob/NAMESPACE/CRONJOB/CONTAINER` |
//! | gVisor | `/k8s/NAMESPACE/POD/sandbox` |
//! | Docker Swarm | `/swarm/STACK or _/SERVICE/SLOT` |
//! | Nomad | `/nomad/NAMESPACE/JOB/GROUP/ALLOCATION/TASK` |
//! | other | `/RUNTIME/NAME`, `/containerd/NAMESPACE/NAME`, of user UID `/RUNTIME/user-UID/NAME` |
//!
//! The first scheme in [`ORCHESTRATORS`] whose facts are there names the container. A user's own files are not believed
//! that far: a rootless container is always named below its runtime and user, or it could pass for any other.

use super::class::{ContainerRef, Ignored};
use super::kubernetes;
use super::metadata::{Fact, Metadata};
use super::runtimes::Runtime;

/// Names a container by an orchestrator's facts; `None` when they are not there.
type Orchestrator = fn(&ContainerRef, &Metadata, u64) -> Option<Result<String, Ignored>>;

const ORCHESTRATORS: &[Orchestrator] = &[kubernetes, swarm, nomad];

/// Name Kubernetes' runtimes give the pause container.
const PAUSE: &str = "POD";

/// The `container_id` of a container, or why it has none. `now_s` is the time since the epoch, in seconds.
pub fn container_id(
    runtime: &dyn Runtime,
    container: &ContainerRef,
    metadata: &Metadata,
    now_s: u64,
) -> Result<String, Ignored> {
    if metadata.is_pause && !container.sandbox {
        return Err(Ignored::Pause);
    }
    let believed = if container.uid == 0 {
        ORCHESTRATORS
    } else {
        &[]
    };
    let orchestrated = believed
        .iter()
        .find_map(|orchestrator| orchestrator(container, metadata, now_s));
    orchestrated.unwrap_or_else(|| runtime.own_id(container, metadata).ok_or(Ignored::Unnamed))
}

/// The `app_id` of a container: what the reference calls its service, empty when that is the `container_id` itself.
pub fn app_id(container_id: &str) -> String {
    kubernetes::service(container_id).unwrap_or_default()
}

fn kubernetes(
    container: &ContainerRef,
    metadata: &Metadata,
    now_s: u64,
) -> Option<Result<String, Ignored>> {
    let pod = component(metadata, Fact::PodName)?;
    let namespace = component(metadata, Fact::PodNamespace)?;
    let name = match container.sandbox {
        true => "sandbox",
        false => component(metadata, Fact::PodContainer).unwrap_or(PAUSE),
    };
    if name == PAUSE {
        return Some(Err(Ignored::Pause));
    }
    Some(Ok(match kubernetes::cronjob(pod, now_s) {
        Some(cronjob) => format!("/k8s-cronjob/{namespace}/{cronjob}/{name}"),
        None => format!("/k8s/{namespace}/{pod}/{name}"),
    }))
}

fn swarm(_: &ContainerRef, metadata: &Metadata, _: u64) -> Option<Result<String, Ignored>> {
    let task: Vec<&str> = component(metadata, Fact::SwarmTask)?.split('.').collect();
    let [_, slot, _] = task[..] else { return None };
    let service = component(metadata, Fact::SwarmService)?;
    let Some(stack) = component(metadata, Fact::SwarmStack) else {
        return Some(Ok(format!("/swarm/_/{service}/{slot}")));
    };
    let service = service
        .strip_prefix(stack)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(service);
    Some(Ok(format!("/swarm/{stack}/{service}/{slot}")))
}

fn nomad(_: &ContainerRef, metadata: &Metadata, _: u64) -> Option<Result<String, Ignored>> {
    let facts = [
        Fact::NomadNamespace,
        Fact::NomadJob,
        Fact::NomadGroup,
        Fact::NomadAllocation,
        Fact::NomadTask,
    ];
    let mut id = String::from("/nomad");
    for fact in facts {
        id.push('/');
        // Names of dispatched jobs have slashes.
        id.push_str(metadata.fact(fact)?);
    }
    Some(Ok(id))
}

/// A fact that can be one component of an id: with a slash in it, it could pass for another container's.
fn component(metadata: &Metadata, fact: Fact) -> Option<&str> {
    metadata.fact(fact).filter(|value| !value.contains('/'))
}

#[cfg(test)]
mod tests;
