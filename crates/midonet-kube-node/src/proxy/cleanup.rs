//! `midonet-kube-node cleanup-kube-proxy`: removes what kube-proxy left on a node, by its names and nothing else.
//!
//! Connections that the host's connection tracking translates go on, as long as the kernel tracks connections: it does in a
//! network namespace only while some rule needs it, such as one of the agent's own table.

use std::fmt::Display;

use anyhow::{Result, bail, ensure};
use clap::Args;
use plumbing::nft::{self, Chain, TableName};

use super::beside::{PROCESS, REMOVE};
use super::leftovers::{DUMMY, Leftovers, in_iptables, is_chain, lines};
use super::processes;
use crate::stdout;

/// What is done.
#[derive(Debug, Clone, Copy, Args)]
pub struct Options {
    /// Print what would be removed, and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Also if kube-proxy still runs, or if connections that it translated are cut.
    #[arg(long)]
    pub force: bool,
}

/// Removes everything, in the network namespace of this thread. What fails does not keep the rest from being tried.
///
/// # Errors
/// kube-proxy runs, connections would be cut, and `force` is not given; or something is left, with what to do.
pub fn cleanup(options: &Options) -> Result<()> {
    let running = processes::named(PROCESS);
    let ids = running.iter().map(|process| process.id.to_string()).collect::<Vec<_>>().join(", ");
    ensure!(
        options.force || options.dry_run || running.is_empty(),
        "kube-proxy still runs (process {ids}) and would make everything again: remove it first (`{REMOVE}`), or give \
         --force"
    );
    let leftovers = Leftovers::find()?;
    let chains = nft::chains()?;
    let has_rules = !leftovers.tables.is_empty() || !leftovers.iptables.is_empty();
    if has_rules && nft::find()?.is_none() {
        let cut = "the agent's nftables table is not there, without whose rules the kernel may track connections no more, \
                   and then ends those that kube-proxy translated; start the agent first";
        ensure!(options.force || options.dry_run, "{cut}, or give --force");
        stdout::line(format_args!("note: {cut}"))?;
    }
    let mut work = Work { dry_run: options.dry_run, left: Vec::new() };
    for table in &leftovers.tables {
        work.step(&format!("nftables table {} {}", table.family, table.name), || nft::delete_table(table))?;
    }
    for table in leftovers.iptables.keys() {
        work.chains(table, &chains)?;
    }
    if leftovers.dummy {
        work.step(&format!("interface {DUMMY}"), || plumbing::link::delete_by_name(DUMMY))?;
    }
    for (program, table) in leftovers.legacy.keys() {
        work.left.push(format!(
            "chains of {program}, table {table}: run `{program}-save -t {table} | grep -Ev '{}' | \
             {program}-restore -T {table}`",
            lines()
        ));
    }
    if leftovers.ipvs {
        work.left.push(
            "IPVS services: run `ipvsadm --clear`, unless something else has services of its own there"
                .into(),
        );
    }
    work.end(leftovers.is_empty())
}

#[derive(Debug)]
struct Work {
    dry_run: bool,
    /// What stays, and what to do about it.
    left: Vec<String>,
}

impl Work {
    /// Removes one thing, and says so.
    fn step(&mut self, what: &str, remove: impl FnOnce() -> plumbing::Result<()>) -> Result<()> {
        if self.dry_run {
            return stdout::line(format_args!("would remove: {what}"));
        }
        match remove() {
            Ok(()) => stdout::line(format_args!("removed: {what}")),
            Err(error) => {
                self.fails(what, &error);
                Ok(())
            }
        }
    }

    fn fails(&mut self, what: &str, error: &dyn Display) {
        self.left.push(format!("{what}: {error}: run this again"));
    }

    /// Removes the chains of a table of iptables, and the rules that lead there.
    fn chains(&mut self, table: &TableName, chains: &[Chain]) -> Result<()> {
        let removal = match nft::plan_removal(table, chains, is_chain) {
            Ok(removal) => removal,
            Err(error) => {
                self.fails(&in_iptables(table, 0), &error);
                return Ok(());
            }
        };
        for (chain, by) in &removal.kept {
            self.left.push(format!(
                "chain {chain} of {}: chain {by} leads there: remove that rule, and run this again",
                in_iptables(table, 1)
            ));
        }
        if removal.chains.is_empty() {
            return Ok(());
        }
        let what = format!("{} ({})", in_iptables(table, removal.chains.len()), some_of(&removal.chains));
        let jumps = match removal.jumps.as_slice() {
            [] => String::new(),
            [one] => format!(", and the rule in {one} that leads there"),
            several => format!(", and {} rules in {} that lead there", several.len(), different(several)),
        };
        self.step(&format!("{what}{jumps}"), || removal.execute(table))
    }

    fn end(self, nothing: bool) -> Result<()> {
        if nothing {
            return stdout::line("nothing of kube-proxy is here");
        }
        if self.left.is_empty() {
            return Ok(());
        }
        let left = self.left.join("\n");
        if self.dry_run {
            return stdout::line(format_args!("would be left:\n{left}"));
        }
        bail!("not everything is removed; left are:\n{left}")
    }
}

/// The first of many names.
fn some_of(names: &[String]) -> String {
    const MOST: usize = 8;
    let first = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{first}, ...") } else { first }
}

fn different(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests;
