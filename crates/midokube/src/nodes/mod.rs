//! Asking every node: a command of `midokube` is run beside each agent, in its Pod, through the API server. That takes the
//! user's own rights in the cluster and nothing else.

mod agents;
mod args;
mod exec;
mod talk;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use objects::did_you_mean;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use agents::{AgentPod, agents};
pub(crate) use args::{Cluster, Kubernetes, Sockets, ThisNode};
pub(crate) use exec::Output;
use exec::exec;
pub(crate) use talk::Talk;

/// So many nodes are asked at a time.
const AT_ONCE: usize = 32;

/// So many of a log's last lines are read at most.
const LOG_LINES: i64 = 5000;

/// By what the agents' Pods are known: deploy/midonet-kube.yaml.
const LABEL: &str = "k8s-app=midonet-kube-node";

/// The nodes of a cluster.
pub(crate) struct Nodes {
    runtime: Runtime,
    client: Client,
    /// The namespace of the kubeconfig's context.
    namespace: String,
    agents: Api<Pod>,
    /// How long a question may take.
    patience: Duration,
}

/// What to run on every node.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The words after `midokube`.
    pub(crate) words: Vec<String>,
    /// What it gets on standard input; `None`: nothing.
    pub(crate) input: Option<Vec<u8>>,
    /// Exit statuses of an answer: with another one standard error says why there is none.
    pub(crate) answers: &'static [u8],
}

/// Where the agent of each node runs: its Pod and container; or why it does not.
pub(crate) type Places = BTreeMap<String, Result<(String, String), String>>;

/// What a node says, or why it says nothing.
pub(crate) type Answer = (String, Result<Output, String>);

impl Nodes {
    /// The nodes of the cluster of a kubeconfig. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub(crate) fn new(cluster: &Kubernetes, patience: Duration) -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
        let config = runtime.block_on(cluster.config(patience))?;
        let namespace = config.default_namespace.clone();
        let client = {
            // It starts a task.
            let _in_runtime = runtime.enter();
            Client::try_from(config).context("cannot use the kubeconfig")?
        };
        let agents = Api::namespaced(client.clone(), &cluster.agent_namespace);
        Ok(Self { runtime, client, namespace, agents, patience })
    }

    /// The namespace of the kubeconfig's context.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Does something else with the API server.
    pub(crate) fn with_client<T>(&self, ask: impl AsyncFnOnce(&Client) -> T) -> Result<T> {
        let asked = async { timeout(self.patience, ask(&self.client)).await };
        let late = || anyhow!("the API server did not answer within {:?}", self.patience);
        self.runtime.block_on(asked).map_err(|_| late())
    }

    /// The API server.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The agents' Pods.
    pub(crate) fn agents_api(&self) -> &Api<Pod> {
        &self.agents
    }

    /// Waits for something that has a deadline of its own.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks every node, or those of the names that `wanted` takes; the answers are sorted by the nodes' names. A node that
    /// has no answer keeps nobody from one.
    ///
    /// # Errors
    /// The API server does not say which nodes there are, or there are none.
    pub(crate) fn ask(&self, question: &Question, wanted: impl Fn(&str) -> bool) -> Result<Vec<Answer>> {
        let all = self.agents()?;
        let asked = all.into_iter().filter(|agent| wanted(&agent.node));
        let ask = |AgentPod { node, running }: AgentPod| async move {
            let said = match running {
                Ok((pod, container)) => self.ask_one(&pod, &container, question).await,
                Err(why) => Err(why),
            };
            (node, said)
        };
        let answers = stream::iter(asked).map(ask).buffer_unordered(AT_ONCE).collect::<Vec<_>>();
        let mut answers = self.runtime.block_on(answers);
        answers.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(answers)
    }

    /// The names of the nodes that have or should have an agent.
    ///
    /// # Errors
    /// As of [`ask`](Self::ask).
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        Ok(self.agents()?.into_iter().map(|agent| agent.node).collect())
    }

    /// The ends of the logs of those agents, of so many bytes at most; or why there is none.
    ///
    /// # Errors
    /// As of [`ask`](Self::ask).
    pub(crate) fn logs(
        &self,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Result<String, String>>> {
        let all = self.agents()?;
        let asked = all.into_iter().filter(|agent| wanted(&agent.node));
        let ask = |AgentPod { node, running }: AgentPod| async move {
            let said = match running {
                Ok((pod, container)) => self.log(&pod, container, most).await,
                Err(why) => Err(why),
            };
            (node, said)
        };
        let logs = stream::iter(asked).map(ask).buffer_unordered(AT_ONCE).collect();
        Ok(self.runtime.block_on(logs))
    }

    async fn log(&self, pod: &str, container: String, most: usize) -> Result<String, String> {
        let parameters = LogParams {
            container: Some(container),
            tail_lines: Some(LOG_LINES),
            limit_bytes: i64::try_from(most).ok(),
            ..LogParams::default()
        };
        match timeout(self.patience, self.agents.logs(pod, &parameters)).await {
            Ok(log) => log.map_err(|error| format!("the log of its Pod {pod} cannot be read: {error}")),
            Err(_) => Err(format!("the log of its Pod {pod} did not come within {:?}", self.patience)),
        }
    }

    /// Nodes with an agent that may be meant instead of one that has none.
    pub(crate) fn near(&self, name: &str) -> String {
        let agents = self.agents().unwrap_or_default();
        did_you_mean(name, agents.iter().map(|agent| agent.node.as_str()))
    }

    /// Where the agent of each node runs: its Pod and container; or why it does not.
    ///
    /// # Errors
    /// As of [`ask`](Self::ask).
    pub(crate) fn places(&self) -> Result<Places> {
        Ok(self.agents()?.into_iter().map(|agent| (agent.node, agent.running)).collect())
    }

    /// The agents, one for each node that has or should have one.
    fn agents(&self) -> Result<Vec<AgentPod>> {
        Ok(agents(&self.agent_pods()?))
    }

    /// The Pods of the agents.
    ///
    /// # Errors
    /// As of [`ask`](Self::ask).
    pub(crate) fn agent_pods(&self) -> Result<Vec<Pod>> {
        let list = async |_: &Client| self.agents.list(&ListParams::default().labels(LABEL)).await;
        let pods = self.with_client(list)?.with_context(|| {
            format!(
                "cannot list the agents' Pods ({LABEL}): the right to list pods in their namespace is needed"
            )
        })?;
        if agents(&pods.items).is_empty() {
            return Err(anyhow!(
                "there is no Pod with the label {LABEL}: name the namespace of the agents with --agent-namespace, or another \
                 cluster with --kubeconfig or --context"
            ));
        }
        Ok(pods.items)
    }

    async fn ask_one(&self, pod: &str, container: &str, question: &Question) -> Result<Output, String> {
        match timeout(self.patience, exec(&self.agents, pod, container, question)).await {
            Ok(said) => said,
            Err(_) => Err(format!("its Pod {pod} did not answer within {:?}", self.patience)),
        }
    }
}
