//! The agent's settings: what each means, its flag and its variable in the environment, and what is wrong with them.

mod logs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use logging::{LogFormat, log_filter};

pub use logs::{Collector, DenyLog, FlowLog, Size};

/// Settings of the running agent.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// This node's name in Kubernetes.
    #[arg(long, env = "MIDONETKUBE_NODENAME", default_value = "", hide_default_value = true)]
    pub node_name: String,

    /// Where all Pods' addresses are from, one CIDR a family, as the controller manager has it.
    #[arg(long, env = "MIDONETKUBE_CLUSTERCIDR", value_delimiter = ',')]
    pub cluster_cidr: Vec<IpNet>,

    /// Where Services' addresses are from, besides the cluster's ServiceCIDRs; the node's own traffic to them then enters
    /// the network.
    #[arg(long, env = "MIDONETKUBE_SERVICECIDR", value_delimiter = ',')]
    pub service_cidr: Vec<IpNet>,

    /// Which network carries the Pods' packets.
    #[arg(long, env = "MIDONETKUBE_NETWORK", value_enum, default_value_t = NetworkKind::Embedded)]
    pub network: NetworkKind,

    /// Whether Services are served here; otherwise kube-proxy has to run on this node. By default on with the embedded
    /// network; with MidoNet it cannot be: MidoNet serves them.
    #[arg(long, env = "MIDONETKUBE_SERVICES", value_enum)]
    pub services: Option<Switch>,

    /// Whether NetworkPolicies and ClusterNetworkPolicies are enforced here; otherwise every Pod of this node reaches
    /// everything, and is reached by everybody. By default on with the embedded network; with MidoNet it cannot be.
    #[arg(long, env = "MIDONETKUBE_POLICY", value_enum)]
    pub policy: Option<Switch>,

    /// Whether externalIPs of Services are served. Whoever may create Services takes any address with them
    /// (CVE-2020-8554).
    #[arg(long, env = "MIDONETKUBE_EXTERNALIPS", value_enum, default_value_t = Switch::On)]
    pub external_ips: Switch,

    /// A kubeconfig file; without it, and without --manifests, the Pod's service account is used.
    #[arg(long, env = "MIDONETKUBE_KUBECONFIG", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, for example https://192.0.2.10:6443.
    #[arg(long, env = "MIDONETKUBE_APISERVER", conflicts_with = "manifests")]
    pub api_server: Option<String>,

    /// Take objects from the Kubernetes manifests in this directory instead of an API server.
    #[arg(long, env = "MIDONETKUBE_MANIFESTS")]
    pub manifests: Option<PathBuf>,

    /// Where things are on this node.
    #[command(flatten)]
    pub paths: Paths,

    /// The IPAM plugin in the CNI configuration: midonet-kube-ipam runs inside the plugin, any other, like
    /// host-local, is executed.
    #[arg(long, env = "MIDONETKUBE_IPAMTYPE", default_value = "midonet-kube-ipam")]
    pub ipam_type: String,

    /// Where the container runtime looks for CNI plugins: an IPAM plugin that is executed has to be there.
    #[arg(long, env = "MIDONETKUBE_CNIBINDIR", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,

    /// How old the last known Nodes on disk may be for a start while the API server is away, such as 36h or 7d; 0s:
    /// they are never used.
    #[arg(long, env = "MIDONETKUBE_CACHEMAXAGE", default_value = "7d", value_parser = humantime::parse_duration)]
    pub cache_max_age: Duration,

    /// The largest packet of a Pod in bytes, instead of the uplink's less the tunnel's overhead. At least 1280 if Pods
    /// have IPv6.
    #[arg(long, env = "MIDONETKUBE_MTU", value_parser = clap::value_parser!(u32).range(576..=65535))]
    pub mtu: Option<u32>,

    /// The UDP port of the tunnels between nodes, the same on every node.
    #[arg(long, env = "MIDONETKUBE_TUNNELPORT", default_value_t = 4789, value_parser = clap::value_parser!(u16).range(1..))]
    pub tunnel_port: u16,

    /// The VXLAN network identifier of the tunnels between nodes, the same on every node.
    #[arg(long, env = "MIDONETKUBE_VNI", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=0xff_ffff))]
    pub vni: u32,

    /// Who writes and removes the headers of tunnels to other nodes. Nodes with either understand each other.
    #[arg(long, env = "MIDONETKUBE_ENCAPSULATION", value_enum, default_value_t = Encapsulation::Auto)]
    pub encapsulation: Encapsulation,

    /// What holds the eBPF programs at the overlay device and the uplink.
    #[arg(long, env = "MIDONETKUBE_HOOK", value_enum, default_value_t = Hook::Auto)]
    pub hook: Hook,

    /// How many Pods this node may have at most: sizes the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXPODS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PODS)))]
    pub max_pods: u32,

    /// How many nodes the cluster may have at most: sizes the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXNODES", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    pub max_nodes: u32,

    /// How many connections are tracked at most; 0: as many as fit into 0.25 % of the node's memory, and at least 131072.
    #[arg(long, env = "MIDONETKUBE_MAXCONNECTIONS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(datapath::MOST_CONNECTIONS)))]
    pub max_connections: u32,

    /// How many ports all Services may have at most, each counted for each protocol and family: sizes the datapath's
    /// tables.
    #[arg(long, env = "MIDONETKUBE_MAXSERVICES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=i64::from(datapath::MOST_SERVICES)))]
    pub max_services: u32,

    /// How many backends the ports of all Services may have together at most: sizes the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXBACKENDS", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..=i64::from(datapath::MOST_BACKENDS)))]
    pub max_backends: u32,

    /// How many single addresses, those of all Pods above all, policies may tell apart at most, and as many blocks: sizes
    /// the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXPOLICYADDRESSES", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_POLICY)))]
    pub max_policy_addresses: u32,

    /// How many entries the policies of all Pods of this node may have at most, one for each direction and kind of peer:
    /// sizes the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXPOLICYENTRIES", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_POLICY)))]
    pub max_policy_entries: u32,

    /// How many rules of policies may be counted at most: sizes the datapath's tables.
    #[arg(long, env = "MIDONETKUBE_MAXPOLICYRULES", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_POLICY)))]
    pub max_policy_rules: u32,

    /// How many rows the table of dropped packets has at most, one for each source, destination, port and rule: when it is
    /// full, the oldest goes.
    #[arg(long, env = "MIDONETKUBE_MAXDROPS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=i64::from(datapath::MOST_DROPS)))]
    pub max_drops: u32,

    /// Whether a record of each connection is kept, for midokube flows. Off, it costs nothing.
    #[arg(long, env = "MIDONETKUBE_FLOWS", value_enum, default_value_t = Switch::Off)]
    pub flows: Switch,

    /// How many flows are kept at most, those that go on in the kernel and those of the last hour in the agent: when there are
    /// more, the oldest goes.
    #[arg(long, env = "MIDONETKUBE_MAXFLOWS", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=i64::from(datapath::MOST_RECORDS)))]
    pub max_flows: u32,

    /// How many events of flows the kernel sends in a second at most: a connection has two, and one every ten seconds. What is
    /// told later or not at all is counted.
    #[arg(long, env = "MIDONETKUBE_FLOWEVENTS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(datapath::MOST_EVENTS)))]
    pub flow_events: u32,

    /// The file of flows, and the collector.
    #[command(flatten)]
    pub flow_log: FlowLog,

    /// The log of denied connections.
    #[command(flatten)]
    pub deny_log: DenyLog,

    /// Whether Pods have Events of what policy denies to them: at most one a Pod and ten a node in a minute. There are none
    /// with --manifests.
    #[arg(long, env = "MIDONETKUBE_POLICYEVENTS", value_enum, default_value_t = Switch::On)]
    pub policy_events: Switch,

    /// At which of this node's addresses NodePorts are served: CIDRs, primary (the Node's InternalIPs), localhost (127.0.0.0/8
    /// and ::1, for the node's own processes), all. The node's address in its podCIDR always counts.
    #[arg(
        long,
        env = "MIDONETKUBE_NODEPORTADDRESSES",
        value_delimiter = ',',
        default_value = "primary,localhost"
    )]
    pub nodeport_addresses: Vec<NodePortAddress>,

    /// Where /metrics, /healthz and /readyz are served; on that port of 127.0.0.1, too.
    #[arg(long, env = "MIDONETKUBE_HTTPLISTEN", default_value = "127.0.0.1:9454")]
    pub http_listen: SocketAddr,

    /// Where /healthz and /livez of Services are served in kube-proxy's place, as load balancers ask for them; 0.0.0.0
    /// and [::] are both families.
    #[arg(long, env = "MIDONETKUBE_PROXYHEALTHADDRESS", default_value = "0.0.0.0:10256")]
    pub proxy_health_address: SocketAddr,

    /// Where /metrics and /proxyMode of Services are served in kube-proxy's place; 0.0.0.0 and [::] are both families.
    #[arg(long, env = "MIDONETKUBE_PROXYMETRICSADDRESS", default_value = "127.0.0.1:10249")]
    pub proxy_metrics_address: SocketAddr,

    /// What to log: a level (error, warn, info, debug, trace) or a filter like info,objects=debug. Libraries stay at info unless named, as in debug,h2=debug.
    #[arg(long, env = "MIDONETKUBE_LOG_LEVEL", default_value = "info", value_parser = log_filter)]
    pub log_level: String,

    /// How to log.
    #[arg(long, env = "MIDONETKUBE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The largest --max-pods that the datapath takes.
