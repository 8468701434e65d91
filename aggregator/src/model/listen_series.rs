//! From listening sockets to the addresses shown for each container.
//!
//! A port that docker publishes is an address of the host, at which docker's proxy or its firewall rules lead to the
//! container. It is shown with `proxy="dockerd"`, as 1 while the container has a process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::Model;
use super::containers::{Container, ListenKey, ListenSeries};
use super::listens::addresses_of;
use super::owners::Owner;
use crate::metrics::SeriesLabels;

/// Processes of one namespace that are tried for its addresses.
const PIDS_PER_NAMESPACE: usize = 4;

/// Value of the label `proxy` of published ports.
const DOCKER_PROXY: &str = "dockerd";
/// A process of the host's network namespace.
const HOST_PID: u32 = 1;

/// What each container listens on, and whether it still does.
type Layout = HashMap<usize, BTreeMap<ListenKey, bool>>;

/// Addresses of the network namespaces in which something listens.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    addresses: HashMap<u32, Vec<IpAddr>>,
    /// Addresses not shown because their container had too many.
    over_budget: u64,
}

/// A network namespace whose addresses are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceJob {
    /// Its inode.
    pub netns: u32,
    /// Processes in it, one of which may still be alive.
    pub pids: Vec<u32>,
}

impl Model {
    /// Namespaces with a socket that listens on all addresses, or for which docker does.
    pub fn namespaces_to_read(&self) -> Vec<NamespaceJob> {
        let mut jobs: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for socket in self.listens.sockets.values() {
            if socket.closed_ns.is_some() || !socket.ip.is_unspecified() {
                continue;
            }
            let pids = jobs.entry(socket.netns).or_default();
            if pids.len() < PIDS_PER_NAMESPACE && !pids.contains(&socket.pid) {
                pids.push(socket.pid);
            }
        }
        if self.publishes_on_all_addresses() {
            jobs.insert(self.sensor.host_netns, vec![HOST_PID]);
        }
        jobs.into_iter()
            .map(|(netns, pids)| NamespaceJob { netns, pids })
            .collect()
    }

    fn publishes_on_all_addresses(&self) -> bool {
        let mut published = self
            .containers
            .iter()
            .flat_map(|(_, container)| &container.published);
        self.sensor.host_netns != 0 && published.any(|address| address.ip().is_unspecified())
    }

    /// Takes the addresses of the namespaces that could be read.
    pub fn set_namespace_addresses(&mut self, addresses: HashMap<u32, Vec<IpAddr>>) {
        let wanted: HashSet<u32> = self
            .listens
            .sockets
            .values()
            .map(|socket| socket.netns)
            .chain([self.sensor.host_netns])
            .collect();
        self.namespaces
            .addresses
            .retain(|netns, _| wanted.contains(netns));
        for (netns, ips) in addresses {
            let known = self.namespaces.addresses.entry(netns).or_default();
            if *known != ips {
                *known = ips;
                self.listens_changed = true;
            }
        }
    }

    /// Listening addresses that were not shown for want of budget.
    pub fn listens_over_budget(&self) -> u64 {
        self.namespaces.over_budget + self.listens.refused
    }

    /// Works out anew what each container listens on.
    pub(super) fn lay_out_listens(&mut self) {
        let mut layout = self.lay_out_published();
        let cookies: Vec<u64> = self.listens.sockets.keys().copied().collect();
        for cookie in cookies {
            self.lay_out(cookie, &mut layout);
        }
        let budget = self.settings.listens_per_container;
        let mut over_budget = 0;
        for (index, container) in self.containers.iter_indexed_mut() {
            let wanted = layout.remove(&index).unwrap_or_default();
            over_budget += wanted.len().saturating_sub(budget) as u64;
            container.listens = wanted
                .into_iter()
                .take(budget)
                .map(|(key, open)| {
                    let (address, proxy) = key;
                    let labels = match container.listens.remove(&key) {
                        Some(known) => known.labels,
                        None => SeriesLabels::new(&[
                            ("listen_addr", &address.to_string()),
                            ("proxy", proxy),
                        ]),
                    };
                    (key, ListenSeries { labels, open })
                })
                .collect();
        }
        self.namespaces.over_budget = over_budget;
    }

    fn lay_out_published(&self) -> Layout {
        let host = self.namespaces.addresses.get(&self.sensor.host_netns);
        let host = host.map_or(&[][..], Vec::as_slice);
        let keys = |published: &SocketAddr| {
            let port = published.port();
            let addresses = addresses_of(published.ip(), true, host).into_iter();
            addresses.map(move |ip| (SocketAddr::new(ip, port), DOCKER_PROXY))
        };
        let of_container = |(index, container): (usize, &Container)| {
            let alive = self.containers.is_alive(container, &self.cgroups);
            let published = container.published.iter();
            let tracked = published.filter(|at| self.settings.filter.tracks_port(at.port()));
            let listens = tracked.flat_map(keys).map(|key| (key, alive));
            (index, listens.collect())
        };
        self.containers.iter().map(of_container).collect()
    }

    fn lay_out(&mut self, cookie: u64, layout: &mut Layout) {
        let Some(socket) = self.listens.sockets.get(&cookie) else {
            return;
        };
        if !self.settings.filter.tracks_port(socket.port) {
            return;
        }
        let (workload, executable, port) = (socket.workload, socket.executable, socket.port);
        let open = socket.closed_ns.is_none();
        let is_host = socket.netns == self.sensor.host_netns;
        let namespace = self
            .namespaces
            .addresses
            .get(&socket.netns)
            .map_or(&[][..], Vec::as_slice);
        let addresses = socket.addresses(namespace, is_host);
        let index = match self.container_of(&workload, &executable) {
            Owner::Container(index) => index,
            Owner::Nobody | Owner::NoRoom => return,
            Owner::NotYet => {
                self.listens_changed = true;
                return;
            }
        };
        let of_container = layout.entry(index).or_default();
        for ip in addresses {
            let key = (SocketAddr::new(ip, port), "");
            *of_container.entry(key).or_default() |= open;
        }
    }
}
