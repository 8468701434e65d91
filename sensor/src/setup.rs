//! Gets ready what the stream needs of the node and the kernel, while there are rights to do so.

use nodescope_schema::{
    OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, SensorHello, encode_sensor_hello,
};

use crate::args::Args;
use crate::exit::{Exit, Failure, because};
use crate::host::{self, CgroupTree, Node};
use crate::kernel::{Kernel, LoadError, LoadOptions, MapSizes};
use crate::privilege;

/// Loads the kernel side.
///
/// # Errors
/// The node lacks what nothing works without.
pub fn load(args: &Args) -> Result<(Node, CgroupTree, Kernel), Failure> {
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
    let kernel = Kernel::load(&options).map_err(|error| {
        let denied = matches!(error, LoadError::Permission(_));
        let exit = if denied {
            Exit::NotPermitted
        } else {
            Exit::Unavailable
        };
        Failure::because(exit, &error)
    })?;
    Ok((node, tree, kernel))
}

/// The sensor's first message.
pub fn hello(node: &Node, kernel: &Kernel) -> Vec<u8> {
    encode_sensor_hello(&SensorHello {
        version: PROTOCOL_VERSION,
        oldest_version: OLDEST_PROTOCOL_VERSION,
        release: env!("CARGO_PKG_VERSION"),
        run_id: node.run_id,
        v1_hierarchy: kernel.v1_hierarchy(),
        v1_controllers: kernel.v1_controllers(),
        host_netns: node.netns,
        hostname: &node.hostname,
        kernel_release: &node.kernel_release,
    })
}