pub const MOST_PODS: u32 = datapath::MOST_ENTRIES - 1;

/// The largest --max-nodes that the datapath takes.
pub const MOST_NODES: u32 = (datapath::MOST_ENTRIES - 2) / 2;

/// The largest sizes of policy's tables.
const MOST_POLICY: u32 = 1 << 22;

/// The datapath's ports: the Pods' and the node's own.
pub const fn endpoints(max_pods: u32) -> u32 {
    max_pods.saturating_add(1)
}

/// The datapath's routes: one for each family and node, and those to the clusterCIDRs.
pub const fn routes(max_nodes: u32) -> u32 {
    max_nodes.saturating_mul(2).saturating_add(2)
}

/// Where things are on this node.
#[derive(Debug, Clone, Args)]
pub struct Paths {
    /// Where the CNI configuration is written once Pods can be served.
    #[arg(long, env = "MIDONETKUBE_CNICONFIGPATH", default_value = "/etc/cni/net.d/10-midonet.conflist")]
    pub cni_config_path: PathBuf,

    /// The Unix socket for the CNI plugin and midokube.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    pub socket: PathBuf,

    /// The agent's own directory; it need not survive a reboot.
    #[arg(long, env = "MIDONETKUBE_STATEDIR", default_value = "/run/midonet-kube-node")]
    pub state_dir: PathBuf,

