//! The command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use terminal::Format;

use crate::agent::Agent;
use crate::connections::{self, ConnectionsArgs};
use crate::doctor::{self, DoctorArgs};
use crate::drops::{self, DropsArgs};
use crate::flows::{self, FlowsArgs};
use crate::policy::{self, PolicyArgs};
use crate::service::{self, ServiceArgs};
use crate::services::{self, ServicesArgs};
use crate::status::{self, StatusArgs};
use crate::sysdump::{self, SysdumpArgs};
use crate::trace::{self, TraceArgs};
use crate::ui::{self, UiArgs};
use crate::version;

/// Show the state of a node's Pod network: its agent, ports, peers, problems and traffic; Services, connections, policies,
/// drops and flows.
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
  midokube services                       the Services that this node serves
  midokube service default/web            one of them: each backend, and why one is not used
  midokube connections --service default/web
  midokube policy default/web             which policies apply to a Pod, and how often each decided
  midokube policy explain default/a default/b tcp/80
  midokube drops default/web              what was dropped between this Pod and others, and why
  midokube flows default/web --since 10m  who talks to this Pod, and to whom it does, seen by all nodes
  midokube ui                             the same in a browser
  midokube doctor                         what is wrong in the whole cluster, and what to do
  source <(midokube completions bash)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what this node's agent knows: network, ports, peers, problems, traffic and drops.
    #[command(after_help = status::HELP)]
    Status(StatusArgs),
    /// Show the ports of Services that this node serves.
    #[command(after_help = services::HELP)]
    Services(ServicesArgs),
    /// Show one Service: where it is reached, each of its backends, and why one is not used.
    #[command(after_help = service::HELP)]
    Service(ServiceArgs),
    /// Show the tracked connections of this node.
    #[command(after_help = connections::HELP)]
    Connections(ConnectionsArgs),
    /// Show which policies apply to Pods of this node, and why a connection passes or not.
    #[command(after_help = policy::HELP)]
    Policy(PolicyArgs),
    /// Show what policies did not let pass: who, whom, on which port, why, and how often.
    #[command(after_help = drops::HELP)]
    Drops(DropsArgs),
    /// Show where a packet goes in a network that a MidoNet is, device by device and rule by rule.
    #[command(after_help = trace::HELP)]
    Trace(TraceArgs),
    /// Show who talks to whom on all nodes: how much, since when, and what policy said.
    #[command(after_help = flows::HELP)]
    Flows(FlowsArgs),
    /// Show all of this in a browser: who talks to whom, as a map and as tables, nodes and Pods.
    #[command(after_help = ui::HELP)]
    Ui(UiArgs),
    /// Show what is wrong in the whole cluster, paths between nodes included, and what to do.
    #[command(after_help = doctor::HELP)]
    Doctor(DoctorArgs),
    /// Collect all that a maintainer needs in one archive, without secrets.
    #[command(after_help = sysdump::HELP)]
    Sysdump(SysdumpArgs),
    /// Show the versions of this program and of this node's agent.
    #[command(after_help = version::HELP)]
    Version {
        /// The output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        agent: Agent,
    },
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  midokube completions zsh >~/.zfunc/_midokube")]
    Completions {
        /// The shell.
        shell: Shell,
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
}
