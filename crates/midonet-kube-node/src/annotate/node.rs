//! Tells the API server about this Node: by these annotations midonet-kube-controllers binds its port, and MidoNet knows its MAC
//! address.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use naming::{Mac, annotation};
use objects::{Annotator, Node};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::annotate::Annotations;
use crate::backend::midonet::host_id;
use crate::problems::{Origin, Problem};

/// What failed is tried again: waits grow from the first to the second, and up to twice that at random.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How often the file with the host's id is read: the MidoNet agent may be installed later.
const PERIOD: Duration = Duration::from_secs(60);

/// Keeps this Node annotated, for ever.
pub async fn keep(
    agent: &Agent,
    annotator: Annotator,
    mac: Mac,
    host_id: &Path,
    mut own: watch::Receiver<Option<Arc<Node>>>,
) {
    let mut written: Option<(Option<String>, Annotations)> = None;
    loop {
        let node = own.borrow_and_update().clone();
        if let Some(node) = node {
            let found = host_id::read(host_id).map_err(|error| format!("{error:#}"));
            agent.set_problems(Origin::MidonetHost, problem(&node, &found).into_iter().collect());
            let wanted = wanted(&node.annotations, mac, found.ok().flatten());
            // In a directory of manifests what is written does not come back.
            let missing = (!wanted.is_empty()).then(|| (node.uid.clone(), wanted));
            if let Some((_, annotations)) = missing.as_ref().filter(|_| written != missing) {
                write(&annotator, &node.name, annotations).await;
            }
            written = missing;
        }
        // The other end lives as long as the agent.
        let _ = tokio::time::timeout(PERIOD, own.changed()).await;
    }
}

/// Writes until it is written.
async fn write(annotator: &Annotator, node: &str, annotations: &Annotations) {
    let [shortest, longest] = WAITS;
    let waits = ExponentialBuilder::default().with_min_delay(shortest).with_max_delay(longest);
    let mut waits = waits.without_max_times().with_jitter().build();
    loop {
        match annotator.annotate_node(node, annotations).await {
            Ok(()) => return info!(node, ?annotations, "annotated the Node"),
            Err(error) if !error.is_retriable() => return warn!(%error, "the Node will not be annotated"),
            Err(error) => {
                warn!(%error, "cannot annotate the Node yet; trying again");
                sleep(waits.next().unwrap_or(longest).max(error.retry_after().unwrap_or_default())).await;
            }
        }
    }
}

/// The annotations that the Node lacks. Whatever host id it has stays: somebody may have meant another one.
fn wanted(has: &BTreeMap<String, String>, mac: Mac, host_id: Option<String>) -> Annotations {
    let mut wanted = Annotations::new();
    let mac = mac.to_string();
    if has.get(annotation::MAC_ADDRESS) != Some(&mac) {
        wanted.insert(annotation::MAC_ADDRESS.into(), Some(mac));
    }
    if let Some(host_id) = host_id.filter(|_| !has.contains_key(annotation::HOST_ID)) {
        wanted.insert(annotation::HOST_ID.into(), Some(host_id));
    }
    wanted
}

/// What is wrong with the host's id, in the file and at the Node.
fn problem(node: &Node, found: &Result<Option<String>, String>) -> Option<Problem> {
    let object = format!("Node {}", node.name);
    let annotated = node.annotations.get(annotation::HOST_ID);
    match found {
        Err(error) => {
            let remedy = "correct --midonet-host-id, or start the MidoNet agent (midolman) anew";
            Some(Problem::new("midonet_host", object, error.clone(), remedy))
        }
        Ok(Some(id)) if annotated.is_some_and(|annotated| !annotated.eq_ignore_ascii_case(id)) => {
            let annotated = annotated.map(String::as_str).unwrap_or_default();
            let problem = format!(
                "its annotation {} is {annotated}, but this host is {id} to MidoNet: ports are bound on another host",
                annotation::HOST_ID
            );
            let remedy = format!("kubectl annotate node {} {}-", node.name, annotation::HOST_ID);
            Some(Problem::new("midonet_host", object, problem, remedy))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "44fb4381-c99d-4389-86c3-fdca765bcbde";
    const OTHER: &str = "8b80d6b7-f04b-4075-ab5d-0c4d5c85d15e";

    fn node(annotations: &[(&str, &str)]) -> Node {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Node {
            name: "n".into(),
            uid: None,
            created: None,
            pod_cidrs: Vec::new(),
            internal_ips: Vec::new(),
            other_ips: Vec::new(),
            labels: objects::Labels::default(),
            zone: None,
            annotations: annotations.collect(),
            leaving: false,
        }
    }

    #[test]
    fn a_node_gets_what_it_lacks_and_keeps_its_host_id() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let keys = |has: &[(&str, &str)], id: Option<&str>| {
            let wanted = wanted(&node(has).annotations, mac, id.map(str::to_owned));
            wanted.into_keys().collect::<Vec<_>>()
        };
        let good = (annotation::MAC_ADDRESS, "02:00:00:00:00:01");
        assert_eq!(keys(&[], None), [annotation::MAC_ADDRESS]);
        assert_eq!(keys(&[], Some(ID)), [annotation::HOST_ID, annotation::MAC_ADDRESS]);
        assert_eq!(keys(&[good], Some(ID)), [annotation::HOST_ID]);
        assert_eq!(keys(&[good, (annotation::HOST_ID, OTHER)], Some(ID)), [""; 0]);
        let wrong = (annotation::MAC_ADDRESS, "02:00:00:00:00:02");
        assert_eq!(keys(&[wrong], None), [annotation::MAC_ADDRESS]);
    }

    #[test]
    fn another_hosts_id_is_a_problem() {
        let found = |id: &str| Ok(Some(id.to_owned()));
        let has = |id: &str| node(&[(annotation::HOST_ID, id)]);
        assert_eq!(problem(&node(&[]), &found(ID)), None);
        assert_eq!(problem(&has(&ID.to_uppercase()), &found(ID)), None);
        assert_eq!(problem(&has(OTHER), &Ok(None)), None);
        let told = problem(&has(OTHER), &found(ID)).unwrap();
        assert!(told.problem.contains(ID) && told.problem.contains(OTHER), "{told:?}");
        assert!(told.remedy.contains("midonet.org/host-id-"), "{told:?}");
        assert!(problem(&node(&[]), &Err("broken".into())).unwrap().problem.contains("broken"));
    }
}
