//! `midokube-lab demo`: makes a cluster on this machine, tries every path, and removes it.

mod check;
mod paths;
mod progress;
mod report;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Lab, State, Target, probe};
use nodeapi::v1::{Counter, StatusRequest};
use nodeapi::{Client, call};
use terminal::output::{self, explain};
use terminal::table::WIDTH;
use terminal::units::bytes;

use crate::signals;
use crate::size::{Size, add_pods, options};
use check::Outcome;
pub(crate) use progress::Progress;
pub(crate) use report::pods as pods_table;
use service::Answers;

/// How long each connection sends when throughput is measured.
const MEASURE: Duration = Duration::from_secs(1);

/// How long an agent may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A shell's exit status for a program ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// What the demo found.
struct Findings {
    state: State,
    outcomes: Vec<Outcome>,
    answers: Vec<Answers>,
    throughput: Vec<String>,
    /// By node.
    counters: BTreeMap<String, Vec<Counter>>,
}

pub(crate) fn run(dir: &Path, size: &Size, keep: bool) -> Result<ExitCode> {
    let cancelled = signals::interrupted()?;
    let progress = Progress::new();
    let options = lab::Options { cancelled: Arc::clone(&cancelled), ..options(dir, size) };
    let result = Lab::up(&options, &mut |step| progress.step(step)).and_then(|lab| {
        // Whatever happens from here on, a panic included, the guard removes the lab.
        let guard = (!keep).then(|| lab.clone().guarded());
        let findings = explore(&lab, size, &cancelled, &progress);
        if guard.is_some() {
            progress.step("removing everything");
            lab.down()?;
        }
        findings
    });
    let elapsed = progress.finish();
    if cancelled.load(Ordering::Relaxed) {
        output::complain(
            "midokube-lab",
            &format!("interrupted{}", if keep { "" } else { "; everything was removed" }),
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let findings = result?;
    let mut text = format!("{}\n\nTook {:.1} s.\n", findings.text(), elapsed.as_secs_f64());
    if keep {
        text.push_str(&format!("\n{}\n", look_around(dir, &findings.state)));
    }
    output::write(&format!("{text}{}\n", report::verdict(&findings.outcomes, &findings.answers)))?;
    let all_work = findings.outcomes.iter().all(Outcome::works)
        && findings.answers.iter().all(Answers::is_good)
        && !findings.outcomes.is_empty();
    Ok(if all_work { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explore(lab: &Lab, size: &Size, cancelled: &AtomicBool, progress: &Progress) -> Result<Findings> {
    progress.step("the Pods");
    add_pods(lab, size, cancelled)?;
    let state = lab.state()?;
    let paths = paths::paths(&state)?;
    let count = paths.len();
    let step = |done: usize| format!("every path by TCP, UDP and ICMP: {done} of {count}");
    progress.step(&format!("every path by TCP, UDP and ICMP: {count}"));
    let servers = check::serve(lab, &state).context("cannot answer in the lab")?;
    let outcomes = check::check(lab, &paths, cancelled, &|done| progress.detail(&step(done)))?;
    drop(servers);
    progress.step("throughput");
    let throughput = throughput(lab, &state, cancelled)?;
    progress.step("a Service, from everywhere");
    let answers = service::try_service(lab, size, cancelled)?;
    let mut counters = BTreeMap::new();
    for node in &state.nodes {
        counters.insert(node.name.clone(), counters_of(lab, &node.name)?);
    }
    Ok(Findings { state, outcomes, answers, throughput, counters })
}

/// The packet counters of a node, from its agent.
fn counters_of(lab: &Lab, node: &str) -> Result<Vec<Counter>> {
    let status = || -> Result<_> {
        Ok(Client::connect(&lab.socket(node)?, ANSWER)?.call(&call::STATUS, &StatusRequest {})?)
    };
    Ok(status().with_context(|| format!("cannot get the status of {node}'s agent"))?.counters)
}

/// One path on a node and one across nodes, as far as there are such. A path that does not work is
/// reported here and counted elsewhere.
fn throughput(lab: &Lab, state: &State, cancelled: &AtomicBool) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let Some(from) = state.pods.first() else { return Ok(lines) };
    for (what, same) in [("same node", true), ("across nodes", false)] {
        ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
        let others = state.pods.iter().filter(|pod| pod.key != from.key);
        let Some(to) = others.into_iter().find(|pod| (pod.node == from.node) == same) else { continue };
        let Some(address) = to.addresses().first().copied() else { continue };
        let ends = [from, to].map(|pod| lab.netns(&Target::Pod(pod.key.clone())));
        let [near, far] = ends;
        let measured = probe::throughput(&near?, &far?, address, MEASURE);
        let result = match measured {
            Ok(t) => {
                format!("{:.1} Gbit/s ({} in {:.1} s)", t.gigabits(), bytes(t.bytes), t.elapsed.as_secs_f64())
            }
            Err(error) => format!("not measured: {}", explain(&error)),
        };
        lines.push(format!(" {what:12}  {} -> {}: {result}", from.key.name, to.key.name));
    }
    Ok(lines)
}

impl Findings {
    fn text(&self) -> String {
        let mut sections = vec![
            format!("Pods\n{}", report::pods(&self.state.pods, Some(WIDTH))),
            format!(
                "Sources (rows) and destinations (columns), by address family\n{}",
                report::matrix(&self.state, &self.outcomes)
            ),
            report::kinds(&self.outcomes),
            service::text(&self.answers),
        ];
        if !self.throughput.is_empty() {
            sections.push(format!(
                "Throughput of one TCP connection, this machine only\n{}",
                self.throughput.join("\n")
            ));
        }
        let times = self.state.pods.iter().map(|pod| pod.add_microseconds);
        sections.push(format!("ADD took {} (min / median / max)", report::spread(times)));
        sections.push(drops("Drops of all nodes", self.counters.values().flatten()));
        let failed: Vec<_> = self.outcomes.iter().filter(|o| !o.works()).collect();
        if !failed.is_empty() {
            sections.push(format!("Paths that do not work\n{}", report::failures(&self.outcomes)));
            let involved = |node: &&String| failed.iter().any(|o| o.path.nodes.contains(node));
            for node in self.counters.keys().filter(involved) {
                sections
                    .push(drops(&format!("Drops of {node}"), self.counters.get(node).into_iter().flatten()));
            }
        }
        sections.join("\n\n")
    }
}

fn drops<'a>(title: &str, counters: impl Iterator<Item = &'a Counter>) -> String {
    let drops = report::drops(counters);
    if drops.is_empty() {
        return format!("{title}: none");
    }
    format!("{title}\n{}", report::counters(&drops))
}

fn look_around(dir: &Path, state: &State) -> String {
    // As it was typed: it need not be in PATH.
    let program = std::env::args().next().unwrap_or_else(|| lab::PROGRAM.to_owned());
    let lab = lab::command(dir).replacen(lab::PROGRAM, &program, 1);
    let pod = state.pods.first().map_or("default/pod1-1".to_owned(), |pod| pod.key.to_string());
    format!(
        "The lab stays; its Pods serve nothing any more. Look around:\n  \
           {lab} status\n  \
           {lab} exec node1 midokube status\n  \
           {lab} exec node1 midokube services\n  \
           {lab} exec node1 midokube connections\n  \
           {lab} midokube trace {pod} service/default/web tcp/80\n  \
           {lab} midokube doctor\n  \
           {lab} exec {pod} sh\n  \
           less {}\n\
         End it:\n  \
           {lab} down",
        dir.join("logs/node1.log").display()
    )
}
