//! Which cluster, on the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use terminal::units;

use crate::agent::Agent;

/// Where kubectl's configuration is, in the home directory.
const DEFAULT: &str = ".kube/config";

/// The nodes of which cluster to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    /// Ask this node's agent alone, at its socket: no kubeconfig is needed.
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"])]
    pub(crate) this_node: bool,
    #[command(flatten)]
    pub(crate) kubernetes: Kubernetes,
}

/// The cluster of a kubeconfig.
#[derive(Debug, Clone, Args)]
pub(crate) struct Kubernetes {
    /// The kubeconfig of the cluster whose nodes are asked [default: KUBECONFIG, or ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace of the agents' Pods.
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub(crate) agent_namespace: String,
}

/// The agent of this node, where all nodes can be asked instead, and how long a node may take.
#[derive(Debug, Clone, Args)]
pub(crate) struct ThisNode {
    /// The agent's Unix socket.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    socket: PathBuf,
    /// How long a node may take to answer, for example 5s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
}

impl ThisNode {
    /// It, with that time to answer.
    pub(crate) fn agent(&self) -> Agent {
        Agent { socket: self.socket.clone(), timeout: self.timeout }
    }
}

/// The agents at some sockets, where all nodes can be asked instead, and how long a node may take.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sockets {
    /// With --this-node, the agent's Unix socket; several: those of as many agents.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    socket: Vec<PathBuf>,
    /// How long a node may take to answer, for example 20s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
}

impl Sockets {
    /// They, with that time to answer.
    pub(crate) fn agents(&self) -> Vec<Agent> {
        let agent = |socket: &PathBuf| Agent { socket: socket.clone(), timeout: self.timeout };
        self.socket.iter().map(agent).collect()
    }
}

impl Kubernetes {
    /// What the kubeconfig says. Programs that it names for credentials are run.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub(super) async fn config(&self, patience: Duration) -> Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(self.read()?, &options);
        let mut config = config.await.context("cannot use the kubeconfig")?;
        config.connect_timeout = Some(patience);
        // A question has a deadline of its own.
        (config.read_timeout, config.write_timeout) = (None, None);
        Ok(config)
    }

    fn read(&self) -> Result<Kubeconfig> {
        if let Some(path) = &self.kubeconfig {
            let read = Kubeconfig::read_from(path);
            return read.with_context(|| format!("cannot use the kubeconfig {}", path.display()));
        }
        let from_environment = Kubeconfig::from_env();
        if let Some(found) = from_environment.context("cannot use the kubeconfig that KUBECONFIG names")? {
            return Ok(found);
        }
        let Some(home) = std::env::home_dir() else { bail!(missing("there is no home directory")) };
        let path = home.join(DEFAULT);
        if !path.exists() {
            return Err(anyhow!(missing(&format!("{} does not exist", path.display()))));
        }
        let read = Kubeconfig::read_from(&path);
        read.with_context(|| format!("cannot use the kubeconfig {}", path.display()))
    }
}

fn missing(why: &str) -> String {
    format!(
        "there is no kubeconfig: KUBECONFIG is not set, and {why}: name one with --kubeconfig; on a node, commands that have \
         --this-node ask its agent alone with that"
    )
}
