//! Where a test takes place: what there is already, and what is made for it and removed.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::Pod;
use terminal::output;

use super::args::TestArgs;
use super::cluster::{self, Agents, Objects, Started};
use super::interrupt::{Interrupt, PATIENCE, within};
use super::objects::{Namespaces, Placement, Template};
use super::question::{Outcome, What};
use super::scene::{CLIENT, FAR, ONE_NODE, Resolver, Scene};
use super::session::Sessions;
use crate::nodes::Nodes;

/// How long everything may take to be made, and then Pods to start.
const START: Duration = Duration::from_secs(120);

/// A test has ended after so long, or was interrupted.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How long namespaces may take to go.
const GONE: Duration = Duration::from_secs(90);

/// Where clusters have their DNS.
const DNS_NAMESPACE: &str = "kube-system";

/// A cluster, and what a test makes in it.
pub(super) struct Site<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) interrupt: Interrupt,
    pub(super) namespaces: Namespaces,
    args: &'a TestArgs,
    placement: Placement,
    /// A node whose processes ask, and that has no Pods.
    third: Option<String>,
    template: Template,
    agents: Agents,
    objects: Objects,
}

impl<'a> Site<'a> {
    /// Finds out what there is, and whether the user may make what is needed. Nothing is made.
    ///
    /// # Errors
    /// The user may not, no node can have Pods, or the API server does not answer.
    pub(super) fn prepare(nodes: &'a Nodes, args: &'a TestArgs) -> Result<Self> {
        let mut interrupt = Interrupt::new(nodes)?;
        let rights = cluster::needed(&args.kubernetes.agent_namespace);
        let missing = interrupt.within(nodes, PATIENCE, cluster::missing(nodes.client(), &rights))?;
        if !missing.is_empty() {
            let missing = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            bail!(
                "the user of the kubeconfig lacks rights: {missing}: use another user, or grant them: \
                 docs/connectivity-test.md of the project has a ClusterRole"
            );
        }
        let agents = cluster::agents(nodes)?;
        let objects = interrupt.within(nodes, PATIENCE, cluster::nodes(nodes.client()))?;
        let chosen = cluster::choose(&objects.candidates(&agents), &args.nodes);
        let (placement, third) = chosen.map_err(|why| anyhow!(why))?;
        let pods = nodes.agent_pods()?;
        let on_home = |pod: &&Pod| {
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(&placement.home)
        };
        let template = pods.iter().filter(on_home).find_map(Template::of);
        let template = template.context("the agent's Pod names no image")?;
        let namespaces = Namespaces::of(&suffix()?);
        Ok(Self { nodes, interrupt, namespaces, args, placement, third, template, agents, objects })
    }

    /// The nodes whose Pods and processes are asked.
    pub(super) fn node_names(&self) -> Vec<&str> {
        let names = [Some(&self.placement.home), self.placement.away.as_ref(), self.third.as_ref()];
        names.into_iter().flatten().map(String::as_str).collect()
    }

    /// Removes what tests left that were interrupted.
    ///
    /// # Errors
    /// It cannot be found or removed.
    pub(super) fn remove_expired(&mut self) -> Result<()> {
        let client = self.nodes.client();
        let names = self.interrupt.within(self.nodes, PATIENCE, cluster::expired(client, now()))?;
        if !names.is_empty() {
            say(&format!("an earlier test was interrupted: its namespaces {} are removed", names.join(", ")));
            self.interrupt.within(self.nodes, PATIENCE, cluster::delete(client, &names))?;
        }
        Ok(())
    }

    /// Makes everything, and waits until the Pods run or have had enough time to.
    ///
    /// # Errors
    /// Something cannot be made.
    pub(super) fn make(&mut self) -> Result<Started> {
        let (nodes, client) = (self.nodes, self.nodes.client());
        let Placement { home, away } = &self.placement;
        let on = away.as_ref().map_or_else(|| home.clone(), |away| format!("{home} and {away}"));
        say(&format!("Pods on {on}, in namespace {}", self.namespaces.own));
        let until = now() + LONGEST.as_secs();
        let made = cluster::make(client, &self.namespaces, &self.placement, &self.template, until);
        self.interrupt.within(nodes, START, made)?;
        let started = cluster::start(client, &self.namespaces, &self.placement);
        self.interrupt.within(nodes, START, started)
    }

