//! What an attachment should be, from the request and the addresses. Pure; ADD makes it, CHECK compares.

use std::net::IpAddr;

use cni::{CniResult, Dns, Error, Interface, Ip, Route, code};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use naming::alias::{MAX_LEN, PortAlias};
use naming::{GATEWAY_MAC, Mac, attachment_mac, pod_host_interface, subnet};
use nodeapi::v1::{BindPortRequest, ReleasePortRequest};
use plumbing::KernelRoute;
use plumbing::veth::VethPair;

use crate::request::Request;

/// The smallest MTU of a link with IPv6 (RFC 8200, section 5).
const IPV6_MTU: u32 = 1280;

/// The scope of what is reached without a gateway (RT_SCOPE_LINK).
const SCOPE_LINK: u8 = 253;

/// An attachment: the veth pair, whose it is, and what of its result the kernel does not have.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For the kernel.
    pub pair: VethPair,
    owner: PortAlias,
    ips: Vec<(IpNet, IpAddr)>,
    routes: Vec<Route>,
    dns: Dns,
}

/// The veth pair of ADD, without addresses and routes: it can be created before there are any.
///
/// # Errors
/// The configuration lacks the MTU, or the owner does not fit into the alias.
pub fn veth_pair(request: &Request) -> Result<VethPair, Error> {
    let mac = request.mac.unwrap_or_else(|| attachment_mac(&request.env.container_id, &request.env.ifname));
    veth_pair_with(request, mac)
}

fn veth_pair_with(request: &Request, mac: Mac) -> Result<VethPair, Error> {
    let mtu = request.conf.mtu.ok_or_else(|| {
        Error::new(
            code::CONFIG,
            "mtu: missing: midonet-kube-node writes it; use the configuration that it wrote",
        )
    })?;
    let alias = request.alias().encode();
    // An alias that lacks the Pod's namespace could not be parsed, and DEL would not know its own interface.
    if alias.len() > MAX_LEN || PortAlias::parse(&alias).is_none() {
        let network = request.network();
        let what = if network.is_some() { "CNI_CONTAINERID and name" } else { "CNI_CONTAINERID" };
        let length = request.env.container_id.len() + network.map_or(0, str::len);
        return Err(Error::new(code::ENVIRONMENT, format!("{what}: {length} characters are too many")));
    }
    Ok(VethPair {
        ifname: request.env.ifname.clone(),
        mac: mac.0,
        host_ifname: pod_host_interface(&request.pod),
        host_mac: GATEWAY_MAC.0,
        alias,
        mtu,
        addresses: Vec::new(),
        gateways: Vec::new(),
        routes: Vec::new(),
        // If the container's namespace is the node's own, its forwarding is left as it is.
        forwarding: (!request.env.netns_override).then_some(false),
        replace_stale: false,
        in_block: true,
    })
}

impl Plan {
    /// The attachment of ADD, with the result of IPAM.
    ///
    /// # Errors
    /// The addresses or routes cannot be used.
    pub fn new(request: &Request, pair: VethPair, ipam: CniResult) -> Result<Self, Error> {
        let ips: Vec<_> =
            ipam.ips.into_iter().map(|ip| with_gateway(ip.address, ip.gateway)).collect::<Result<_, _>>()?;
        let mut routes = ipam.routes;
        if routes.is_empty() {
            routes = default_routes(&ips);
        }
        let dns = request.conf.dns.over(ipam.dns);
        Self::build(request, pair, ips, &routes, dns)
    }