    /// Where the last known Nodes are kept, for a start while the API server is away; it should survive a reboot.
    #[arg(long, env = "MIDONETKUBE_CACHEDIR", default_value = "/var/lib/midonet-kube-node")]
    pub cache_dir: PathBuf,

    /// Where the network's settings (sysctls) are, if /proc/sys is read-only, as in a container without privileges.
    #[arg(long, env = "MIDONETKUBE_SYSCTLDIR", default_value = "/proc/sys/net")]
    pub sysctl_dir: PathBuf,

    /// Where eBPF programs and maps are pinned; on a bpf file system.
    #[arg(long, env = "MIDONETKUBE_BPFDIR", default_value = "/sys/fs/bpf/midonet-kube")]
    pub bpf_dir: PathBuf,

    /// Where the MidoNet agent keeps this host's id, if MidoNet is the network.
    #[arg(long, env = "MIDONETKUBE_MIDONETHOSTID", default_value = "/etc/midonet_host_id.properties")]
    pub midonet_host_id: PathBuf,
}

/// Which network carries the Pods' packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkKind {
    /// The eBPF datapath of this program.
    Embedded,
    /// A MidoNet whose agent runs on this node; midonet-kube-controllers tells it of Pods and Services.
    Midonet,
}

impl NetworkKind {
    /// As the setting has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Midonet => "midonet",
        }
    }
}

