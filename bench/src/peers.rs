//! The peers' networks, in nodes of a lab that has no agents: what their shapes come down to, without
//! their rules, which flatters them.

pub(crate) mod flanneld;
pub(crate) mod proxy;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Target};
use plumbing::{Family, NetNs};

use crate::traffic::Path;

/// The MTU of every Pod, ours and the peers': 1500 less the tunnel's header.
const MTU: u32 = 1450;

/// One node with namespaces for Pods.
pub(crate) struct Node<'a> {
    lab: &'a Lab,
    name: &'a str,
}

impl<'a> Node<'a> {
    pub(crate) fn new(lab: &'a Lab, name: &'a str) -> Self {
        Self { lab, name }
    }

    fn run(&self, program: &str, words: &str) -> Result<()> {
        let what = || format!("{program} {words} on {}", self.name);
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let child = self.lab.enter(&Target::Node(self.name.to_owned()), &mut command).with_context(what)?;
        let output = child.wait_with_output().with_context(what)?;
        ensure!(output.status.success(), "{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn ip(&self, lines: &[&str]) -> Result<()> {
        lines.iter().try_for_each(|line| self.run("ip", line))
    }

    /// Makes a Pod's namespace.
    fn pod(&self, name: &str) -> Result<()> {
        self.ip(&[&format!("netns add {name}"), &format!("-n {name} link set lo up")])
    }

    pub(crate) fn netns(&self, pod: &str) -> Result<NetNs> {
        let init = self.lab.state()?.node(self.name)?.init;
        Ok(NetNs::open(&PathBuf::from(format!("/proc/{}/root/run/netns/{pod}", init.pid)))?)
    }

    fn forward(&self) -> Result<()> {
        let node = self.lab.netns(&Target::Node(self.name.to_owned()))?;
        node.run(|| plumbing::sysctl::enable_forwarding(&[Family::V4]))??;
        Ok(())
    }

    fn path(&self, from: &str, to: &str, address: &str) -> Result<Path> {
        Ok(Path::between(self.netns(from)?, self.netns(to)?, address.parse()?))
    }

    /// A Pod with an interface, the other end of which is `outer` in the node.
    fn wired(&self, pod: &str, outer: &str, address: &str) -> Result<()> {
        self.pod(pod)?;
        self.ip(&[
            &format!("link add {outer} mtu {MTU} type veth peer name eth0 mtu {MTU} netns {pod}"),
            &format!("link set {outer} up"),
            &format!("-n {pod} addr add {address} dev eth0"),
            &format!("-n {pod} link set eth0 up"),
        ])
    }
}

/// One namespace, its loopback interface.
pub(crate) fn loopback(node: &Node<'_>) -> Result<Path> {
    node.pod("a")?;
    node.path("a", "a", "127.0.0.1")
}

/// Two namespaces, one veth pair.
pub(crate) fn veth(node: &Node<'_>) -> Result<Path> {
    node.pod("a")?;
    node.pod("b")?;
    node.ip(&[
        &format!("-n a link add eth0 mtu {MTU} type veth peer name eth0 mtu {MTU} netns b"),
        "-n a addr add 10.60.0.2/24 dev eth0",
        "-n b addr add 10.60.0.3/24 dev eth0",
        "-n a link set eth0 up",
        "-n b link set eth0 up",
    ])?;
    node.path("a", "b", "10.60.0.3")
}

/// Two Pods on a bridge.
pub(crate) fn bridge(node: &Node<'_>) -> Result<Path> {
    make_bridge(node, "10.61.0.1/24")?;
    bridged(node, "a", "10.61.0.2/24", "10.61.0.1")?;
    bridged(node, "b", "10.61.0.3/24", "10.61.0.1")?;
    node.path("a", "b", "10.61.0.3")
}

fn make_bridge(node: &Node<'_>, address: &str) -> Result<()> {
    node.ip(&[
        &format!("link add cni0 mtu {MTU} type bridge"),
        &format!("addr add {address} dev cni0"),
        "link set cni0 up",
    ])?;
    node.forward()
}

fn bridged(node: &Node<'_>, pod: &str, address: &str, gateway: &str) -> Result<()> {
    let outer = format!("veth-{pod}");
    node.wired(pod, &outer, address)?;
    node.ip(&[
        &format!("link set {outer} master cni0"),
        &format!("-n {pod} route add default via {gateway}"),
    ])?;
    node.run("bridge", &format!("link set dev {outer} hairpin on"))
}

/// Two Pods, each at its own end of a veth pair that the node routes to, as the plugin ptp does.
pub(crate) fn routed(node: &Node<'_>) -> Result<Path> {
    route_to(node, &[("a", "10.62.0.2"), ("b", "10.62.0.3")])?;
    node.path("a", "b", "10.62.0.3")
}

/// Pods, by name and address, each at its own end of a veth pair that the node routes to.
pub(crate) fn route_to(node: &Node<'_>, pods: &[(&str, &str)]) -> Result<()> {
    let gateway = "10.62.0.1";
    for (pod, address) in pods {
        node.wired(pod, &format!("veth-{pod}"), &format!("{address}/32"))?;
        node.ip(&[
            &format!("addr add {gateway}/32 dev veth-{pod}"),
            &format!("route add {address}/32 dev veth-{pod}"),
            &format!("-n {pod} route add {gateway}/32 dev eth0"),
            &format!("-n {pod} route add default via {gateway}"),
        ])?;
    }
    node.forward()
}

/// A Pod on a bridge on each of two nodes, and a VXLAN device with fixed entries between them.
pub(crate) fn flannel(near: &Node<'_>, far: &Node<'_>) -> Result<Path> {
    let (near_address, far_address) = (underlay(near)?, underlay(far)?);
    half(near, 1, near_address, 2, far_address)?;
    half(far, 2, far_address, 1, near_address)?;
    Ok(Path::between(near.netns("a")?, far.netns("a")?, "10.63.2.2".parse()?))
}

fn half(node: &Node<'_>, own: u8, local: IpAddr, other: u8, remote: IpAddr) -> Result<()> {
    make_bridge(node, &format!("10.63.{own}.1/24"))?;
    bridged(node, "a", &format!("10.63.{own}.2/24"), &format!("10.63.{own}.1"))?;
    let mac = |n: u8| format!("02:00:00:00:63:{n:02x}");
    node.ip(&[
        &format!(
            "link add flannel.1 address {} mtu {MTU} type vxlan id 1 local {local} dev eth0 dstport 8472 nolearning noudpcsum",
            mac(own)
        ),
        &format!("addr add 10.63.{own}.0/32 dev flannel.1"),
        "link set flannel.1 up",
        &format!("neigh add 10.63.{other}.0 lladdr {} dev flannel.1 nud permanent", mac(other)),
        &format!("route add 10.63.{other}.0/24 via 10.63.{other}.0 dev flannel.1 onlink"),
    ])?;
    node.run("bridge", &format!("fdb append {} dev flannel.1 dst {remote} self permanent", mac(other)))
}

fn underlay(node: &Node<'_>) -> Result<IpAddr> {
    let state = node.lab.state()?;
    let address = state.node(node.name)?.addresses.first().copied();
    address.with_context(|| format!("{} has no address on the underlay", node.name))
}
