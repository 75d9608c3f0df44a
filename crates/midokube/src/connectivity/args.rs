//! The command line of `midokube connectivity`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use terminal::{Format, units};

use super::filter::Pattern;
use crate::nodes::Kubernetes;

pub(crate) const HELP: &str = "\
Makes two namespaces with Pods on two nodes, Services and NetworkPolicies, tries who reaches whom, and removes all of it. The
Pods run the agents' image, which every node has, and have no privilege; nothing outside of the cluster is needed. Of what
fails the cause is asked for: by a trace of the packet, and by `midokube doctor`. What an interrupted test left is removed by
the next one, once it is 30 minutes old, or by --cleanup.
Exit status: 0: all scenarios pass, but for those that cannot be tried here; 4: one fails; 1: the test cannot be run. The
fields of -o json and -o yaml are described in docs/reference.md of the project, the scenarios in docs/connectivity-test.md.
Examples:
  midokube connectivity test
  midokube connectivity test --test 'pod-to-pod-*' --test '!*-ping'
  midokube connectivity test --junit connectivity.xml -o json
  midokube connectivity test --cleanup";

/// Test the cluster's network.
#[derive(Debug, Args)]
pub(crate) struct ConnectivityArgs {
    #[command(subcommand)]
    pub(super) command: ConnectivityCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConnectivityCommand {
    /// Try who reaches whom in the cluster, and name the cause of what fails.
    #[command(after_help = HELP)]
    Test(TestArgs),
    /// Answer a test's questions.
    #[command(hide = true)]
    Serve(ServeArgs),
    /// Try what another midokube asks on standard input.
    #[command(hide = true)]
    Ask,
}

/// What to test, and how to show it.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The scenarios of that name, with * for any letters; with ! in front: not those. Several times: all of these.
    #[arg(long = "test", value_name = "NAME")]
    pub(super) patterns: Vec<Pattern>,
    /// Place Pods on this node; twice: on these two [default: the first two nodes that serve].
    #[arg(long = "node", value_name = "NAME")]
    pub(super) nodes: Vec<String>,
    /// List the scenarios, and test nothing.
    #[arg(long, conflicts_with_all = ["cleanup", "keep", "junit"])]
    pub(super) list: bool,
    /// Remove what earlier tests left or kept, also of tests that go on, and test nothing.
    #[arg(long, conflicts_with_all = ["keep", "junit", "patterns", "nodes"])]
    pub(super) cleanup: bool,
    /// Keep the namespaces to look into them, until --cleanup.
    #[arg(long)]
    pub(super) keep: bool,
    /// Write the results to a file in the format of JUnit, too.
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// How long what is expected may take to come true, for example 10s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(super) timeout: Duration,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) kubernetes: Kubernetes,
}

/// Who serves what.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Who answers.
    #[arg(long)]
    pub(super) name: String,
    /// The ports, over TCP and UDP.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(super) ports: Vec<u16>,
}
