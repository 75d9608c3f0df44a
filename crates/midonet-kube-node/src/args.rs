//! What the agent is told on its command line and in its environment.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The node agent of midonet-kube: the Pod network of one Kubernetes node.
#[derive(Debug, Parser)]
#[command(name = "midonet-kube-node", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; without one the agent runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The agent's settings.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  In a DaemonSet (the service account's token, an explicit API server, since no ClusterIP works yet):
    midonet-kube-node --node-name $(NODE) --cluster-cidr 10.244.0.0/16 --api-server https://192.0.2.10:6443
  Without Kubernetes, Nodes from a folder of manifests:
    midonet-kube-node --node-name node1 --cluster-cidr 10.244.0.0/16,fd44::/48 --manifests /etc/midonet-kube/objects
  Settings can also be given in the environment: [env: ...] beside a flag has the variable's name. A flag counts before
  its variable.";

/// What the program can do besides running the agent.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look whether this node and its cluster have everything that the network needs; takes the agent's settings.
    ///
    /// Names everything for which the agent would not start or not become ready, and a remedy. INVALID: a setting is
    /// wrong. MISSING: something is not there. An agent may run meanwhile. Ends with 1 if something is invalid or
    /// missing, else with 0; a warning changes nothing.
    Check(Box<CheckArgs>),
    /// Remove the network from this node: everything that agent and plugins have made.
    Uninstall(UninstallArgs),
    /// Copy the CNI plugin that lies beside this program, and this program, into the runtime's folder of plugins.
    Install {
        /// Where the container runtime looks for CNI plugins.
        #[arg(long, env = "MIDONETKUBE_CNIBINDIR", default_value = "/opt/cni/bin")]
        cni_bin_dir: PathBuf,
    },
    /// Do nothing until SIGTERM: keeps a Pod there whose init containers did the work.
    Pause,
}

/// What is looked at, and how it is told.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// How to print the findings.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// The agent's settings.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line a finding.
    Text,
    /// One JSON document: apiVersion, kind, version, node, ok, and findings, each with what, state (ok, warning,
    /// invalid or missing), and unless it is ok problem and remedy.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What is removed, and from where.
#[derive(Debug, Clone, Args)]
pub struct UninstallArgs {
    /// Where things are on this node.
    #[command(flatten)]
    pub paths: Paths,

    /// Where the container runtime looks for CNI plugins.
    #[arg(long, env = "MIDONETKUBE_CNIBINDIR", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,

    /// Where the Pods' addresses are kept.
    #[arg(long, default_value = "/var/lib/cni/networks/midonet-pod-network")]
    pub ipam_dir: PathBuf,

    /// Also if Pods still have interfaces: they lose their network.
    #[arg(long)]
    pub force: bool,
}

/// Settings of the running agent.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// This node's name in Kubernetes.
    #[arg(long, env = "MIDONETKUBE_NODENAME", default_value = "", hide_default_value = true)]
    pub node_name: String,

    /// Where all Pods' addresses are from, one CIDR a family, as the controller manager has it.
    #[arg(long, env = "MIDONETKUBE_CLUSTERCIDR", value_delimiter = ',')]
    pub cluster_cidr: Vec<IpNet>,

    /// Where Services' addresses are from; the node's own traffic to them then enters the network.
    #[arg(long, env = "MIDONETKUBE_SERVICECIDR", value_delimiter = ',')]
    pub service_cidr: Vec<IpNet>,

    /// Which network carries the Pods' packets.
    #[arg(long, env = "MIDONETKUBE_NETWORK", value_enum, default_value_t = NetworkKind::Embedded)]
    pub network: NetworkKind,

    /// A kubeconfig file; without it, and without --manifests, the Pod's service account is used.
    #[arg(long, env = "MIDONETKUBE_KUBECONFIG", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, for example https://192.0.2.10:6443.
    #[arg(long, env = "MIDONETKUBE_APISERVER", conflicts_with = "manifests")]
    pub api_server: Option<String>,

    /// Take objects from the Kubernetes manifests in this folder instead of an API server.
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

    /// Where /metrics, /healthz and /readyz are served; on that port of 127.0.0.1, too.
    #[arg(long, env = "MIDONETKUBE_HTTPLISTEN", default_value = "127.0.0.1:9454")]
    pub http_listen: SocketAddr,

    /// What to log: a level (error, warn, info, debug, trace) or a filter like info,objects=debug.
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

    /// The agent's own folder; it need not survive a reboot.
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
}

