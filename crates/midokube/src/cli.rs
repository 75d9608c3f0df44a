//! The command line.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use terminal::Format;

use crate::agent::Agent;
use crate::connections::{self, ConnectionsArgs};
use crate::connectivity::ConnectivityArgs;
use crate::doctor::{self, DoctorArgs};
use crate::drops::{self, DropsArgs};
use crate::flows::{self, FlowsArgs};
use crate::on::{self, OnArgs};
use crate::policy::{self, PolicyArgs, PolicyCommand};
use crate::service::{self, ServiceArgs};
use crate::services::{self, ServicesArgs};
use crate::status::{self, StatusArgs};
use crate::sysdump::{self, SysdumpArgs};
use crate::trace::{self, HopArgs, TraceArgs};
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
  midokube trace default/a default/b tcp/80
                                          where a packet goes, or why it does not arrive
  midokube ui                             the same in a browser
  midokube on node1 drops                 what the agent of another node says
  midokube doctor                         what is wrong in the whole cluster, and what to do
  midokube connectivity test              who reaches whom, tried with Pods and Services of its own
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
    /// Show what this node dropped, by policy or for another reason: of whom, to whom, on which port, why, and how often.
    #[command(after_help = drops::HELP)]
    Drops(DropsArgs),
    /// Show where a packet goes and its reply: through which nodes, Service and policies, and why it does not arrive.
    #[command(after_help = trace::HELP)]
    Trace(TraceArgs),
    /// Answer another midokube's trace.
    #[command(hide = true)]
    TraceHop(HopArgs),
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
    /// Run one of the commands that ask this node's agent on another node, through the API server.
    #[command(after_help = on::HELP)]
    On(OnArgs),
    /// Test the cluster's network.
    Connectivity(ConnectivityArgs),
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

impl Command {
    /// Whether it asks one agent, once.
    ///
    /// # Errors
    /// What to do instead.
    pub(crate) fn check_that_it_asks_one_agent(&self) -> Result<()> {
        let repeat = match self {
            Self::Status(args) => args.repeat.watch,
            Self::Drops(args) => args.repeat.watch,
            Self::Services(_) | Self::Service(_) | Self::Connections(_) | Self::Version { .. } => None,
            Self::Policy(args) => match args.command {
                None | Some(PolicyCommand::Explain(_)) => None,
                _ => {
                    bail!("of `policy` only the list and `explain` ask one node: run the others without `on`")
                }
            },
            _ => bail!("this command asks other nodes by itself, or none: run it without `on`"),
        };
        if repeat.is_some() {
            bail!(
                "--watch does not work on another node: run it again and again with `watch midokube on ...`"
            );
        }
        Ok(())
    }
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
    fn only_what_asks_one_agent_can_be_asked_elsewhere() {
        let check = |line: &str| {
            let words = ["midokube"].into_iter().chain(line.split_whitespace());
            Cli::try_parse_from(words).unwrap().command.check_that_it_asks_one_agent()
        };
        for line in [
            "status",
            "status drops -o json",
            "services",
            "service default/web",
            "connections",
            "policy",
            "policy default/web",
            "policy explain default/a default/b tcp/80",
            "drops default/web",
            "version",
        ] {
            assert!(check(line).is_ok(), "{line}");
        }
        for line in [
            "flows",
            "doctor",
            "ui",
            "on node1 status",
            "policy wait networkpolicy/a",
            "policy diff a b",
            "drops --watch",
            "status --watch=5s",
            "completions bash",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }

    #[test]
    fn options_of_the_command_are_its_own() {
        let parsed = Cli::try_parse_from(["midokube", "on", "--context", "c", "n", "drops", "-o", "json"]);
        let Command::On(args) = parsed.unwrap().command else { panic!("another command") };
        assert_eq!(args.line().collect::<Vec<_>>(), ["midokube", "drops", "-o", "json"]);
    }
}
