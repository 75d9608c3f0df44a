//! The command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use terminal::Format;

use crate::agent::Agent;
use crate::status::{self, StatusArgs};
use crate::version;

/// Show the state of a node's Pod network: its agent, ports, peers, problems, traffic and drops.
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
  source <(midokube completions bash)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what this node's agent knows: network, ports, peers, problems, traffic and drops.
    #[command(after_help = status::HELP)]
    Status(StatusArgs),
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
