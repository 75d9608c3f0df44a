//! Asking nodes: the agents at some sockets, or those of a cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use nodeapi::v1::find_trace_end_request::End;
use nodeapi::v1::{
    FindTraceEndReply, FindTraceEndRequest, PodName, ServiceName, StatusReply, StatusRequest,
    TracePacketReply, TracePacketRequest,
};
use nodeapi::{Message, call};
use objects::did_you_mean;

use super::hop::What;
use super::walk::{Ask, Found};
use crate::agent::Agent;
use crate::name::Name;
use crate::nodes::{Nodes, Question};
use crate::trace::args::{Place, Target};

/// So much of the time that a node may take is for the way to it.
const WAY: Duration = Duration::from_secs(2);

/// So many Pods of a namespace are looked at for one that may be meant.
const MOST_PODS: u32 = 2000;

fn question(of: &Target) -> Result<FindTraceEndRequest> {
    let end = match of {
        Target::Place(Place::Pod(Name { namespace, name })) => {
            End::Pod(PodName { namespace: namespace.clone(), name: name.clone() })
        }
        Target::Service(Name { namespace, name }) => {
            End::Service(ServiceName { namespace: namespace.clone(), name: name.clone() })
        }
        Target::Place(Place::Node(name)) => End::Node(name.clone()),
        Target::Address(address) => bail!("{address} is an address"),
    };
    Ok(FindTraceEndRequest { end: Some(end) })
}

fn addresses(reply: &FindTraceEndReply) -> Vec<IpAddr> {
    reply.addresses.iter().filter_map(|address| address.parse().ok()).collect()
}

/// Whom a reply is about.
fn found(reply: FindTraceEndReply) -> Found {
    let addresses = addresses(&reply);
    let FindTraceEndReply { node, ports, .. } = reply;
    Found { addresses, node: Some(node).filter(|node| !node.is_empty()), ports }
}

/// The agents at some sockets, by the names of their nodes.
pub(in crate::trace) struct Agents {
    named: BTreeMap<String, Agent>,
    /// Why others do not say their names.
    silent: Vec<String>,
}

impl Agents {
    /// Those that say their names.
    ///
    /// # Errors
    /// None of them does.
    pub(in crate::trace) fn new(agents: Vec<Agent>) -> Result<Self> {
        let (mut named, mut silent) = (BTreeMap::new(), Vec::new());
        let ask = |agent: &Agent| agent.ask::<_, StatusReply>(&call::STATUS, &StatusRequest {}, "its name");
        let answers: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = agents.iter().map(|agent| scope.spawn(|| ask(agent))).collect();
            asked
                .into_iter()
                .map(|asked| asked.join().unwrap_or_else(|_| Err(anyhow!("asking it failed"))))
                .collect()
        });
        for (agent, answer) in agents.into_iter().zip(answers) {
            match answer {
                Ok(status) => {
                    named.insert(status.agent.unwrap_or_default().node, agent);
                }
                Err(error) => silent.push(format!("{error:#}")),
            }
        }
        match silent.pop() {
            Some(why) if named.is_empty() => Err(anyhow!(why)),
            why => {
                silent.extend(why);
                Ok(Self { named, silent })
            }
        }
    }

    /// They, by the names of their nodes.
    pub(in crate::trace) fn by_node(&self) -> &BTreeMap<String, Agent> {
        &self.named
    }

    fn agent(&self, node: &str) -> Result<&Agent> {
        self.named.get(node).with_context(|| {
            let silent = self.silent.iter().map(|why| format!("; {why}")).collect::<String>();
            format!(
                "its agent is not asked, or does not answer: give its socket with another --socket, or a kubeconfig without \
                 --this-node{silent}"
            )
        })
    }
}

impl Ask for Agents {
    fn home(&mut self, from: &Place) -> Result<(String, Vec<IpAddr>)> {
        let name = match from {
            Place::Node(name) => {
                self.agent(name).with_context(|| format!("node {name}"))?;
                return Ok((name.clone(), Vec::new()));
            }
            Place::Pod(name) => name,
        };
        let request = question(&Target::Place(from.clone()))?;
        let (mut last, mut elsewhere) = (anyhow!("no agent is asked"), None);
        for agent in self.named.values() {
            match agent.ask(&call::FIND_TRACE_END, &request, "the addresses of that name") {
                Ok(reply) if self.named.contains_key(&reply.node) => {
                    let found = addresses(&reply);
                    return Ok((reply.node, found));
                }
                Ok(reply) => elsewhere = Some(reply.node),
                Err(error) => last = error,
            }
        }
        match elsewhere {
            Some(node) => {
                bail!(
                    "Pod {name} is on node {node}, whose agent is not asked: run this there, give its socket with another \
                     --socket, or a kubeconfig without --this-node"
                )
            }
            None => Err(last),
        }
    }

