//! The command line.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};
use lab::DEFAULT_DIR;
use terminal::Format;

use crate::size::{Namespace, Size};

/// Make, use and remove a cluster of namespaces on this machine, with the real agent and plugin.
#[derive(Debug, Parser)]
#[command(name = "midokube-lab", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The lab's directory: its record, manifests and logs.
    #[arg(long, global = true, default_value = DEFAULT_DIR)]
    pub(crate) dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  midokube-lab demo                       three nodes, every path tried, everything removed
  midokube-lab up && midokube-lab status  a cluster that stays until `midokube-lab down`
  midokube-lab exec node1 midokube status
  midokube-lab exec pod1-1 ping -c1 10.244.2.3
  midokube-lab midokube trace default/pod1-1 default/pod2-1 icmp";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a lab with Pods; it stays until `down`.
    #[command(after_help = "Example:\n  midokube-lab up --nodes 2 --pods-per-node 5 --family 6")]
    Up(Size),
    /// Show the lab's nodes and Pods.
    Status {
        #[command(flatten)]
        namespace: Namespace,
        /// The output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run a program in a node, a Pod, the outside host or the fabric.
    #[command(after_help = "\
Examples:
  midokube-lab exec node1 midokube status
  midokube-lab exec default/pod1-1 ip addr
  midokube-lab exec -n default pod1-1 ip addr
  midokube-lab exec outside sh")]
    Exec {
        #[command(flatten)]
        namespace: Namespace,
        /// node1, pod1-1, default/pod1-1, outside or fabric.
        place: String,
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command of midokube that asks all nodes: flows, trace, doctor, sysdump or ui.
    #[command(after_help = "\
Examples:
  midokube-lab midokube trace default/pod1-1 default/pod2-1 icmp
  midokube-lab midokube flows default/pod1-1
  midokube-lab midokube doctor")]
    Midokube {
        /// The command and its arguments, without --this-node and --socket.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Add or delete a Pod.
    #[command(subcommand)]
    Pod(PodCommand),
    /// Remove the lab. Succeeds when there is none.
    Down,
    /// Make a lab, try every path, print the results, remove the lab.
    #[command(after_help = "\
Exit status: 0 when all paths work, 1 when not, 130 when interrupted. The lab is removed in any case.
Example:
  KEEP=1 midokube-lab demo && midokube-lab exec pod1-1 ip route")]
    Demo {
        #[command(flatten)]
        size: Size,
        /// Leave the lab up, and print how to look around.
        #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
        keep: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Add a Pod to a node.
    #[command(after_help = "Example:\n  midokube-lab pod add node1 web-0")]
    Add {
        #[command(flatten)]
        namespace: Namespace,
        /// Its node.
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
        let cli = Cli::parse_from(["midokube-lab", "exec", "node1", "ls", "-l", "--dir", "x"]);
        let Command::Exec { command, .. } = cli.command else {
            panic!("not parsed as exec");
        };
        assert_eq!(cli.dir, PathBuf::from(DEFAULT_DIR));
        assert_eq!(command, ["ls", "-l", "--dir", "x"]);
    }

    #[test]
    fn every_command_about_pods_takes_a_namespace() {
        for line in [
            "up -n x",
            "demo --namespace x",
            "status -n x",
            "exec -n x a true",
            "pod add -n x node1 a",
            "pod add node1 a -n x",
            "pod delete a --namespace x",
        ] {
            let words = ["midokube-lab"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        let cli = Cli::parse_from(["midokube-lab", "exec", "-n", "x", "a", "ls", "-n", "y"]);
        let Command::Exec { namespace, command, .. } = cli.command else {
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
            assert!(Cli::try_parse_from(["midokube-lab", "up"].into_iter().chain(bad)).is_err(), "{bad:?}");
        }
    }
}