    /// The attachment that CHECK expects: the chain's result, and what this plugin adds to it.
    ///
    /// # Errors
    /// The result does not know the interface.
    pub fn of_result(request: &Request, result: &CniResult) -> Result<Self, Error> {
        let wrong = |what: String| Error::new(code::CONFIG, format!("prevResult: {what}"));
        let ifname = &request.env.ifname;
        let (index, interface) = result
            .interfaces
            .iter()
            .enumerate()
            .filter(|(_, i)| i.name == *ifname && !i.sandbox.is_empty())
            // Another plugin may have made one of that name in another sandbox.
            .max_by_key(|(_, i)| Some(&i.sandbox) == request.env.netns.as_ref())
            .ok_or_else(|| wrong(format!("it has no interface {ifname} in a sandbox")))?;
        let mac = interface.mac.parse().map_err(|error| wrong(format!("{ifname}: {error}")))?;
        let ips: Vec<_> = result
            .ips
            .iter()
            .filter(|ip| ip.interface == Some(index))
            .map(|ip| with_gateway(ip.address, ip.gateway))
            .collect::<Result<_, _>>()?;
        // Routes through other next hops are other plugins'.
        let ours = |route: &&Route| route.gw.is_some_and(|gw| ips.iter().any(|(_, gateway)| *gateway == gw));
        let routes: Vec<Route> = result.routes.iter().filter(ours).cloned().collect();
        Self::build(request, veth_pair_with(request, mac)?, ips, &routes, result.dns.clone())
    }

    fn build(
        request: &Request,
        mut pair: VethPair,
        ips: Vec<(IpNet, IpAddr)>,
        routes: &[Route],
        dns: Dns,
    ) -> Result<Self, Error> {
        let mtu = pair.mtu;
        if mtu < IPV6_MTU && ips.iter().any(|(net, _)| net.addr().is_ipv6()) {
            return Err(Error::new(
                code::CONFIG,
                format!("mtu: {mtu}: IPv6 needs at least {IPV6_MTU} bytes"),
            ));
        }
        if ips.is_empty() {
            return Err(Error::new(code::ADDRESSES, "there is no address for the interface"));
        }
        let routes: Vec<Route> =
            routes.iter().map(|route| through_gateway(route, &ips)).collect::<Result<_, _>>()?;
        pair.addresses = ips.iter().map(|(net, _)| *net).collect();
        pair.gateways = ips.iter().map(|(_, gateway)| *gateway).collect();
        pair.gateways.sort();
        pair.gateways.dedup();
        pair.routes = routes.iter().map(kernel_route).collect();
        Ok(Self { pair, owner: request.alias(), ips, routes, dns })
    }

    /// For the agent, with the host side's ifindex.
    pub fn bind_request(&self, host_ifindex: u32) -> BindPortRequest {
        let PortAlias { pod, container_id, ifname, pod_uid, .. } = self.owner.clone();
        BindPortRequest {
            namespace: pod.namespace,
            name: pod.name,
            pod_uid: pod_uid.unwrap_or_default(),
            container_id,
            ifname,
            host_ifname: self.pair.host_ifname.clone(),
            host_ifindex,
            mac: Mac(self.pair.mac).to_string(),
            addresses: self.pair.addresses.iter().map(|net| net.addr().to_string()).collect(),
            ..BindPortRequest::default()
        }
    }

    /// For the runtime: appended to the result of the plugins before, if any.
    pub fn result(&self, sandbox: &str, before: Option<&CniResult>) -> CniResult {
        let mut result = before.cloned().unwrap_or_default();
        let VethPair { ifname, mac, host_ifname, host_mac, mtu, .. } = &self.pair;
        let interface = |name: &str, mac: &[u8; 6], sandbox: &str| Interface {
            name: name.to_owned(),
            mac: Mac(*mac).to_string(),
            mtu: Some(*mtu),
            sandbox: sandbox.to_owned(),
            ..Interface::default()
        };
        let host = interface(host_ifname, host_mac, "");
        let container = interface(ifname, mac, sandbox);
        let index = result.interfaces.len() + 1;
        result.interfaces.extend([host, container]);
        let ip = |(address, gateway): &(IpNet, IpAddr)| Ip {
            interface: Some(index),
            address: *address,
            gateway: Some(*gateway),
        };
        result.ips.extend(self.ips.iter().map(ip));
        result.routes.extend(self.routes.iter().cloned());
        if self.dns != Dns::default() || before.is_none() {
            result.dns = self.dns.clone();
        }
        result
    }
}

