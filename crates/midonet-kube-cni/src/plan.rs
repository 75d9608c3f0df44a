//! What an attachment should be, from the request and the addresses. Pure; ADD makes it, CHECK compares.

use std::net::IpAddr;

use cni::{CniResult, Dns, Error, Interface, Ip, Route, code};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use naming::alias::{MAX_LEN, PortAlias};
use naming::{GATEWAY_MAC, Mac, attachment_mac, pod_host_interface, subnet};
use nodeapi::v1::{BindPortRequest, ReleasePortRequest};
use plumbing::NetNs;

use crate::request::Request;

/// The smallest MTU of a link with IPv6 (RFC 8200, section 5).
const IPV6_MTU: u32 = 1280;

/// The scope of what is reached without a gateway (RT_SCOPE_LINK).
const SCOPE_LINK: u8 = 253;

/// The interfaces of an attachment: what of it needs no addresses, and can be made before there are any.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    inner: String,
    /// The interface on the host.
    pub outer: String,
    mac: Mac,
    alias: String,
    mtu: u32,
    forwarding: Option<bool>,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pair: Pair,
    ips: Vec<(IpNet, IpAddr)>,
    routes: Vec<Route>,
    dns: Dns,
    bind: BindPortRequest,
}

impl Pair {
    /// What ADD makes.
    ///
    /// # Errors
    /// The configuration lacks the MTU, or nobody could tell whose the pair is.
    pub fn new(request: &Request) -> Result<Self, Error> {
        let mac =
            request.mac.unwrap_or_else(|| attachment_mac(&request.env.container_id, &request.env.ifname));
        Self::of_mac(request, mac)
    }

    fn of_mac(request: &Request, mac: Mac) -> Result<Self, Error> {
        let mtu = request.conf.mtu.ok_or_else(|| {
            Error::new(
                code::CONFIG,
                "mtu: missing: midonet-kube-node writes it; use the configuration that it wrote",
            )
        })?;
        let alias = request.alias().encode();
        // What has no room for the Pod's namespace could not be read back, and DEL would not know its own.
        if alias.len() > MAX_LEN || PortAlias::parse(&alias).is_none() {
            let network = request.network();
            let what = if network.is_some() { "CNI_CONTAINERID and name" } else { "CNI_CONTAINERID" };
            let length = request.env.container_id.len() + network.map_or(0, str::len);
            return Err(Error::new(code::ENVIRONMENT, format!("{what}: {length} characters are too many")));
        }
        Ok(Self {
            inner: request.env.ifname.clone(),
            outer: pod_host_interface(&request.pod),
            mac,
            alias,
            mtu,
            // Whether the node forwards, if that is where the Pod's end is to be, is none of our business.
            forwarding: (!request.env.netns_override).then_some(false),
        })
    }

    /// For the kernel, without addresses.
    pub fn attachment<'a>(&self, netns: &'a NetNs) -> plumbing::Attachment<'a> {
        plumbing::Attachment {
            netns: Some(netns),
            inner: self.inner.clone(),
            inner_mac: self.mac.0,
            outer: self.outer.clone(),
            outer_mac: GATEWAY_MAC.0,
            alias: self.alias.clone(),
            mtu: self.mtu,
            addresses: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            forwarding: self.forwarding,
            replace_stale: false,
        }
    }
}

impl Plan {
    /// What ADD makes.
    ///
    /// # Errors
    /// The addresses or routes cannot be used.
    pub fn new(request: &Request, pair: Pair, allocation: CniResult) -> Result<Self, Error> {
        let ips: Vec<_> = allocation
            .ips
            .into_iter()
            .map(|ip| with_gateway(ip.address, ip.gateway))
            .collect::<Result<_, _>>()?;
        let mut routes = allocation.routes;
        if routes.is_empty() {
            routes = default_routes(&ips);
        }
        let dns = request.conf.dns.over(allocation.dns);
        Self::build(request, pair, ips, &routes, dns)
    }

    /// What CHECK expects: the chain's result as it came, and what this plugin adds to it.
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
        Self::build(request, Pair::of_mac(request, mac)?, ips, &routes, result.dns.clone())
    }

    fn build(
        request: &Request,
        pair: Pair,
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
        let routes = routes.iter().map(|route| through_gateway(route, &ips)).collect::<Result<_, _>>()?;
        let bind = BindPortRequest {
            namespace: request.pod.namespace.clone(),
            name: request.pod.name.clone(),
            pod_uid: request.pod_uid.clone().unwrap_or_default(),
            container_id: request.env.container_id.clone(),
            ifname: request.env.ifname.clone(),
            host_ifname: pair.outer.clone(),
            host_ifindex: 0,
            mac: pair.mac.to_string(),
            addresses: ips.iter().map(|(net, _)| net.addr().to_string()).collect(),
            ..BindPortRequest::default()
        };
        Ok(Self { pair, ips, routes, dns, bind })
    }

    /// For the kernel.
    pub fn attachment<'a>(&self, netns: &'a NetNs) -> plumbing::Attachment<'a> {
        let mut gateways: Vec<IpAddr> = self.ips.iter().map(|(_, gateway)| *gateway).collect();
        gateways.sort();
        gateways.dedup();
        let route = |r: &Route| plumbing::Route {
            dst: r.dst,
            via: r.gw,
            mtu: r.mtu,
            advmss: r.advmss,
            priority: r.priority,
            table: r.table,
            scope: r.scope,
        };
        plumbing::Attachment {
            addresses: self.ips.iter().map(|(net, _)| *net).collect(),
            gateways,
            routes: self.routes.iter().map(route).collect(),
            ..self.pair.attachment(netns)
        }
    }

    /// For the agent, with the host interface's index.
    pub fn bind_request(&self, host_ifindex: u32) -> BindPortRequest {
        BindPortRequest { host_ifindex, ..self.bind.clone() }
    }

    /// For the runtime: after what the plugins before made, if any.
    pub fn result(&self, sandbox: &str, before: Option<&CniResult>) -> CniResult {
        let mut result = before.cloned().unwrap_or_default();
        let Pair { inner, outer, mac, mtu, .. } = &self.pair;
        let mtu = Some(*mtu);
        let host =
            Interface { name: outer.clone(), mac: GATEWAY_MAC.to_string(), mtu, ..Interface::default() };
        let (name, mac) = (inner.clone(), mac.to_string());
        let container = Interface { name, mac, mtu, sandbox: sandbox.to_owned(), ..Interface::default() };
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

/// How the agent knows the attachment that is to be released.
pub fn release_request(alias: &PortAlias, outer: &str) -> ReleasePortRequest {
    ReleasePortRequest {
        namespace: alias.pod.namespace.clone(),
        name: alias.pod.name.clone(),
        container_id: alias.container_id.clone(),
        host_ifname: outer.to_owned(),
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

fn default_routes(ips: &[(IpNet, IpAddr)]) -> Vec<Route> {
    let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    let has = |dst: &IpNet| ips.iter().any(|(net, _)| net.addr().is_ipv4() == dst.addr().is_ipv4());
    everything.into_iter().filter(has).map(Route::to).collect()
}

/// The route through its own next hop or the gateway of its family; what is said to be on the link has none.
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