    fn find(&mut self, node: &str, to: &Target) -> Result<Found> {
        let request = question(to)?;
        let mut agents = vec![self.agent(node)?];
        agents.extend(self.named.iter().filter(|(name, _)| *name != node).map(|(_, agent)| agent));
        let mut last = anyhow!("no agent is asked");
        for agent in agents {
            match agent.ask(&call::FIND_TRACE_END, &request, "the addresses of that name") {
                Ok(reply) => return Ok(found(reply)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn trace(&mut self, node: &str, request: &TracePacketRequest) -> Result<TracePacketReply> {
        self.agent(node)?.ask(&call::TRACE_PACKET, request, "the trace")
    }
}

/// The agents of a cluster.
pub(in crate::trace) struct Cluster<'a> {
    nodes: &'a Nodes,
    patience: Duration,
}

impl<'a> Cluster<'a> {
    pub(in crate::trace) fn new(nodes: &'a Nodes, patience: Duration) -> Self {
        Self { nodes, patience }
    }

    /// Pods of the namespace that may be meant instead, as far as the API server says.
    fn near(&self, name: &Name) -> String {
        let list = async |client: &kube::Client| {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &name.namespace);
            pods.list_metadata(&ListParams::default().limit(MOST_PODS)).await
        };
        let Ok(Ok(pods)) = self.nodes.with_client(list) else { return String::new() };
        let names = pods.items.iter().filter_map(|pod| pod.metadata.name.as_deref());
        did_you_mean(&name.to_string(), names.map(|pod| format!("{}/{pod}", name.namespace)))
    }

    fn ask<A: Message + Default>(&self, node: &str, what: What, request: &impl Message) -> Result<A> {
        let timeout = format!("{}ms", self.patience.saturating_sub(WAY).max(WAY).as_millis());
        let words = ["trace-hop", what.word(), "--timeout"].map(str::to_owned);
        let question = Question {
            words: words.into_iter().chain([timeout]).collect(),
            input: Some(request.encode_to_vec()),
            answers: &[0],
        };
        let answers = self.nodes.ask(&question, |name| name == node)?;
        let (_, said) = answers
            .into_iter()
            .next()
            .with_context(|| format!("node {node} has no agent{}", self.nodes.near(node)))?;
        let said = said.map_err(|why| anyhow!("node {node}: {why}"))?;
        let read = A::decode(&*said.stdout);
        read.with_context(|| format!("the answer of node {node} cannot be read: it has another version"))
    }
}

impl Ask for Cluster<'_> {
    fn home(&mut self, from: &Place) -> Result<(String, Vec<IpAddr>)> {
        let name = match from {
            Place::Node(name) => return Ok((name.clone(), Vec::new())),
            Place::Pod(name) => name,
        };
        let read = async |client: &kube::Client| {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &name.namespace);
            pods.get_opt(&name.name).await
        };
        let pod = self.nodes.with_client(read)?.with_context(|| format!("cannot read Pod {name}"))?;
        let pod = pod.with_context(|| format!("there is no Pod {name}{}", self.near(name)))?;
        let spec = pod.spec.unwrap_or_default();
        let node = spec.node_name.with_context(|| format!("Pod {name} is on no node yet"))?;
        if spec.host_network == Some(true) {
            bail!("Pod {name} uses the addresses of its node (hostNetwork): trace from node/{node}");
        }
        let addresses = pod.status.unwrap_or_default().pod_ips.unwrap_or_default();
        Ok((node, addresses.iter().filter_map(|one| one.ip.parse().ok()).collect()))
    }

    fn find(&mut self, node: &str, to: &Target) -> Result<Found> {
        let reply: FindTraceEndReply = self.ask(node, What::Find, &question(to)?)?;
        Ok(found(reply))
    }

    fn trace(&mut self, node: &str, request: &TracePacketRequest) -> Result<TracePacketReply> {
        self.ask(node, What::Packet, request)
    }
}
