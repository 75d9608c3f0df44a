//! `midokube connectivity test`, from its command line to its exit status.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use terminal::output;

use super::args::TestArgs;
use super::cluster;
use super::explain::Causes;
use super::filter::wanted;
use super::interrupt::{PATIENCE, within};
use super::report::{Scenarios, View, junit, list, text};
use super::scenarios::Scenario;
use super::session::Sessions;
use super::site::{Site, say};
use super::stages::Stages;
use super::tally::Tally;
use crate::nodes::Nodes;

/// The exit status when a scenario fails.
const FOUND: u8 = 4;

/// Tests, and prints what came of it.
pub(super) fn test(args: &TestArgs) -> Result<ExitCode> {
    let scenarios = wanted(&args.patterns);
    if args.list {
        output::write(&args.output.text(&Scenarios::new(&scenarios), list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let nodes = Nodes::new(&args.kubernetes, PATIENCE)?;
    if args.cleanup {
        return cleanup(&nodes);
    }
    if scenarios.is_empty() {
        bail!("--test leaves no scenario: --list names all");
    }
    let mut site = Site::prepare(&nodes, args)?;
    // Before anything is made.
    let file = args.junit.as_deref().map(open).transpose()?;
    let (view, left) = run(&mut site, args, &scenarios)?;
    if let (Some(mut file), Some(path)) = (file, &args.junit) {
        let written = file.write_all(junit(&view).as_bytes());
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    output::write(&args.output.text(&view, text)?)?;
    Ok(match (view.failed, left) {
        (0, false) => ExitCode::SUCCESS,
        (0, true) => ExitCode::FAILURE,
        _ => ExitCode::from(FOUND),
    })
}

fn open(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes what is needed, tests, and removes it, whatever happens. Returns what came of it, and whether something is left.
fn run(site: &mut Site<'_>, args: &TestArgs, scenarios: &[&'static Scenario]) -> Result<(View, bool)> {
    let (began, mut causes) = (Instant::now(), Causes::default());
    site.remove_expired()?;
    let tested = try_all(site, args, scenarios, &mut causes);
    let left = site.end();
    let tallies = match (tested, &left) {
        (Ok(tallies), _) => tallies,
        (Err(error), None) => {
            return Err(error.context("the test was broken off, and what it made is removed"));
        }
        (Err(error), Some(why)) => return Err(error.context(format!("the test was broken off; {why}"))),
    };
    if let Some(why) = &left {
        say(why);
    }
    let view = View::new(
        args.keep.then(|| site.namespaces.own.clone()),
        site.node_names().into_iter().map(str::to_owned).collect(),
        u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        tallies.into_iter().map(Tally::result).collect(),
        causes.findings().to_vec(),
    );
    Ok((view, left.is_some()))
}

fn try_all(
    site: &mut Site<'_>,
    args: &TestArgs,
    scenarios: &[&'static Scenario],
    causes: &mut Causes,
) -> Result<Vec<Tally>> {
    let (nodes, started) = (site.nodes, site.make()?);
    let sessions = Sessions::new(nodes.client().clone(), nodes.agents_api().clone(), nodes.places()?);
    let tested = site.scene(started, &sessions).and_then(|scene| {
        let mut tallies: Vec<Tally> = scenarios.iter().map(|one| Tally::new(one, &scene)).collect();
        let (scene, sessions, tallies_of) = (&scene, &sessions, tallies.as_mut_slice());
        let patience = args.timeout;
        Stages { site, scene, sessions, causes, tallies: tallies_of, patience }.run()?;
        Ok(tallies)
    });
    nodes.block_on(sessions.end());
    tested
}

/// Removes what all tests left.
fn cleanup(nodes: &Nodes) -> Result<ExitCode> {
    let client = nodes.client();
    let names = nodes.block_on(within(PATIENCE, cluster::all(client)))?;
    if names.is_empty() {
        say("no test has left anything");
        return Ok(ExitCode::SUCCESS);
    }
    nodes.block_on(within(PATIENCE, cluster::delete(client, &names)))?;
    let left = nodes.block_on(cluster::gone(client, &names));
    if left.is_empty() {
        say(&format!("removed: namespaces {}", names.join(", ")));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("not gone yet: namespaces {}: see their status", left.join(", ")));
    Ok(ExitCode::FAILURE)
}