/// Who writes and removes the headers of tunnels to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encapsulation {
    /// The eBPF programs, unless the host has IPsec policies, which would not see the tunnels.
    Auto,
    /// The eBPF programs, past the host's network stack: fastest. What they do not handle (an underlay of
    /// IPv6, an uplink without Ethernet headers, fragments) is left to the kernel's VXLAN device.
    Direct,
    /// The kernel's VXLAN device alone: for hosts whose firewall has to see the tunnels.
    Device,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "there is no more to say of them, and the help would say it")]
pub enum Switch {
    On,
    Off,
}

/// What holds the eBPF programs at the overlay device and the uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// tcx links, or clsact filters on a kernel without tcx.
    Auto,
    /// tcx links (Linux 6.6 and later).
    Tcx,
    /// Filters below a clsact qdisc, beside those of others.
    Clsact,
}

/// Addresses of a node where NodePorts are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The Node's InternalIPs.
    Primary,
    /// The loopback addresses.
    Localhost,
    /// All of them.
    All,
    /// Those in a range.
    Cidr(IpNet),
}

impl FromStr for NodePortAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "primary" => Ok(Self::Primary),
            "localhost" => Ok(Self::Localhost),
            "all" => Ok(Self::All),
            cidr => cidr
                .parse()
                .map(Self::Cidr)
                .map_err(|_| "give CIDRs such as 192.0.2.0/24, primary, localhost or all".to_owned()),
        }
    }
}

/// Something wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub problem: String,
    /// What helps.
    pub remedy: String,
}

