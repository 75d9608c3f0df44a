//! Makes what a test needs, and changes it while it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

use super::super::objects::{Namespaces, Placement, Template, move_label, namespace, pod, services};
use super::super::scene::{End, FAR, NEAR};
use crate::name::Name;
use crate::nodes::{Nodes, Question};
use crate::trace::Place;

/// How long Pods may take to start.
const START: Duration = Duration::from_secs(60);

/// A new namespace has its ServiceAccount after so long at most.
const ACCOUNT: Duration = Duration::from_secs(15);

/// How often something is looked for.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a policy may take to be in force on a node.
const IN_FORCE: Duration = Duration::from_secs(15);

/// So many objects are made at a time.
const AT_ONCE: usize = 4;

/// Pods that run, or why one does not.
pub(in crate::connectivity) type Pods = BTreeMap<String, Result<End, String>>;

/// What became of Pods.
#[derive(Debug, Default)]
pub(in crate::connectivity) struct Started {
    pub(in crate::connectivity) pods: Pods,
    /// Of those that do not run: the Pod, its node, and why.
    pub(in crate::connectivity) missing: Vec<(String, String, String)>,
}

/// Makes the namespaces, Services and Pods.
///
/// # Errors
/// One cannot be made.
pub(in crate::connectivity) async fn make(
    client: &Client,
    namespaces: &Namespaces,
    placement: &Placement,
    template: &Template,
    until: u64,
) -> Result<()> {
    let all: Api<Namespace> = Api::all(client.clone());
    for name in [&namespaces.own, &namespaces.other] {
        let made = all.create(&PostParams::default(), &namespace(name, until)?).await;
        made.with_context(|| format!("cannot create namespace {name}"))?;
    }
    let services = services(&namespaces.own)?;
    let service = async |service: Service| {
        let api: Api<Service> = Api::namespaced(client.clone(), &namespaces.own);
        let made = api.create(&PostParams::default(), &service).await;
        made.with_context(|| format!("cannot create Service {}", service.name_any())).map(|_| ())
    };
    stream::iter(services.into_iter().map(service))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let pods = placement.pods().into_iter().map(|(name, node)| async move {
        let namespace = namespaces.of_pod(name);
        make_pod(client, &pod((namespace, name), node, template)?).await
    });
    stream::iter(pods).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Makes a Pod, as soon as its namespace has a ServiceAccount.
async fn make_pod(client: &Client, pod: &Pod) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let end = Instant::now() + ACCOUNT;
    loop {
        match api.create(&PostParams::default(), pod).await {
            Err(kube::Error::Api(status))
                if status.code == 403
                    && status.message.contains("serviceaccount")
                    && Instant::now() < end =>
            {
                sleep(PAUSE).await;
            }
            made => return made.with_context(|| format!("cannot create Pod {}", pod.name_any())).map(|_| ()),
        }
    }
}

/// Waits until the Pods run, or have had enough time to.
///
/// # Errors
/// They cannot be listed.
pub(in crate::connectivity) async fn start(
    client: &Client,
    namespaces: &Namespaces,
    placement: &Placement,
) -> Result<Started> {
    let end = Instant::now() + START;
    loop {
        let mut objects = BTreeMap::new();
        for namespace in [&namespaces.own, &namespaces.other] {
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let listed = api.list(&ListParams::default()).await;
            let listed = listed.with_context(|| format!("cannot list the Pods of namespace {namespace}"))?;
            objects.extend(listed.items.into_iter().map(|pod| (pod.name_any(), pod)));
        }
        let mut started = Started::default();
        for (name, node) in placement.pods() {
            let namespace = namespaces.of_pod(name);
            let state =
                objects.get(name).map_or_else(|| Err("it is gone".to_owned()), |pod| running(pod, namespace));
            if let Err(why) = &state {
                started.missing.push((name.to_owned(), node.to_owned(), why.clone()));
            }
            let state = state.map_err(|why| format!("Pod {name} on {node} does not run: {why}"));
            started.pods.insert(name.to_owned(), state);
        }
        if started.missing.is_empty() || Instant::now() > end {
            return Ok(started);
        }
        sleep(PAUSE).await;
    }
}