    /// What there is to test.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) fn scene(&mut self, started: Started, sessions: &Sessions) -> Result<Scene> {
        let (nodes, client) = (self.nodes, self.nodes.client());
        let names = self.node_names().into_iter();
        let found: Vec<_> = names.filter_map(|name| self.objects.node(name, &self.agents)).collect();
        let Started { mut pods, missing } = started;
        if self.placement.away.is_none() {
            let why = if self.args.nodes.len() == 1 { "one node alone is tested" } else { ONE_NODE };
            pods.insert(FAR.to_owned(), Err(why.to_owned()));
        }
        let own = self.namespaces.own.clone();
        let services = self.interrupt.within(nodes, PATIENCE, cluster::services(client, &own))?;
        let api = async { Ok(cluster::api_server(client).await) };
        let api = self.interrupt.within(nodes, PATIENCE, api)?;
        let resolver = self.resolver(&pods, sessions)?;
        let mut agents = self.agents.states();
        let without = self.objects.without_agent(&self.agents);
        agents.extend(without.into_iter().map(|node| (node, Some("it has no agent".to_owned()))));
        let abilities = self.agents.abilities(found.iter().map(|node| node.end.node.as_str()));
        Ok(Scene { namespace: own, agents, nodes: found, pods, missing, services, api, resolver, abilities })
    }

    /// How Pods resolve names, as one of them says; or why that cannot be tried.
    fn resolver(&mut self, pods: &cluster::Pods, sessions: &Sessions) -> Result<Result<Resolver, String>> {
        let Some(Ok(client)) = pods.get(CLIENT) else {
            return Ok(Err(format!("Pod {CLIENT} does not run")));
        };
        let asked = async { Ok(sessions.try_it(client, What::Resolver, PATIENCE).await) };
        let said = self.interrupt.within(self.nodes, START, asked)?.pop().unwrap_or(Outcome::Reset);
        let known = cluster::services(self.nodes.client(), DNS_NAMESPACE);
        let known = self.interrupt.within(self.nodes, PATIENCE, known)?;
        Ok(cluster::resolver(&said, &known))
    }

    /// Removes what was made, or has it stay. Returns what is left that should not be, with the reason.
    pub(super) fn end(&mut self) -> Option<String> {
        let (nodes, client) = (self.nodes, self.nodes.client());
        let names = [self.namespaces.own.clone(), self.namespaces.other.clone()];
        if self.args.keep {
            let kept = names.iter().map(|name| nodes.block_on(within(PATIENCE, cluster::keep(client, name))));
            kept.filter_map(Result::err).for_each(|error| say(&format!("{error:#}")));
            return None;
        }
        let told = names.join(", ");
        let advice = "`midokube connectivity test --cleanup` removes them";
        if let Err(error) = nodes.block_on(within(PATIENCE, cluster::delete(client, &names))) {
            return Some(format!("namespaces {told} may be left: {error:#}: {advice}"));
        }
        // Another signal ends the waiting: they go all the same.
        let gone = async { Ok(cluster::gone(client, &names).await) };
        match self.interrupt.within(nodes, GONE, gone) {
            Ok(left) if left.is_empty() => None,
            Ok(left) => {
                Some(format!("namespaces {} are not gone yet: see their status; {advice}", left.join(", ")))
            }
            Err(_) => Some(format!("namespaces {told} are being deleted")),
        }
    }
}

/// What no other test's namespaces end with.
fn suffix() -> Result<String> {
    let mut bytes = [0; 4];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Tells people how far it is.
pub(super) fn say(what: &str) {
    output::complain("midokube", what);
}
