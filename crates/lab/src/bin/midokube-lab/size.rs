//! How large a new lab is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use clap::Args;
use lab::{Family, Lab, MAX_NODES, Options};

/// The default namespace of a new Pod.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Where the lab's Services have their addresses, in each family, and one of them.
pub(crate) const SERVICES: [(&str, &str); 2] = [("10.96.0.0/16", "10.96.0.80"), ("fd96::/112", "fd96::50")];

const SERVICE_CIDR: &str = "--service-cidr";

/// The option `--namespace`, the same for every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Namespace {
    /// The namespace of the Pods.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// The size and settings of a new lab.
#[derive(Debug, Clone, Args)]
pub(crate) struct Size {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub(crate) nodes: u8,
    /// How many Pods on each node.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) pods_per_node: u8,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
    /// Families of addresses: 4, 6 or 46 (both).
    #[arg(long, default_value_t)]
    pub(crate) family: Family,
    /// The directory of midonet-kube-node and midonet-kube-cni [default: that of this program].
    #[arg(long)]
    pub(crate) bin_dir: Option<PathBuf>,
    /// An additional argument for every agent, for example --agent-arg=--mtu=1400. Can be repeated.
    #[arg(long = "agent-arg", allow_hyphen_values = true)]
    pub(crate) agent_args: Vec<String>,
}

/// What the library is to make.
pub(crate) fn options(dir: &Path, size: &Size) -> Options {
    let mut agent_args = size.agent_args.clone();
    if !agent_args.iter().any(|argument| argument.starts_with(SERVICE_CIDR)) {
        agent_args.push(format!("{SERVICE_CIDR}={}", SERVICES.map(|(cidr, _)| cidr).join(",")));
    }
    Options {
        dir: dir.to_owned(),
        nodes: size.nodes,
        family: size.family,
        binaries: size.bin_dir.clone(),
        agent_args,
        ..Options::default()
    }
}

/// Adds the first Pods of every node.
pub(crate) fn add_pods(lab: &Lab, size: &Size, cancelled: &AtomicBool) -> Result<()> {
    let namespace = size.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    for (index, node) in (1..).zip(lab.state()?.nodes) {
        for number in 1..=size.pods_per_node {
            ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
            lab.add_pod(&node.name, namespace, &format!("pod{index}-{number}"))?;
        }
    }
    Ok(())
}
