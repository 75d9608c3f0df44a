//! Asking nodes again and again: the agents at some sockets, or those of a cluster.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nodeapi::v1::{FollowPacketsReply, FollowPacketsRequest};
use nodeapi::{Message as _, call};

use crate::agent::Agent;
use crate::nodes::{Nodes, Places, Talk};

/// What goes on in the Pod of an agent.
const WORDS: [&str; 2] = ["trace-hop", "follow"];

/// What a node has seen since, or why it does not tell.
pub(in crate::trace) type Answer = (String, Result<FollowPacketsReply, String>);

/// What to ask a node.
pub(in crate::trace) type Question<'a> = &'a (dyn Fn(&str) -> FollowPacketsRequest + Sync);

/// The nodes.
pub(in crate::trace) trait Follow {
    /// Asks these nodes at once. An agent forgets who does not ask for five seconds: no node may take longer than that.
    fn ask(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer>;

    /// The same for the first time, which may take long.
    fn begin(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer> {
        self.ask(nodes, question)
    }
}

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The agents at some sockets, by the names of their nodes.
pub(in crate::trace) struct Agents(pub(in crate::trace) BTreeMap<String, Agent>);

impl Follow for Agents {
    fn ask(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer> {
        self.each(nodes, question, PATIENCE)
    }

    fn begin(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer> {
        self.each(nodes, question, Duration::MAX)
    }
}

impl Agents {
    fn each(&self, nodes: &[String], question: Question<'_>, patience: Duration) -> Vec<Answer> {
        let agents = &self.0;
        let ask = |node: &String| {
            let agent =
                agents.get(node).ok_or("its agent is not asked: give its socket with another --socket")?;
            let agent = Agent { timeout: agent.timeout.min(patience), ..agent.clone() };
            let said = agent.ask(&call::FOLLOW_PACKETS, &question(node), "what it sees");
            said.map_err(|error| format!("{error:#}"))
        };
        thread::scope(|scope| {
            let asked: Vec<_> = nodes.iter().map(|node| (node, scope.spawn(|| ask(node)))).collect();
            let answer = |(node, asked): (&String, thread::ScopedJoinHandle<'_, _>)| {
                (node.clone(), asked.join().unwrap_or_else(|_| Err("asking it failed".to_owned())))
            };
            asked.into_iter().map(answer).collect()
        })
    }
}

/// The agents of a cluster: a `midokube` in the Pod of each asks it.
pub(in crate::trace) struct Cluster<'a> {
    nodes: &'a Nodes,
    patience: Duration,
    places: Option<Places>,
    talks: BTreeMap<String, Talk>,
}

impl<'a> Cluster<'a> {
    pub(in crate::trace) fn new(nodes: &'a Nodes, patience: Duration) -> Self {
        Self { nodes, patience, places: None, talks: BTreeMap::new() }
    }

    /// Starts what is not there, or has ended.
    fn start(&mut self, nodes: &[String], patience: Duration) -> BTreeMap<String, String> {
        let mut failed = BTreeMap::new();
        self.talks.retain(|_, talk| !talk.has_ended());
        let missing: Vec<_> = nodes.iter().filter(|node| !self.talks.contains_key(*node)).collect();
        if missing.is_empty() {
            return failed;
        }
        if self.places.is_none() {
            match self.nodes.places() {
                Ok(places) => self.places = Some(places),
                Err(error) => {
                    return missing.into_iter().map(|node| (node.clone(), format!("{error:#}"))).collect();
                }
            }
        }
        let places = self.places.as_ref();
        let api = self.nodes.agents_api();
        let start = |node: &'_ String| {
            let (node, place) = (node.clone(), places.and_then(|places| places.get(node)).cloned());
            async move {
                let started = match place.unwrap_or_else(|| Err("it has no agent".to_owned())) {
                    Ok((pod, container)) => Talk::start(api, &pod, &container, &WORDS, patience).await,
                    Err(why) => Err(why),
                };
                (node, started)
            }
        };
        let started = self.nodes.block_on(futures::future::join_all(missing.into_iter().map(start)));
        for (node, started) in started {
            match started {
                Ok(talk) => {
                    self.talks.insert(node, talk);
                }
                Err(why) => {
                    failed.insert(node, why);
                }
            }
        }
        failed
    }
}

impl Follow for Cluster<'_> {
    fn ask(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer> {
        self.each(nodes, question, PATIENCE.min(self.patience))
    }

    fn begin(&mut self, nodes: &[String], question: Question<'_>) -> Vec<Answer> {
        self.each(nodes, question, self.patience)
    }
}

impl Cluster<'_> {
    fn each(&mut self, nodes: &[String], question: Question<'_>, patience: Duration) -> Vec<Answer> {
        let mut failed = self.start(nodes, patience);
        let talks = &self.talks;
        let ask = |node: &String| {
            let (node, failed) = (node.clone(), failed.remove(node));
            let question = BASE64_STANDARD.encode(question(&node).encode_to_vec());
            async move {
                let answer = match (failed, talks.get(&node)) {
                    (Some(why), _) => Err(why),
                    (None, None) => Err("it has ended".to_owned()),
                    (None, Some(talk)) => {
                        talk.ask(&question, patience).await.and_then(|answer| read(&answer))
                    }
                };
                (node, answer)
            }
        };
        let asked: Vec<_> = nodes.iter().map(ask).collect();
        self.nodes.block_on(futures::future::join_all(asked))
    }
}

/// An answer of `run_follow`.
fn read(answer: &str) -> Result<FollowPacketsReply, String> {
    let (what, text) = answer.split_once(' ').unwrap_or((answer, ""));
    let unread = |_| "its answer cannot be read: it has another version".to_owned();
    match what {
        "seen" => {
            let bytes = BASE64_STANDARD.decode(text).map_err(unread)?;
            FollowPacketsReply::decode(&*bytes)
                .map_err(|_| "its answer cannot be read: it has another version".to_owned())
        }
        _ => Err(text.to_owned()),
    }
}

/// Asks this node's agent what every line of standard input says, and answers by a line.
///
/// # Errors
/// Standard input or output broke.
pub(in crate::trace) fn run_follow(agent: &Agent) -> Result<ExitCode> {
    for line in io::stdin().lock().lines() {
        let line = line.context("cannot read the question")?;
        let (number, question) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match answer(agent, question) {
            Ok(reply) => format!("seen {}", BASE64_STANDARD.encode(reply.encode_to_vec())),
            // One line.
            Err(error) => format!("failed {}", format!("{error:#}").replace('\n', " ")),
        };
        let mut output = io::stdout().lock();
        let written = writeln!(output, "{number} {answer}").and_then(|()| output.flush());
        written.context("cannot write the answer")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(agent: &Agent, question: &str) -> Result<FollowPacketsReply> {
    const UNREAD: &str = "the question cannot be read: it is another midokube's";
    let bytes = BASE64_STANDARD.decode(question).context(UNREAD)?;
    let request = FollowPacketsRequest::decode(&*bytes).context(UNREAD)?;
    agent.ask(&call::FOLLOW_PACKETS, &request, "what it sees")
}