impl Problem {
    /// A problem.
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// What the manifest has in the place of what only the cluster's owner knows.
const PLACEHOLDER: &str = "FILL-IN";

impl Config {
    /// Everything that is wrong with the settings and can be seen without touching the node.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.node_name.is_empty() {
            let problem = "--node-name (MIDONETKUBE_NODENAME) is missing";
            problems.push(Problem::new(problem, "give this node's name in Kubernetes"));
        }
        if self.cluster_cidr.is_empty() {
            let problem = "--cluster-cidr (MIDONETKUBE_CLUSTERCIDR) is missing";
            problems.push(Problem::new(problem, "give the controller manager's --cluster-cidr"));
        }
        for (flag, cidrs) in [("--cluster-cidr", &self.cluster_cidr), ("--service-cidr", &self.service_cidr)]
        {
            problems.extend(problems_of_cidrs(flag, cidrs));
        }
        for cluster in &self.cluster_cidr {
            for service in self.service_cidr.iter().filter(|s| overlap(s, cluster)) {
                problems.push(Problem::new(
                    format!("--service-cidr {service} overlaps --cluster-cidr {cluster}"),
                    "give those of the API server and of the controller manager",
                ));
            }
        }
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu < 1280)
            && let Some(cidr) = self.cluster_cidr.iter().find(|cidr| cidr.addr().is_ipv6())
        {
            problems.push(Problem::new(
                format!("--mtu {mtu} is too small for the IPv6 addresses of --cluster-cidr {cidr}"),
                "set it to at least 1280 (RFC 8200, section 5), or give Pods IPv4 alone",
            ));
        }
        if let Some(server) = self.api_server.as_ref().filter(|server| server.contains(PLACEHOLDER)) {
            problems.push(Problem::new(
                format!("--api-server (MIDONETKUBE_APISERVER) {server}: the manifest's placeholder is still there"),
                "write the API server's address into kubernetes.endpoint.host of the ConfigMap midonet-kube-config \
                 and restart the DaemonSet",
            ));
        }
        if self.flow_log.file.is_some() && self.flows == Switch::Off {
            problems.push(Problem::new(
                "--flow-log (MIDONETKUBE_FLOWLOG) without --flows on: no flow would be in that file",
                "set --flows on (MIDONETKUBE_FLOWS), or leave --flow-log out",
            ));
        }
        if self.flow_log.collector.is_some() && self.flows == Switch::Off {
            problems.push(Problem::new(
                "--flow-otlp (MIDONETKUBE_FLOWOTLP) without --flows on: no flow would be sent",
                "set --flows on (MIDONETKUBE_FLOWS), or leave --flow-otlp out",
            ));
        }
        if self.network == NetworkKind::Midonet {
            problems.extend(self.problems_with_midonet());
        }
        problems
    }

    /// What cannot be with MidoNet.
    fn problems_with_midonet(&self) -> Vec<Problem> {
        let given = [
            (
                self.services == Some(Switch::On),
                "--services on (MIDONETKUBE_SERVICES)",
                "MidoNet serves them, as midonet-kube-controllers tells it",
            ),
            (
                self.policy == Some(Switch::On),
                "--policy on (MIDONETKUBE_POLICY)",
                "nobody enforces NetworkPolicies and ClusterNetworkPolicies then",
            ),
            (
                self.deny_log.file.is_some(),
                "--deny-log (MIDONETKUBE_DENYLOG)",
                "no policy is enforced that could deny anything",
            ),
            (
                self.flows == Switch::On,
                "--flows on (MIDONETKUBE_FLOWS)",
                "connections are MidoNet's, and nothing here could record them",
            ),
        ];
        let given = given.into_iter().filter(|(is_given, ..)| *is_given).map(|(_, what, why)| {
            Problem::new(
                format!("{what} cannot be with --network midonet: {why}"),
                "leave it out, or use --network embedded",
            )
        });
        let ipv6 = self.cluster_cidr.iter().chain(&self.service_cidr).filter(|cidr| cidr.addr().is_ipv6());
        let ipv6 = ipv6.map(|cidr| {
            Problem::new(
                format!("{cidr} cannot be with --network midonet: midonet-kube-controllers gives MidoNet IPv4 alone"),
                "leave it out of --cluster-cidr and --service-cidr, or use --network embedded",
            )
        });
        given.chain(ipv6).collect()
    }

    /// Whether Services are served by this agent.
    pub fn serves_services(&self) -> bool {
        self.is_on(self.services)
    }

    /// Whether policies are enforced by this agent.
    pub fn enforces_policy(&self) -> bool {
        self.is_on(self.policy)
    }

    /// What only the embedded network does is done unless somebody switched it off.
    fn is_on(&self, switch: Option<Switch>) -> bool {
        self.network == NetworkKind::Embedded && switch != Some(Switch::Off)
    }
}

fn problems_of_cidrs(flag: &str, cidrs: &[IpNet]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for cidr in cidrs.iter().filter(|c| c.addr() != c.network()) {
        let problem = format!("{flag} {cidr} has bits set behind its prefix");
        problems.push(Problem::new(problem, format!("write {}", cidr.trunc())));
    }
    for (i, a) in cidrs.iter().enumerate() {
        for b in cidrs.iter().skip(i + 1).filter(|b| overlap(a, b)) {
            problems.push(Problem::new(
                format!("{flag} has {a} and {b}, which overlap"),
                "leave one of them out",
            ));
        }
    }
    problems
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
impl Config {
    /// The settings that these flags give.
    pub(crate) fn try_from_flags<T: AsRef<str>>(
        flags: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        use clap::FromArgMatches;
        let words = flags.into_iter().map(|flag| flag.as_ref().to_owned());
        let command = Self::augment_args(clap::Command::new("midonet-kube-node"));
        let matches =
            command.try_get_matches_from(std::iter::once("midonet-kube-node".to_owned()).chain(words))?;
        Self::from_arg_matches(&matches)
    }

    /// The same of flags that are right.
    pub(crate) fn from_flags<T: AsRef<str>>(flags: impl IntoIterator<Item = T>) -> Self {
        Self::try_from_flags(flags).unwrap()
    }
}

#[cfg(test)]
mod tests;
