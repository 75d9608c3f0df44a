//! The command line: what the program can do, and its help.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::check::Output;
use crate::config::{Config, Problem};
use crate::proxy::cleanup;
use crate::uninstall;

/// The node agent of midonet-kube: the Pod network of one Kubernetes node.
#[derive(Debug, Parser)]
#[command(name = "midonet-kube-node", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; without one the agent runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The agent's settings.
    #[command(flatten)]
    pub run: Config,
}

const EXAMPLES: &str = "\
Examples:
  In a DaemonSet (the service account's token, an explicit API server, since no ClusterIP works yet):
    midonet-kube-node --node-name $(NODE) --cluster-cidr 10.244.0.0/16 --api-server https://192.0.2.10:6443
  Without Kubernetes, Nodes from a directory of manifests:
    midonet-kube-node --node-name node1 --cluster-cidr 10.244.0.0/16,fd44::/48 --manifests /etc/midonet-kube/objects
  Settings can also be given in the environment: [env: ...] beside a flag has the variable's name. A flag counts before
  its variable.";

/// What the program can do besides running the agent.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check whether this node and its cluster have everything that the network needs; takes the agent's settings.
    ///
    /// Names everything for which the agent would not start or not become ready, and a remedy. INVALID: a setting is
    /// wrong. MISSING: something is not there. An agent may run meanwhile. Ends with 1 if something is invalid or
    /// missing, else with 0; a warning changes nothing.
    Check(Box<CheckArgs>),
    /// Remove the network from this node: everything that agent and plugins have made.
    Uninstall(uninstall::Options),
    /// Copy the CNI plugin that lies beside this program, and this program, into the runtime's directory of plugins.
    Install {
        /// Where the container runtime looks for CNI plugins.
        #[arg(long, env = "MIDONETKUBE_CNIBINDIR", default_value = "/opt/cni/bin")]
        cni_bin_dir: PathBuf,
    },
    /// Remove from this node what kube-proxy left: its nftables tables, its chains in those of iptables, its interface.
    ///
    /// Removes what has kube-proxy's names and nothing else, in the node's network namespace; names what it cannot
    /// remove, with the command that does. Connections that kube-proxy translated go on.
    CleanupKubeProxy(cleanup::Options),
    /// Do nothing until SIGTERM: keeps a Pod there whose init containers did the work.
    Pause,
}

/// What is checked, and how it is printed.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// How to print the findings.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// The agent's settings.
    #[command(flatten)]
    pub run: Config,
}

/// The prefix of all settings in the environment.
const PREFIX: &str = "MIDONETKUBE_";

/// Keys of the manifests' ConfigMap that the manifests themselves read; they come with the prefix, too.
const MANIFEST_KEYS: [&str; 5] =
    ["cluster.cidr", "service.cidr", "kubernetes.endpoint.host", "kubernetes.endpoint.port", "midonet.api"];

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
