//! `--live`: real packets of one connection, as the hooks of the nodes have them.

mod ask;
mod connection;
mod judge;
mod plan;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use nodeapi::v1::{FollowPacketsReply, FollowPacketsRequest};
use terminal::{Format, output};

use self::ask::Follow;
pub(super) use self::ask::{Agents, Cluster, run_follow};
use self::connection::Connection;
use self::judge::{Watched, judge};
use self::plan::Plan;
use self::view::View;
use super::args::TraceArgs;
use super::embedded::Ask;
use super::{LOST, UNKNOWN};

/// How long a node waits for packets before it answers.
const WAIT: Duration = Duration::from_millis(250);

/// After the last packet of a connection, and before it is said that one was lost.
const GRACE: Duration = Duration::from_secs(1);

/// Follows, and shows what is seen.
///
/// # Errors
/// The nodes do not know who sends, or to whom, or the client's node cannot follow.
pub(super) fn run(args: &TraceArgs, ask: &mut impl Ask, follow: &mut impl Follow) -> Result<ExitCode> {
    let plan = Plan::new(ask, &args.packet)?;
    let streams = matches!(args.output, Format::Table | Format::Wide);
    // The seed of a hasher is random.
    let number = RandomState::new().build_hasher().finish().max(1);
    let mut session = Session {
        plan: &plan,
        number,
        nodes: plan.nodes.clone(),
        connection: Connection::new(&plan),
        problems: BTreeSet::new(),
        watched: Watched::default(),
        lost: 0,
    };
    session.begin(follow)?;
    if streams {
        output::write(&text::head(&plan, &session.nodes, args.duration))?;
        for problem in &session.problems {
            output::complain("midokube", problem);
        }
    }
    let began = Instant::now();
    let (mut shown, mut over) = (None, None::<Instant>);
    loop {
        let rows = session.ask(follow, WAIT, false);
        if streams && !output::write(&text::rows(&session.connection, &rows, &mut shown))? {
            break;
        }
        let is_full = session.connection.packets().len() >= args.packets.into();
        if session.connection.is_over() || is_full {
            over.get_or_insert_with(Instant::now);
        }
        if over.is_some_and(|over| over.elapsed() >= GRACE) || began.elapsed() >= args.duration {
            break;
        }
    }
    let rows = session.ask(follow, Duration::ZERO, true);
    let outcome = judge(&session.connection, &plan, &session.watched, session.lost);
    if streams {
        output::write(&text::rows(&session.connection, &rows, &mut shown))?;
        output::write(&text::foot(&outcome, session.lost))?;
    } else {
        let view =
            View::new(&plan, &session.nodes, &session.connection, &outcome, session.lost, &session.problems);
        output::write(&args.output.text(&view, |_, _| String::new())?)?;
    }
    Ok(match outcome.arrives {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(LOST),
        None => ExitCode::from(UNKNOWN),
    })
}

struct Session<'a> {
    plan: &'a Plan,
    /// By which the agents know this.
    number: u64,
    nodes: Vec<String>,
    connection: Connection,
    problems: BTreeSet<String>,
    watched: Watched,
    lost: u64,
}

impl Session<'_> {
    /// Has the nodes begin. One that cannot is told, unless it is the client's.
    fn begin(&mut self, follow: &mut impl Follow) -> Result<()> {
        let Self { plan, number, .. } = *self;
        let question = |node: &str| FollowPacketsRequest { number, ..plan.request(node) };
        for (node, answer) in follow.ask(&self.nodes, &question) {
            match answer {
                Ok(_) => {}
                Err(why) if node == plan.home => bail!("packets of node {node} cannot be followed: {why}"),
                Err(why) => {
                    self.problems.insert(format!("packets of node {node} are not followed: {why}"));
                    self.nodes.retain(|one| *one != node);
                }
            }
        }
        // What was seen until all had begun is only half of it.
        for (node, answer) in follow.ask(&self.nodes, &question) {
            if let Ok(reply) = answer {
                self.watched.told(&node, reply.time);
            }
        }
        Ok(())
    }

    /// Takes what was seen since: the new rows of the connection.
    fn ask(&mut self, follow: &mut impl Follow, wait: Duration, last: bool) -> Vec<usize> {
        let wait_ms = wait.as_millis().try_into().unwrap_or(u32::MAX);
        let Self { plan, number, .. } = *self;
        let question = |node: &str| FollowPacketsRequest { number, wait_ms, last, ..plan.request(node) };
        for (node, answer) in follow.ask(&self.nodes, &question) {
            match answer {
                Ok(reply) => {
                    self.watched.told(&node, reply.time);
                    self.take(&node, reply);
                }
                Err(why) => {
                    let why = anyhow!("node {node} did not tell for a moment: {why}");
                    self.problems.insert(why.to_string());
                }
            }
        }
        self.connection.settle()
    }

    fn take(&mut self, node: &str, reply: FollowPacketsReply) {
        self.lost = self.lost.max(reply.lost);
        for packet in reply.packets {
            self.connection.add(node, packet);
        }
    }
}