/// Which network carries the Pods' packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkKind {
    /// The eBPF datapath of this program.
    Embedded,
    /// A MidoNet that runs elsewhere.
    Midonet,
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Paths {
    /// The file of the last known Nodes.
    pub fn nodes(&self) -> PathBuf {
        self.cache_dir.join("nodes.json")
    }
}

/// The prefix of all settings in the environment.
const PREFIX: &str = "MIDONETKUBE_";

/// Keys of the manifest's ConfigMap that the manifest itself reads; they come with the prefix, too.
const MANIFEST_KEYS: [&str; 4] =
    ["cluster.cidr", "service.cidr", "kubernetes.endpoint.host", "kubernetes.endpoint.port"];

/// What in an environment of these names looks like a setting and is none.
pub fn unknown_settings(names: impl Iterator<Item = String>) -> Vec<Problem> {
    let command = Cli::command();
    let all =
        std::iter::once(&command).chain(command.get_subcommands()).flat_map(clap::Command::get_arguments);
    let known: BTreeSet<&str> = all.filter_map(|argument| argument.get_env()?.to_str()).collect();
    let bare = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
    };
    let is_unknown = |name: &String| {
        name.strip_prefix(PREFIX)
            .is_some_and(|key| !known.contains(name.as_str()) && !MANIFEST_KEYS.contains(&key))
    };
    let problem = |name: String| match known.iter().find(|known| bare(known) == bare(&name)) {
        Some(meant) => {
            Problem::new(format!("{name} in the environment is no setting"), format!("write {meant}"))
        }
        None => {
            let all = known.iter().copied().collect::<Vec<_>>().join(", ");
            Problem::new(format!("{name} in the environment is no setting"), format!("there are {all}"))
        }
    };
    names.filter(is_unknown).map(problem).collect()
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
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

/// What the manifest has in the place of what only the cluster's owner knows.
const PLACEHOLDER: &str = "FILL-IN";

