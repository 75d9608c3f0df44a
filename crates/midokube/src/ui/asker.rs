//! Whom the page's server asks: the agents at some sockets, or all nodes.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use terminal::output;

use super::args::UiArgs;
use crate::agent::Agent;
use crate::flows::{self, View};
use crate::name::Name;
use crate::nodes::{Nodes, Output, Question};
use crate::trace::{self, Packet};
use crate::{policy, status};

/// How often agents are asked, which answer from memory, and nodes, which run a program each.
const PERIOD: Duration = Duration::from_secs(1);
const PERIOD_OF_NODES: Duration = Duration::from_secs(3);

/// The exit statuses of `midokube status` with an answer.
const STATUS: &[u8] = &[0, 3];

/// What each node says, or why it says nothing.
pub(super) type Answers<T> = Vec<(String, Result<T, String>)>;

/// Whom to ask.
pub(super) enum Asker {
    Agents(Vec<Seat>),
    Nodes(Box<Nodes>, Duration),
}

/// An agent of this machine.
#[derive(Debug)]
pub(super) struct Seat {
    agent: Agent,
    /// How far its flows are known, and the name of its node once it has told it.
    told: Mutex<(u64, Option<String>)>,
}

impl Asker {
    /// As the command line says. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub(super) fn new(args: &UiArgs) -> Result<Self> {
        if args.cluster.this_node {
            let seat = |agent| Seat { agent, told: Mutex::default() };
            return Ok(Self::Agents(args.sockets.agents().into_iter().map(seat).collect()));
        }
        Ok(Self::Nodes(
            Box::new(Nodes::new(&args.cluster.kubernetes, args.sockets.timeout)?),
            args.sockets.timeout,
        ))
    }

    /// How often to ask.
    pub(super) fn period(&self) -> Duration {
        match self {
            Self::Agents(_) => PERIOD,
            Self::Nodes(..) => PERIOD_OF_NODES,
        }
    }

    /// The names of all who could be asked.
    ///
    /// # Errors
    /// The API server does not say which nodes there are.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        match self {
            Self::Agents(seats) => Ok(seats.iter().map(Seat::name).collect()),
            Self::Nodes(nodes, _) => nodes.names(),
        }
    }

    /// Flows with a packet in so much time, not merged; of an agent what changed since it was asked last.
    ///
    /// # Errors
    /// The API server does not say which nodes there are.
    pub(super) fn flows(
        &self,
        since: Option<Duration>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Answers<View>> {
        match self {
            Self::Agents(seats) => Ok(each(seats, wanted, |seat| seat.flows(since))),
            Self::Nodes(nodes, timeout) => flows::of_nodes(nodes, *timeout, since, wanted),
        }
    }

    /// What `midokube status` says.
    ///
    /// # Errors
    /// The API server does not say which nodes there are.
    pub(super) fn statuses(&self, wanted: impl Fn(&str) -> bool) -> Result<Answers<Value>> {
        match self {
            Self::Agents(seats) => Ok(each(seats, wanted, Seat::status)),
            Self::Nodes(nodes, timeout) => {
                let question = question(&["status"], *timeout, STATUS);
                let answers = nodes.ask(&question, wanted)?;
                Ok(answers.into_iter().map(|(name, said)| (name, document(said))).collect())
            }
        }
    }

    /// What `midokube policy` says of a Pod of a node.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn policies(&self, node: &str, pod: &Name) -> Result<Value, String> {
        let is_it = |name: &str| name == node;
        let answers = match self {
            Self::Agents(seats) => {
                Ok(each(seats, is_it, |seat| read(&policy::document(Some(pod), &seat.agent)?)))
            }
            Self::Nodes(nodes, timeout) => {
                let question = question(&["policy", &pod.to_string()], *timeout, &[0]);
                let answers = nodes.ask(&question, is_it);
                answers
                    .map(|all| all.into_iter().map(|(name, said)| (name, document(said))).collect::<Vec<_>>())
            }
        };
        let answers = answers.map_err(|error| output::explain(&error))?;
        answers.into_iter().next().map_or_else(|| Err(format!("there is no node {node}")), |(_, said)| said)
    }

    /// What `midokube trace` says of a packet.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(super) fn trace(&self, packet: &Packet) -> Result<Value> {
        match self {
            Self::Agents(seats) => {
                trace::document_of_agents(seats.iter().map(|seat| seat.agent.clone()).collect(), packet)
            }
            Self::Nodes(nodes, timeout) => trace::document_of_nodes(nodes, *timeout, packet),
        }
    }
}

impl Seat {
    fn name(&self) -> String {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.1.clone().unwrap_or_else(|| self.agent.socket.display().to_string())
    }

    fn status(&self) -> Result<Value> {
        let status = read(&status::document(&self.agent)?)?;
        if let Some(name) = status.pointer("/agent/node").and_then(Value::as_str) {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(name.to_owned());
        }
        Ok(status)
    }

    fn flows(&self, since: Option<Duration>) -> Result<View> {
        let mut after = self.told.lock().unwrap_or_else(PoisonError::into_inner).0;
        let view = flows::of_agent(&self.agent, &mut after, since)?;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0 = after;
        Ok(view)
    }
}

/// Asks some agents at the same time.
fn each<T: Send>(
    seats: &[Seat],
    wanted: impl Fn(&str) -> bool,
    ask: impl Fn(&Seat) -> Result<T> + Sync,
) -> Answers<T> {
    let asked: Vec<&Seat> = seats.iter().filter(|seat| wanted(&seat.name())).collect();
    let ask = &ask;
    thread::scope(|scope| {
        let running: Vec<_> = asked.iter().map(|seat| scope.spawn(move || ask(seat))).collect();
        let answers = asked.iter().zip(running).map(|(seat, running)| {
            let said = match running.join() {
                Ok(said) => said.map_err(|error| output::explain(&error)),
                Err(_) => Err("asking it panicked".to_owned()),
            };
            // By now it may have told its name.
            (seat.name(), said)
        });
        answers.collect()
    })
}

fn question(words: &[&str], timeout: Duration, answers: &'static [u8]) -> Question {
    let timeout = format!("{}ms", timeout.as_millis());
    let options = ["--output", "json", "--timeout", &timeout];
    let words = words.iter().chain(&options).map(|word| (*word).to_owned()).collect();
    Question { words, input: None, answers }
}

fn read(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(text)?)
}

fn document(said: Result<Output, String>) -> Result<Value, String> {
    serde_json::from_slice(&said?.stdout).map_err(|error| {
        format!("its answer cannot be read: {error}: its agent has another version than this midokube")
    })
}
