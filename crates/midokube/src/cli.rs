//! The command line.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use lab::{DEFAULT_DIR, Family, MAX_NODES};

use crate::agent::Agent;
use crate::output::Format;
use crate::status::{self, StatusArgs};
use crate::version;

/// Look into a node of midonet-kube, and try it on one machine.
#[derive(Debug, Parser)]
#[command(name = "midokube", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  midokube status                         this node's network, ports, peers, traffic and drops
  midokube status ports -o json | jq .    the same for programs, here a part of it
  midokube lab demo                       three nodes on this machine, every path tried, all removed
  midokube lab up && midokube lab status  a cluster to play with, until `midokube lab down`
  midokube lab exec pod1-1 ping -c1 10.244.2.3
  source <(midokube completions bash)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what this node's agent knows: network, ports, peers, traffic and drops.
    #[command(after_help = status::HELP)]
    Status(StatusArgs),
    /// Show the versions of this program and of this node's agent.
    #[command(after_help = version::HELP)]
    Version {
        /// How to show them.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        agent: Agent,
    },
    /// Make, use and end a cluster of namespaces on this machine, with the real agent and plugin.
    Lab {
        /// The lab's directory: its record, manifests and logs.
        #[arg(long, global = true, default_value = DEFAULT_DIR)]
        dir: PathBuf,
        #[command(subcommand)]
        command: LabCommand,
    },
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  midokube completions zsh >~/.zfunc/_midokube")]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Make a lab with Pods; it stays until `lab down`.
    #[command(after_help = "Example:\n  midokube lab up --nodes 2 --pods-per-node 5 --family 6")]
    Up(Size),
    /// Show the lab's nodes and Pods.
    Status {
        #[command(flatten)]
        namespace: Namespace,
        /// How to show it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run a program in a node, a Pod, the outside host or the fabric.
    #[command(after_help = "\
Examples:
  midokube lab exec node1 midokube status
  midokube lab exec default/pod1-1 ip addr
  midokube lab exec -n default pod1-1 ip addr
  midokube lab exec outside sh")]
    Exec {
        #[command(flatten)]
        namespace: Namespace,
        /// node1, pod1-1, default/pod1-1, outside or fabric.
        place: String,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Add or delete a Pod.
    #[command(subcommand)]
    Pod(PodCommand),
    /// End the lab: nothing is left. Success when there is none.
    Down,
    /// Make a lab, try every path, show the results, remove it.
    #[command(after_help = "\
Exit status: 0 when all paths work, 1 when not, 130 when interrupted; nothing is left in any case.
Example:
  KEEP=1 midokube lab demo && midokube lab exec pod1-1 ip route")]
    Demo {
        #[command(flatten)]
        size: Size,
        /// Leave the lab up, and say how to look around.
        #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
        keep: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Add a Pod to a node.
    #[command(after_help = "Example:\n  midokube lab pod add node1 web-0")]
    Add {
        #[command(flatten)]
        namespace: Namespace,
        /// The node it is to be on.
        node: String,
        /// Its name, or namespace/name; without a namespace it is in `default`.
        name: String,
    },
    /// Delete a Pod.
    Delete {
        #[command(flatten)]
        namespace: Namespace,
        /// Its name, or namespace/name.
        name: String,
    },
}

/// The namespace of Pods, the same option everywhere.
#[derive(Debug, Clone, Args)]
pub(crate) struct Namespace {
    /// The Pods' namespace; only Pods of this one are meant.
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

/// What a new lab is like.
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
    /// Where midonet-kube-node and midonet-kube-cni are [default: beside this program].
    #[arg(long)]
    pub(crate) bin_dir: Option<PathBuf>,
    /// A further argument for every agent, for example --agent-arg=--mtu=1400; can be repeated.
    #[arg(long = "agent-arg", allow_hyphen_values = true)]
    pub(crate) agent_args: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_program_keeps_its_own_flags() {
        let cli = Cli::parse_from(["midokube", "lab", "exec", "node1", "ls", "-l", "--dir", "x"]);
        let Command::Lab { dir, command: LabCommand::Exec { command, .. } } = cli.command else {
            panic!("not parsed as exec");
        };
        assert_eq!(dir, PathBuf::from(DEFAULT_DIR));
        assert_eq!(command, ["ls", "-l", "--dir", "x"]);
    }

    #[test]
    fn every_command_that_has_to_do_with_pods_takes_their_namespace() {
        for line in [
            "up -n x",
            "demo --namespace x",
            "status -n x",
            "exec -n x a true",
            "pod add -n x node1 a",
            "pod add node1 a -n x",
            "pod delete a --namespace x",
        ] {
            let words = ["midokube", "lab"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        let cli = Cli::parse_from(["midokube", "lab", "exec", "-n", "x", "a", "ls", "-n", "y"]);
        let Command::Lab { command: LabCommand::Exec { namespace, command, .. }, .. } = cli.command else {
            panic!("not parsed as exec");
        };
        assert_eq!(
            (namespace.namespace.as_deref(), command),
            (Some("x"), vec!["ls".into(), "-n".into(), "y".into()])
        );
    }

    #[test]
    fn bad_sizes_are_refused() {
        for bad in [["--nodes", "0"], ["--nodes", "101"], ["--family", "5"], ["--pods-per-node", "101"]] {
            assert!(
                Cli::try_parse_from(["midokube", "lab", "up"].into_iter().chain(bad)).is_err(),
                "{bad:?}"
            );
        }
    }
}
