//! What the tests that cross crates share: a lab that ends with its test, and the status of its agents.

pub mod api;
pub mod chaos;
pub mod documents;
pub mod services;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Family, Guard, Lab, Options, Pod, Target};
use nodeapi::v1::{StatusReply, StatusRequest};
use nodeapi::{Client, call};

/// How long one step of a test may take. What takes longer than a minute on a busy machine does not happen: tests
/// say that it does, and the benchmarks say how soon.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A lab in a directory of its own; both go with this value.
#[derive(Debug)]
pub struct TestLab {
    // The order matters: the lab ends before its directory goes.
    lab: Guard,
    _directory: tempfile::TempDir,
}

impl std::ops::Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl TestLab {
    /// Makes a lab of that many nodes from the programs under test.
    ///
    /// # Errors
    /// The step that failed, with the end of the agent's log.
    pub fn up(nodes: u8, family: Family, agent_args: &[&str]) -> Result<Self> {
        Self::with_programs(nodes, family, agent_args, &programs())
    }

    /// The same, from the programs in that directory.
    ///
    /// # Errors
    /// See [`up`](Self::up).
    pub fn with_programs(nodes: u8, family: Family, agent_args: &[&str], programs: &Path) -> Result<Self> {
        let agent_args = agent_args.iter().map(|arg| (*arg).to_owned()).collect();
        let binaries = Some(programs.to_owned());
        Self::with(Options { nodes, family, binaries, agent_args, ..Options::default() })
    }

    /// Makes a lab of nodes on which nothing of the product is yet.
    ///
    /// # Errors
    /// See [`up`](Self::up).
    pub fn without_agents(nodes: u8, family: Family) -> Result<Self> {
        Self::without_agents_yet(nodes, family, &[])
    }

    /// The same; agents that are started there get these arguments.
    ///
    /// # Errors
    /// See [`up`](Self::up).
    pub fn without_agents_yet(nodes: u8, family: Family, agent_args: &[&str]) -> Result<Self> {
        let agent_args = agent_args.iter().map(|arg| (*arg).to_owned()).collect();
        let binaries = Some(programs());
        Self::with(Options { nodes, family, binaries, agent_args, agents: false, ..Options::default() })
    }

    fn with(options: Options) -> Result<Self> {
        testkit::require_root();
        let directory = tempfile::Builder::new().prefix("midokube-test-").tempdir()?;
        let options = Options { dir: directory.path().join("lab"), ..options };
        let lab = Lab::up(&options, &mut |_| {})?;
        Ok(Self { lab: lab.guarded(), _directory: directory })
    }

    /// What the agent of a node says of itself.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn status(&self, node: &str) -> Result<StatusReply> {
        let socket = self.socket(node)?;
        Ok(Client::connect(&socket, DEADLINE)?.call(&call::STATUS, &StatusRequest {})?)
    }

    /// How many packets a node's datapath counted under this name.
    ///
    /// # Errors
    /// The agent does not answer, or knows no such counter.
    pub fn counted(&self, node: &str, name: &str) -> Result<u64> {
        let counters = self.status(node)?.counters;
        let counter = counters.iter().find(|counter| counter.name == name);
        Ok(counter.with_context(|| format!("the datapath has no counter called {name}"))?.packets)
    }

    /// Runs a program at a place of the lab and gives what it printed.
    ///
    /// # Errors
    /// It could not be started.
    pub fn output(&self, target: &Target, program: &str, args: &[&str]) -> Result<Output> {
        output(&self.lab, target, program, args)
    }

    /// What a program that must succeed printed.
    ///
    /// # Errors
    /// It could not be started or failed; says what it printed.
    pub fn stdout(&self, target: &Target, program: &str, args: &[&str]) -> Result<String> {
        stdout(&self.lab, target, program, args)
    }
}

fn output(lab: &Lab, target: &Target, program: &str, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(lab.enter(target, &mut command)?.wait_with_output()?)
}

fn stdout(lab: &Lab, target: &Target, program: &str, args: &[&str]) -> Result<String> {
    let output = output(lab, target, program, args)?;
    anyhow::ensure!(
        output.status.success(),
        "{program} {args:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Where a Pod is in its lab.
pub fn pod(pod: &Pod) -> Target {
    Target::Pod(pod.key.clone())
}

/// The node that most tests use.
pub fn node1() -> Target {
    Target::Node("node1".into())
}

/// What a line of shell that must succeed printed.
///
/// # Panics
/// It failed.
#[allow(clippy::panic, reason = "a test fails by panicking")]
pub fn sh(lab: &Lab, at: &Target, line: &str) -> String {
    stdout(lab, at, "sh", &["-c", line]).unwrap_or_else(|error| panic!("{line}: {error:#}"))
}

/// The directory of the programs under test.
pub fn programs() -> PathBuf {
    let plugin = testkit::bin("midonet-kube-cni");
    plugin.parent().map(Path::to_owned).unwrap_or_default()
}
