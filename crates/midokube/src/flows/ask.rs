//! Asking for flows: the agent of this node, or all.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nodeapi::call;
use nodeapi::v1::ListFlowsRequest;
use terminal::output;

use super::args::FlowsArgs;
use super::merge::merge;
use super::view::{Flow, Node, View};
use crate::agent::Agent;
use crate::nodes::{Nodes, Output, Question};

/// How many pages are read at most: more than a node can have.
const PAGES: usize = 512;

/// How many flows a node returns at most: so that an answer of a node stays below what is read of one.
const MOST: u32 = 50_000;

/// Whom to ask.
pub(super) enum Source<'a> {
    /// The agent of this node, or those at several sockets, and how far the flows of each are known.
    Agents(Vec<(Agent, u64)>),
    /// All nodes.
    Nodes(&'a FlowsArgs, Box<Nodes>),
}

impl<'a> Source<'a> {
    /// As the command line says. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub(super) fn new(args: &'a FlowsArgs) -> Result<Self> {
        if args.cluster.this_node {
            return Ok(Self::Agents(args.sockets.agents().into_iter().map(|agent| (agent, 0)).collect()));
        }
        Ok(Self::Nodes(args, Box::new(Nodes::new(&args.cluster.kubernetes, args.sockets.timeout)?)))
    }

    /// What there is with a packet in so much time; of agents at sockets, when they are asked again, what changed since.
    ///
    /// # Errors
    /// The agent of this node, or the API server, does not answer.
    pub(super) fn ask(&mut self, since: Option<Duration>) -> Result<View> {
        match self {
            Self::Agents(agents) => match agents.as_mut_slice() {
                [(agent, after)] => of_agent(agent, after, since),
                agents => Ok(of_agents(agents, since)),
            },
            Self::Nodes(args, nodes) => ask_nodes(args, nodes, since),
        }
    }
}

/// Whole seconds: a part of one is one.
fn whole_seconds(since: Option<Duration>) -> u64 {
    since.map_or(0, |since| since.as_secs() + u64::from(since.subsec_nanos() > 0))
}

/// What an agent knows behind `after`, which is how far it is known then.
///
/// # Errors
/// It does not answer.
pub(crate) fn of_agent(agent: &Agent, after: &mut u64, since: Option<Duration>) -> Result<View> {
    let mut flows = Vec::new();
    let mut node = None;
    for page in 0..PAGES {
        let request =
            ListFlowsRequest { after: *after, since_seconds: whole_seconds(since), drops: page == 0 };
        let reply = agent.ask(&call::LIST_FLOWS, &request, "its flows")?;
        flows.extend(reply.flows.into_iter().map(|flow| Flow::new(&reply.node, flow)));
        flows.extend(reply.drops.into_iter().map(|drop| Flow::denied(&reply.node, drop)));
        node = Some(Node::new(&reply.node, reply.totals.unwrap_or_default()));
        *after = reply.next;
        if !reply.more {
            break;
        }
    }
    Ok(View::new(node.into_iter().collect(), flows))
}

/// What the agents at some sockets know together. One that does not answer is named by its socket.
fn of_agents(agents: &mut [(Agent, u64)], since: Option<Duration>) -> View {
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = |(agent, after): &mut (Agent, u64)| {
            let said = of_agent(agent, after, since).map_err(|error| output::explain(&error));
            (agent.socket.display().to_string(), said)
        };
        let asked: Vec<_> = agents.iter_mut().map(|one| scope.spawn(move || ask(one))).collect();
        asked.into_iter().filter_map(|asked| asked.join().ok()).collect()
    });
    together(answers)
}

fn ask_nodes(args: &FlowsArgs, nodes: &Nodes, since: Option<Duration>) -> Result<View> {
    Ok(together(of_nodes(nodes, args.sockets.timeout, since, |_| true)?))
}

/// What nodes say, each or why it says nothing, as one.
fn together(answers: Vec<(String, Result<View, String>)>) -> View {
    let (mut told, mut flows) = (Vec::new(), Vec::new());
    for (name, said) in answers {
        match said {
            Ok(view) => {
                told.extend(view.nodes);
                flows.extend(view.flows);
            }
            Err(error) => told.push(Node::failed(name, error)),
        }
    }
    View::new(told, merge(flows))
}

/// What each node of these names knows, or why it says nothing.
///
/// # Errors
/// The API server does not say which nodes there are.
pub(crate) fn of_nodes(
    nodes: &Nodes,
    timeout: Duration,
    since: Option<Duration>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Result<View, String>)>> {
    let answers = nodes.ask(&question(timeout, since), wanted)?;
    let read = |(name, said): (String, Result<Output, String>)| {
        let view = said.and_then(|said| {
            let read = serde_json::from_slice::<View>(&said.stdout).context("its answer cannot be read");
            read.map_err(|error| format!("{error:#}: its agent has another version than this midokube"))
        });
        (name, view)
    };
    Ok(answers.into_iter().map(read).collect())
}

/// What every node runs. What two nodes see is put together before it is compared with the options: one may know what the
/// other does not.
fn question(timeout: Duration, since: Option<Duration>) -> Question {
    let mut words: Vec<String> = ["flows", "--this-node", "--output", "json"].map(str::to_owned).into();
    words.extend(["--limit".to_owned(), MOST.to_string()]);
    words.extend(["--timeout".to_owned(), format!("{}ms", timeout.as_millis())]);
    if let Some(since) = since {
        words.extend(["--since".to_owned(), format!("{}s", whole_seconds(Some(since)))]);
    }
    Question { words, input: None, answers: &[0] }
}