impl RunArgs {
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
        if self.network == NetworkKind::Midonet {
            problems.push(Problem::new("--network midonet is not supported yet", "use --network embedded"));
        }
        problems
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

/// What is logged: the text as it was given, if it is a filter.
fn log_filter(text: &str) -> Result<String, String> {
    let allowed = "give a level (error, warn, info, debug, trace or off) or a filter like info,objects=debug";
    // A word that is no level would be taken for the name of a part of the program, and silence all others.
    // The library takes nothing at all for a level, too.
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let unknown = |part: &&str| !part.contains(['=', '[']) && !is_level(part);
    if let Some(part) = text.split(',').find(unknown) {
        return Err(format!("{part:?} is no level: {allowed}"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}: {allowed}")),
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> RunArgs {
        Cli::try_parse_from(["midonet-kube-node"].into_iter().chain(args.split_whitespace())).unwrap().run
    }

    fn problems(args: &str) -> Vec<String> {
        let problems = parse(args).problems();
        problems.into_iter().map(|Problem { problem, remedy }| format!("{problem}; {remedy}")).collect()
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = problems("--service-cidr 10.96.0.1/16 --network midonet");
        let all = problems.join("\n");
        for part in ["--node-name", "--cluster-cidr", "10.96.0.0/16", "--network midonet"] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert_eq!(problems.len(), 4);
    }

    #[test]
    fn cidrs_must_not_overlap() {
        let all = |args: &str| problems(&format!("--node-name n {args}")).join("\n");
        assert_eq!(all("--cluster-cidr 10.244.0.0/16,fd44::/48 --service-cidr 10.96.0.0/16"), "");
        assert!(all("--cluster-cidr 10.0.0.0/8,10.244.0.0/16").contains("overlap"));
        assert!(
            all("--cluster-cidr 10.0.0.0/8 --service-cidr 10.96.0.0/16").contains("overlaps --cluster-cidr")
        );
    }

    #[test]
    fn what_only_looks_like_a_setting_is_told() {
        let problems = |names: &[&str]| unknown_settings(names.iter().map(|name| (*name).to_owned()));
        for fine in [
            "MIDONETKUBE_MTU",
            "MIDONETKUBE_CNIBINDIR",
            "MIDONETKUBE_cluster.cidr",
            "MIDOKUBE_X",
            "PATH",
            "mtu",
        ] {
            assert_eq!(problems(&[fine]), Vec::new());
        }
        let told = problems(&["MIDONETKUBE_mtu", "MIDONETKUBE_log.level", "MIDONETKUBE_MTTU"]);
        for (problem, want) in told.iter().zip([
            "MIDONETKUBE_mtu in the environment is no setting; write MIDONETKUBE_MTU",
            "MIDONETKUBE_log.level in the environment is no setting; write MIDONETKUBE_LOG_LEVEL",
            "MIDONETKUBE_MTTU in the environment is no setting; there are MIDONETKUBE_APISERVER, ",
        ]) {
            let text = format!("{}; {}", problem.problem, problem.remedy);
            assert!(text.starts_with(want), "{text}");
        }
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn the_manifests_placeholder_is_recognised() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/midonet-kube.yaml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let (_, rest) = manifest.split_once("kubernetes.endpoint.host: \"").unwrap();
        let (host, _) = rest.split_once('"').unwrap();
        let problems =
            problems(&format!("--node-name n --cluster-cidr 10.0.0.0/8 --api-server https://{host}:6443"));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("placeholder") && problems[0].contains("ConfigMap"), "{problems:?}");
    }

    #[test]
    fn a_log_level_that_is_none_is_refused_with_those_that_are() {
        for good in
            ["info", "WARN", "off", "info,objects=debug", "debug,kube_client=off", "warn,[span]=trace"]
        {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in ["verbose", "info,verbose", "objects=loud", "", "info,", "info=a=b"] {
            let error = log_filter(bad).unwrap_err();
            assert!(error.contains("error, warn, info, debug, trace"), "{bad}: {error}");
        }
    }

    #[test]
    fn every_setting_has_its_variable_and_help_names_it() {
        let mut command = Cli::command();
        for argument in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
            let variable = argument.get_env().and_then(|name| name.to_str());
            assert!(variable.is_some_and(|name| name.starts_with("MIDONETKUBE_")), "{argument:?}");
        }
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("[env: MIDONETKUBE_LOG_LEVEL=") && help.contains("[env: MIDONETKUBE_NODENAME=")
        );
    }

    #[test]
    fn the_least_mtu_is_that_of_the_pods_families() {
        let all = |args: &str| problems(&format!("--node-name n {args}")).join("\n");
        assert_eq!(all("--mtu 576 --cluster-cidr 10.244.0.0/16"), "");
        for cidrs in ["fd44::/48", "10.244.0.0/16,fd44::/48"] {
            assert_eq!(all(&format!("--mtu 1280 --cluster-cidr {cidrs}")), "");
            let said = all(&format!("--mtu 1279 --cluster-cidr {cidrs}"));
            assert!(said.contains("--mtu 1279 is too small") && said.contains("at least 1280"), "{said}");
        }
    }

    #[test]
    fn sizes_are_bounded_by_what_the_datapath_takes() {
        assert_eq!(endpoints(MOST_PODS), datapath::MOST_ENTRIES);
        assert_eq!(routes(MOST_NODES), datapath::MOST_ENTRIES);
        for (flag, most) in
            [("--max-pods", 65535), ("--max-nodes", 32767), ("--vni", 0xff_ffff), ("--tunnel-port", 65535)]
        {
            let parse = |value: u32| Cli::try_parse_from(["midonet-kube-node", flag, &value.to_string()]);
            assert!(parse(1).is_ok() && parse(most).is_ok(), "{flag}");
            assert!(parse(0).is_err(), "{flag} 0");
            let said = parse(most + 1).unwrap_err().to_string();
            assert!(said.contains(flag) && said.contains(&most.to_string()), "{said}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