/// A Pod that runs and has addresses; or why it does not.
fn running(pod: &Pod, namespace: &str) -> Result<End, String> {
    let status = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let found = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind && condition.status != "True");
        found.and_then(|condition| condition.message.clone()).filter(|message| !message.is_empty())
    };
    let state = status.container_statuses.iter().flatten().find_map(|container| container.state.clone());
    if state.as_ref().is_some_and(|state| state.running.is_some()) {
        let addresses = status.pod_ips.iter().flatten().filter_map(|address| address.ip.parse().ok());
        let place = Place::Pod(Name { namespace: namespace.to_owned(), name: pod.name_any() });
        return Ok(End { place, node: spec.node_name.unwrap_or_default(), addresses: addresses.collect() });
    }
    let waiting = state.as_ref().and_then(|state| state.waiting.as_ref());
    let ended = state.as_ref().and_then(|state| state.terminated.as_ref());
    let words = |reason: Option<&String>, message: Option<&String>| {
        let words: Vec<&str> = [reason, message].into_iter().flatten().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join(": "))
    };
    let told = condition("PodScheduled")
        .or_else(|| words(waiting?.reason.as_ref(), waiting?.message.as_ref()))
        .or_else(|| words(ended?.reason.as_ref(), ended?.message.as_ref()))
        .or_else(|| words(status.reason.as_ref(), status.message.as_ref()));
    Err(told.unwrap_or_else(|| format!("it is {}", status.phase.as_deref().unwrap_or("not scheduled"))))
}

/// Makes `FAR` the endpoint that `NEAR` was.
///
/// # Errors
/// A Pod cannot be changed.
pub(in crate::connectivity) async fn move_endpoint(client: &Client, namespace: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for (name, is_endpoint) in [(NEAR, false), (FAR, true)] {
        let patch = Patch::Merge(move_label(is_endpoint));
        let patched = pods.patch_metadata(name, &PatchParams::default(), &patch).await;
        patched.with_context(|| format!("cannot change the labels of Pod {name}"))?;
    }
    Ok(())
}

/// Makes policies, or removes them.
///
/// # Errors
/// One cannot be made or removed.
pub(in crate::connectivity) async fn set_policies(
    client: &Client,
    namespace: &str,
    policies: &[NetworkPolicy],
    there: bool,
) -> Result<()> {
    let api: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    for policy in policies {
        let name = policy.name_any();
        if there {
            let made = api.create(&PostParams::default(), policy).await;
            made.with_context(|| format!("cannot create NetworkPolicy {name}"))?;
        } else {
            let removed = api.delete(&name, &DeleteParams::default()).await;
            removed.with_context(|| format!("cannot delete NetworkPolicy {name}"))?;
        }
    }
    Ok(())
}

/// Waits until a policy is in force on a node, or is there no more. Returns why it is not.
pub(in crate::connectivity) fn policies_in_force(
    nodes: &Nodes,
    (namespace, policy): (&str, &str),
    node: &str,
    there: bool,
) -> Option<String> {
    let policy = format!("networkpolicy/{namespace}/{policy}");
    let words = ["policy", "wait", &policy, "--this-node", "--output", "json"].map(str::to_owned);
    let wait = format!("{}ms", IN_FORCE.as_millis());
    let until = if there { "applied" } else { "delete" };
    let more = ["--for", until, "--timeout", &wait].map(str::to_owned);
    let words = words.into_iter().chain(more).collect();
    let asked = nodes.ask(&Question { words, input: None, answers: &[0, 1] }, |name| name == node);
    match asked.map(|answers| answers.into_iter().next()) {
        Ok(Some((_, Ok(said)))) if said.code == 0 => None,
        Ok(Some((_, Ok(said)))) => {
            let document: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
            let missing = document.pointer("/nodes/0/missing").and_then(|missing| missing.as_str());
            Some(missing.unwrap_or("it does not say why").to_owned())
        }
        Ok(Some((_, Err(why)))) => Some(why),
        Ok(None) => Some(format!("node {node} has no agent")),
        Err(error) => Some(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(status: &Value) -> Result<Vec<String>, String> {
        let pod = json!({"metadata": {"name": "near"}, "spec": {"nodeName": "a", "containers": []}, "status": status});
        let end = running(&serde_json::from_value(pod).unwrap(), "ns")?;
        Ok(end.addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn why_a_pod_does_not_run_is_told() {
        let container = |state: Value| json!([{"name": "midokube", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
        let ips = json!([{"ip": "10.244.1.3"}, {"ip": "fd44::3"}]);
        let running = json!({"containerStatuses": container(json!({"running": {}})), "podIPs": ips});
        assert_eq!(state(&running).unwrap(), ["10.244.1.3", "fd44::3"]);
        let pull = container(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}));
        assert_eq!(state(&json!({"containerStatuses": pull})).unwrap_err(), "ErrImagePull: no such image");
        let unscheduled =
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no space"}]});
        assert_eq!(state(&unscheduled).unwrap_err(), "no space");
        assert_eq!(state(&json!({"phase": "Pending"})).unwrap_err(), "it is Pending");
        assert_eq!(state(&json!({"reason": "Evicted"})).unwrap_err(), "Evicted");
    }
}
