//! Gets ready what the stream needs of the node and the kernel, while there are rights to do so.

use nodescope_schema::{
    OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, SensorHello, encode_sensor_hello,
};

use crate::args::Args;
use crate::exit::{Exit, Failure, because};
use crate::held_logs::HeldLogs;
use crate::host::{self, CgroupTree, Node};
use crate::kernel::executables::Executables;
use crate::kernel::{Kernel, LoadError, LoadOptions, MapSizes, Plain, Source};
use crate::privilege;

/// What was got ready.
pub struct Loaded {
    /// Of the node.
    pub node: Node,
    /// To be kept as long as the source.
    pub tree: CgroupTree,
    /// Where records come from.
    pub source: Box<dyn Source>,
    /// The sensor's first message.
    pub hello: Vec<u8>,
    /// The logs that processes hold open, for who opens them.
    pub held_logs: HeldLogs,
    /// What asks for the files that processes execute, for who opens them.
    pub executables: Executables,
    /// Why there is no BPF; none when there is.
    pub without_bpf: Option<String>,
}

/// Loads the kernel side, or does without it where the kernel does not have what it takes.
///
/// # Errors
/// Rights are missing, or the node lacks what nothing works without.
pub fn load(args: &Args) -> Result<Loaded, Failure> {
    let node = host::node().map_err(because(Exit::Unavailable))?;
    let tree = host::cgroup_tree().map_err(because(Exit::Unavailable))?;
    privilege::lift_memory_lock_limit();
    let usual = MapSizes::default();
    let sizes = MapSizes {
        flows: args.max_flows.unwrap_or(usual.flows),
        listens: args.max_listens.unwrap_or(usual.listens),
        processes: args.max_processes.unwrap_or(usual.processes),
        populations: args.max_cgroups.unwrap_or(usual.populations),
        cgroups: args.max_cgroups.unwrap_or(usual.cgroups),
        ..usual
    };
    let usual = LoadOptions::new(tree.path.clone(), node.netns);
    let options = LoadOptions {
        sizes,
        every_netns: args.nat_in_containers,
        conntrack_events: args.conntrack_events,
        taskstats: args.taskstats,
        evict_idle: args.flow_idle.unwrap_or(usual.evict_idle),
        ..usual
    };
    match Kernel::load(&options) {
        Ok(mut kernel) => Ok(Loaded {
            hello: hello(&node, kernel.v1_hierarchy(), kernel.v1_controllers()),
            held_logs: kernel.held_logs().clone(),
            executables: kernel.take_executables(),
            source: Box::new(kernel),
            node,
            tree,
            without_bpf: None,
        }),
        Err(error @ (LoadError::NoBtf(_) | LoadError::NoBpf(_) | LoadError::Blind(_))) => {
            without_bpf(node, tree, &options, error.to_string())
        }
        Err(error @ LoadError::Permission(_)) => Err(Failure::because(Exit::NotPermitted, &error)),
        Err(error) => Err(Failure::because(Exit::Unavailable, &error)),
    }
}

fn without_bpf(
    node: Node,
    tree: CgroupTree,
    options: &LoadOptions,
    reason: String,
) -> Result<Loaded, Failure> {
    let plain = Plain::start(options, &reason).map_err(because(Exit::Unavailable))?;
    let (number, controllers) = plain.v1_hierarchy();
    Ok(Loaded {
        hello: hello(&node, number, controllers),
        held_logs: HeldLogs::default(),
        executables: Executables::default(),
        source: Box::new(plain),
        node,
        tree,
        without_bpf: Some(reason),
    })
}

fn hello(node: &Node, v1_hierarchy: u32, v1_controllers: &str) -> Vec<u8> {
    encode_sensor_hello(&SensorHello {
        version: PROTOCOL_VERSION,
        oldest_version: OLDEST_PROTOCOL_VERSION,
        release: env!("CARGO_PKG_VERSION"),
        run_id: node.run_id,
        v1_hierarchy,
        v1_controllers,
        host_netns: node.netns,
        hostname: &node.hostname,
        kernel_release: &node.kernel_release,
    })
}
