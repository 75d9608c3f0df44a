//! Asking agents and nodes for what they know.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use kube::api::ListParams;
use nodeapi::call;
use nodeapi::v1::{ProbePathsRequest, StatusRequest};
use serde_json::Value;

use super::cluster::{Cluster, Node, Silence, ahead};
use super::facts::{Facts, Path};
use crate::agent::Agent;
use crate::nodes::{Nodes, Question};

/// What this program is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// So much of the time that a node may take is for the way to it.
const WAY: Duration = Duration::from_secs(2);

/// What one agent knows.
///
/// # Errors
/// Why it does not say that.
pub(super) fn facts(agent: &Agent) -> Result<Facts> {
    let began_ms = now_ms();
    let paths = agent.ask(&call::PROBE_PATHS, &ProbePathsRequest::default(), "its paths");
    // Afterwards, so that the status has what the paths did.
    let status = agent.ask(&call::STATUS, &StatusRequest {}, "its status")?;
    let mut facts = Facts::read(status).context("the agent's status lacks what every agent says")?;
    match paths {
        Ok(reply) => {
            facts.paths = reply.paths.into_iter().map(Path::from).collect();
            facts.heard = reply.heard;
        }
        Err(error) => facts.paths_error = Some(format!("{error:#}")),
    }
    (facts.began_ms, facts.ended_ms) = (began_ms, now_ms());
    Ok(facts)
}

/// What the agents at some sockets know. They are asked at the same time, since each tells what it hears of the others.
pub(super) fn agents(agents: &[Agent]) -> Cluster {
    let nodes = thread::scope(|scope| {
        let asked: Vec<_> = agents.iter().map(|agent| scope.spawn(move || facts(agent))).collect();
        let answered = agents.iter().zip(asked).map(|(agent, asked)| {
            let said = asked.join().unwrap_or_else(|_| Err(anyhow!("asking it panicked")));
            let said = said.map_err(|error| Silence { why: format!("{error:#}"), version: None });
            let name =
                said.as_ref().map_or_else(|_| agent.socket.display().to_string(), |facts| facts.node.clone());
            Node { name, said, clock: None }
        });
        answered.collect()
    });
    Cluster { nodes, without_agent: Vec::new(), version: VERSION.to_owned() }
}

/// What all nodes of a cluster know.
///
/// # Errors
/// The API server does not say which there are.
pub(super) fn nodes(nodes: &Nodes, patience: Duration) -> Result<Cluster> {
    let words = ["doctor", "--this-node", "--facts", "--output", "json", "--timeout"].map(str::to_owned);
    let timeout = format!("{}ms", patience.saturating_sub(WAY).max(WAY).as_millis());
    let words = words.into_iter().chain([timeout]).collect();
    let answers = nodes.ask(&Question { words, input: None, answers: &[0] }, |_| true)?;
    let mut known: Vec<Node> = answers
        .into_iter()
        .map(|(name, said)| {
            let read = said.and_then(|said| {
                let facts: Facts = serde_json::from_slice(&said.stdout)
                    .map_err(|error| format!("its answer cannot be read: {error}"))?;
                let clock = ahead(&facts, said.asked, said.answered);
                Ok((facts, clock))
            });
            match read {
                Ok((facts, clock)) => Node { name, said: Ok(facts), clock },
                Err(why) => Node { name, said: Err(Silence { why, version: None }), clock: None },
            }
        })
        .collect();
    ask_versions(nodes, &mut known)?;
    let without_agent = without_agent(nodes, &known);
    Ok(Cluster { nodes: known, without_agent, version: VERSION.to_owned() })
}

/// Has those that do not know this question tell at least their version.
fn ask_versions(nodes: &Nodes, known: &mut [Node]) -> Result<()> {
    if known.iter().all(|node| node.said.is_ok()) {
        return Ok(());
    }
    let is_silent = |name: &str| known.iter().any(|node| node.name == name && node.said.is_err());
    let words = ["version", "--output", "json"].map(str::to_owned).into();
    let answers = nodes.ask(&Question { words, input: None, answers: &[0, 1] }, is_silent)?;
    for (name, said) in answers {
        let version = said.ok().and_then(|said| {
            let document: Value = serde_json::from_slice(&said.stdout).ok()?;
            let version = document.pointer("/agent/version").or_else(|| document.pointer("/client/version"));
            version?.as_str().map(str::to_owned)
        });
        let silent = known.iter_mut().find(|node| node.name == name);
        if let Some(Node { said: Err(silence), .. }) = silent {
            silence.version = version;
        }
    }
    Ok(())
}

/// The nodes of the cluster that have no agent's Pod. Who may not list nodes does not learn of them.
fn without_agent(nodes: &Nodes, known: &[Node]) -> Vec<String> {
    let list = async |client: &kube::Client| {
        let all: Api<NodeObject> = Api::all(client.clone());
        all.list_metadata(&ListParams::default().labels("kubernetes.io/os!=windows")).await
    };
    let Ok(Ok(objects)) = nodes.with_client(list) else { return Vec::new() };
    let names = objects.items.into_iter().filter_map(|object| object.metadata.name);
    names.filter(|name| !known.iter().any(|node| node.name == *name)).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
