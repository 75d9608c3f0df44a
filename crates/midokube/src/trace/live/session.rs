//! Asking the nodes in rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use anyhow::{Result, bail};
use nodeapi::v1::{FollowPacketsReply, FollowPacketsRequest};

use super::ask::Follow;
use super::connection::Connection;
use super::judge::Told;
use super::plan::Plan;

/// How long a node waits for packets before it answers.
const WAIT: Duration = Duration::from_millis(250);

/// A node that does not tell in so many rounds one after the other is asked no more.
const MOST_FAILURES: usize = 3;

/// How often a node is asked for the rest in the end.
const MOST_RESTS: usize = 16;

/// What is followed, and what was seen.
pub(super) struct Session<'a> {
    plan: &'a Plan,
    /// By which the agents know this.
    number: u64,
    nodes: Vec<String>,
    connection: Connection,
    problems: BTreeSet<String>,
    /// Those that have not been told yet.
    news: Vec<String>,
    failures: BTreeMap<String, usize>,
    told: Told,
    /// Packets that were too many to be told, by node; and those for which there was no space here.
    lost: BTreeMap<String, u64>,
    dropped: u64,
}

impl<'a> Session<'a> {
    /// Has the nodes begin. One that cannot is told, unless it is the client's.
    ///
    /// # Errors
    /// The client's node cannot follow.
    pub(super) fn begin(plan: &'a Plan, follow: &mut impl Follow, most: usize) -> Result<Self> {
        // The seed of a hasher is random.
        let number = RandomState::new().build_hasher().finish().max(1);
        let mut session = Self {
            plan,
            number,
            nodes: plan.nodes.clone(),
            connection: Connection::new(plan, most),
            problems: BTreeSet::new(),
            news: Vec::new(),
            failures: BTreeMap::new(),
            told: Told::default(),
            lost: BTreeMap::new(),
            dropped: 0,
        };
        let question = |node: &str| FollowPacketsRequest { number, ..plan.request(node) };
        for (node, answer) in follow.begin(&plan.nodes, &question) {
            match answer {
                Ok(_) => {}
                Err(why) if node == plan.home => bail!("packets of node {node} cannot be followed: {why}"),
                Err(why) => session.leave(&node, &format!("packets of node {node} are not followed: {why}")),
            }
        }
        // What was seen until all had begun is only half of it.
        for (_, answer) in follow.ask(&session.nodes, &question) {
            if let Ok(reply) = answer {
                session.count(&reply);
            }
        }
        Ok(session)
    }

    pub(super) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    pub(super) fn problems(&self) -> &BTreeSet<String> {
        &self.problems
    }

    /// How many packets were not told.
    pub(super) fn lost(&self) -> u64 {
        self.lost.values().sum::<u64>() + self.dropped
    }

    /// Problems that have not been told yet.
    pub(super) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Takes what was seen since: the new rows of the connection.
    pub(super) fn ask(&mut self, follow: &mut impl Follow) -> Vec<usize> {
        self.round(follow, false);
        self.connection.settle()
    }

    /// Takes the rest, and ends it.
    pub(super) fn end(&mut self, follow: &mut impl Follow) -> Vec<usize> {
        for _ in 0..MOST_RESTS {
            if !self.round(follow, true) {
                break;
            }
        }
        self.connection.settle()
    }

    /// Asks every node once. Says whether one has more to tell.
    fn round(&mut self, follow: &mut impl Follow, last: bool) -> bool {
        let wait = if last { Duration::ZERO } else { WAIT };
        let wait_ms = wait.as_millis().try_into().unwrap_or(u32::MAX);
        let Self { plan, number, .. } = *self;
        let question = |node: &str| FollowPacketsRequest { number, wait_ms, last, ..plan.request(node) };
        let mut more = false;
        for (node, answer) in follow.ask(&self.nodes.clone(), &question) {
            match answer {
                Ok(reply) => {
                    self.failures.remove(&node);
                    more |= reply.more;
                    if !reply.more {
                        self.told.all(&node, self.connection.round());
                    }
                    self.take(&node, reply);
                }
                Err(why) => self.fail(&node, &why),
            }
        }
        more
    }

    fn fail(&mut self, node: &str, why: &str) {
        self.told.partially();
        self.tell(format!("node {node} did not tell what it saw for a moment: {why}"));
        let failures = self.failures.entry(node.to_owned()).or_default();
        *failures += 1;
        if *failures >= MOST_FAILURES {
            self.leave(node, &format!("node {node} is asked no more what it sees"));
        }
    }

    fn leave(&mut self, node: &str, why: &str) {
        self.nodes.retain(|one| one != node);
        self.tell(why.to_owned());
    }

    fn tell(&mut self, problem: String) {
        if self.problems.insert(problem.clone()) {
            self.news.push(problem);
        }
    }

    fn take(&mut self, node: &str, reply: FollowPacketsReply) {
        self.count(&reply);
        for packet in reply.packets {
            if !self.connection.add(node, packet) {
                self.dropped += 1;
                self.told.partially();
            }
        }
    }

    fn count(&mut self, reply: &FollowPacketsReply) {
        if reply.lost > 0 {
            self.told.partially();
        }
        let lost = self.lost.entry(reply.node.clone()).or_default();
        *lost = reply.lost.max(*lost);
    }
}