/// The request to the agent to release an attachment.
pub fn release_request(owner: &PortAlias, host_ifname: &str) -> ReleasePortRequest {
    ReleasePortRequest {
        namespace: owner.pod.namespace.clone(),
        name: owner.pod.name.clone(),
        container_id: owner.container_id.clone(),
        host_ifname: host_ifname.to_owned(),
        ..ReleasePortRequest::default()
    }
}

/// An address and its gateway: by default the subnet's first host, where the virtual gateway is.
fn with_gateway(net: IpNet, gateway: Option<IpAddr>) -> Result<(IpNet, IpAddr), Error> {
    let bad = |what: String| Error::new(code::ADDRESSES, what);
    let (virtual_gateway, node) = (subnet::gateway(net.trunc()), subnet::node(net.trunc()));
    let gateway = match (gateway, &virtual_gateway) {
        (Some(gateway), _) => gateway,
        (None, Ok(first)) => *first,
        (None, Err(error)) => return Err(bad(format!("IPAM gave {net} without a gateway, and {error}"))),
    };
    let address = net.addr();
    if gateway.is_ipv4() != address.is_ipv4() {
        return Err(bad(format!("IPAM gave {net} with the gateway {gateway} of the other family")));
    }
    let holder = if address == gateway || virtual_gateway.is_ok_and(|first| first == address) {
        Some("the gateway")
    } else if node.is_ok_and(|node| node == address) {
        Some("the node")
    } else {
        None
    };
    if names_the_subnet(net) {
        return Err(bad(format!(
            "IPAM gave the Pod {net}, which means the whole subnet, not one host of it"
        )));
    }
    match holder {
        Some(holder) => Err(bad(format!(
            "IPAM gave the Pod {address}, which belongs to {holder}: let the range start at the subnet's third \
             address (ipam.ranges[].rangeStart)"
        ))),
        None => Ok((net, gateway)),
    }
}

/// The subnet's first address (IPv6: RFC 4291, section 2.6.1) and IPv4's broadcast, where it has them.
fn names_the_subnet(net: IpNet) -> bool {
    let hosts = net.max_prefix_len() - net.prefix_len();
    hosts > 1 && (net.addr() == net.network() || (net.addr().is_ipv4() && net.addr() == net.broadcast()))
}

fn kernel_route(route: &Route) -> KernelRoute {
    KernelRoute {
        dst: route.dst,
        via: route.gw,
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    }
}

fn default_routes(ips: &[(IpNet, IpAddr)]) -> Vec<Route> {
    let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    let has = |dst: &IpNet| ips.iter().any(|(net, _)| net.addr().is_ipv4() == dst.addr().is_ipv4());
    everything.into_iter().filter(has).map(Route::to).collect()
}

/// The route with its own next hop or the gateway of its family; a route with the scope of the link has none.
fn through_gateway(route: &Route, ips: &[(IpNet, IpAddr)]) -> Result<Route, Error> {
    let dst = route.dst;
    if route.gw.is_none() && route.scope.is_some_and(|scope| scope >= SCOPE_LINK) {
        return Ok(route.clone());
    }
    let family = |ip: IpAddr| ip.is_ipv4() == dst.addr().is_ipv4();
    let gateway = route.gw.or_else(|| ips.iter().map(|(_, gateway)| *gateway).find(|g| family(*g)));
    match gateway {
        Some(gw) if family(gw) => Ok(Route { gw: Some(gw), ..route.clone() }),
        _ => Err(Error::new(
            code::ADDRESSES,
            format!("routes: no address of the Pod has a gateway for the route to {dst}"),
        )),
    }
}

#[cfg(test)]
mod tests;
