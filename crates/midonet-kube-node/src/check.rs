//! Preflight: whether this node has everything that the network needs. Every problem is named with its remedy,
//! all of them at once.

mod kernel;
mod node;

use std::fmt;

use anyhow::{Result, bail};

use crate::args::{RunArgs, unknown_settings};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// How it is.
    pub state: State,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// The network works, but somebody should look at it.
    Warning(String),
    /// The network cannot work: what is wrong, and what helps.
    Bad(String),
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good }
    }

    fn bad(what: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { what: what.into(), state: State::Bad(problem.to_string()) }
    }

    fn warning(what: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { what: what.into(), state: State::Warning(problem.to_string()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Good => write!(f, "ok       {}", self.what),
            State::Warning(problem) => write!(f, "warning  {}: {problem}", self.what),
            State::Bad(problem) => write!(f, "MISSING  {}: {problem}", self.what),
        }
    }
}

/// Settings, rights and files: quick enough for every start.
pub fn quickly(args: &RunArgs) -> Vec<Finding> {
    let mut problems = args.problems();
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    problems.extend(unknown_settings(variables));
    let mut findings: Vec<_> =
        problems.into_iter().map(|problem| Finding::bad("settings", problem)).collect();
    findings.extend(node::look(args));
    findings
}

/// The kernel's features, each tried in a network namespace that is gone afterwards.
pub fn kernel(args: &RunArgs) -> Vec<Finding> {
    kernel::try_out(&args.paths)
}

/// `midonet-kube-node check`: prints everything that was looked at.
///
/// # Errors
/// Something is missing.
pub fn check(args: &RunArgs) -> Result<()> {
    plumbing::sysctl::look_in(&args.paths.sysctl_dir);
    let mut findings = quickly(args);
    findings.extend(kernel(args));
    for finding in &findings {
        println!("{finding}");
    }
    match bad(&findings).count() {
        0 => Ok(()),
        1 => bail!("1 thing is missing on this node"),
        count => bail!("{count} things are missing on this node"),
    }
}

/// What makes it impossible to go on.
pub fn bad(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| matches!(finding.state, State::Bad(_)))
}

/// All of it in one message; empty if there is nothing.
pub fn complaint(findings: &[Finding]) -> String {
    bad(findings).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
