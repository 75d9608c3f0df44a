//! A web Service with three replicas, from everywhere: who answers, and how evenly.

mod objects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::probe::{WebServer, web_get};
use lab::{Lab, Pod, Target};
use nodeapi::v1::{ListServicesRequest, ServicePort};
use nodeapi::{Client, call};
use terminal::output::explain;
use terminal::table::{WIDTH, table};

use crate::size::{DEFAULT_NAMESPACE, Size};
use objects::{NAME, Place, REPLICAS, objects, places, replicas};

/// How many connections are made from each place.
const CONNECTIONS: usize = 60;

/// How long one connection may take. A working one takes a millisecond.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long the agents may take until they serve a new Service.
const SERVED: Duration = Duration::from_secs(10);

/// What became of the connections from a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answers {
    place: Place,
    /// How many each replica answered.
    by_replica: [usize; REPLICAS],
    /// Why others had no answer, and how many.
    failures: BTreeMap<String, usize>,
}

impl Answers {
    fn count(&self) -> usize {
        self.by_replica.iter().sum()
    }

    /// Whether every connection had an answer, and every replica gave some.
    pub(crate) fn is_good(&self) -> bool {
        self.count() == CONNECTIONS && self.by_replica.iter().all(|count| *count > 0)
    }
}

/// Adds the Pods and the Service, and makes connections from every place.
pub(crate) fn try_service(lab: &Lab, size: &Size, cancelled: &AtomicBool) -> Result<Vec<Answers>> {
    let namespace = size.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let nodes = lab.state()?.nodes;
    let mut pods: Vec<Pod> = Vec::new();
    for (name, node) in replicas().iter().zip(nodes.iter().cycle()) {
        ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
        pods.push(lab.add_pod(&node.name, namespace, name)?);
    }
    let serve = |pod: &Pod| {
        let netns = lab.netns(&Target::Pod(pod.key.clone()))?;
        WebServer::start(&netns, &pod.addresses(), &pod.key.name)
    };
    let _servers = pods.iter().map(serve).collect::<Result<Vec<_>>>().context("cannot serve in the Pods")?;
    let state = lab.state()?;
    for (name, object) in objects(state.family, namespace, &pods) {
        lab.write_manifest(&name, &object)?;
    }
    for node in &nodes {
        wait_served(lab, &node.name, namespace, cancelled)?;
    }
    places(&state).into_iter().map(|place| ask(lab, place, cancelled)).collect()
}

/// Waits until a node's datapath has the Service with all of its Pods.
fn wait_served(lab: &Lab, node: &str, namespace: &str, cancelled: &AtomicBool) -> Result<()> {
    let (until, socket) = (Instant::now() + SERVED, lab.socket(node)?);
    let request = ListServicesRequest { namespace: namespace.to_owned(), name: NAME.to_owned() };
    let is_served = |port: &ServicePort| {
        port.counters.is_some() && usize::try_from(port.cluster_backends).is_ok_and(|count| count == REPLICAS)
    };
    loop {
        ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
        let answer = Client::connect(&socket, SERVED)
            .map_err(anyhow::Error::from)
            .and_then(|mut agent| Ok(agent.call(&call::LIST_SERVICES, &request)?));
        let ports = answer.with_context(|| format!("cannot get the Services of {node}'s agent"))?.ports;
        if !ports.is_empty() && ports.iter().all(is_served) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{node} does not serve the Service {NAME} after {SERVED:?}: {ports:?}; see {}",
            lab.log(node).display()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Makes the connections of a place.
fn ask(lab: &Lab, place: Place, cancelled: &AtomicBool) -> Result<Answers> {
    let netns = lab.netns(&place.from)?;
    let mut answers = Answers { place, by_replica: [0; REPLICAS], failures: BTreeMap::new() };
    let names = replicas();
    for _ in 0..CONNECTIONS {
        ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
        let answer = web_get(&netns, answers.place.to, DEADLINE);
        let problem = match &answer {
            Ok(name) => {
                let place = names.iter().position(|known| known == name);
                if let Some(count) = place.and_then(|place| answers.by_replica.get_mut(place)) {
                    *count += 1;
                    continue;
                }
                format!("{name:?} answered, which does not serve it")
            }
            Err(error) => explain(error),
        };
        let count = answers.failures.entry(problem).or_default();
        *count += 1;
        // Each takes its whole deadline.
        if *count >= 3 {
            break;
        }
    }
    Ok(answers)
}

/// Who answered whom.
pub(crate) fn text(answers: &[Answers]) -> String {
    let [a, b, c] = replicas().map(|name| name.to_uppercase());
    let row = |one: &Answers| {
        let [a, b, c] = one.by_replica.map(|count| count.to_string());
        let mark = if one.is_good() { "" } else { " !" };
        let answered = format!("{} of {CONNECTIONS}{mark}", one.count());
        let to = format!("{} ({})", one.place.to, one.place.to_name);
        [one.place.from_name.clone(), to, a, b, c, answered]
    };
    let rows = table(Some(WIDTH), ["FROM", "TO", &a, &b, &c, "ANSWERED"], answers.iter().map(row));
    let failures = answers.iter().flat_map(|one| {
        one.failures.iter().map(|(why, count)| {
            format!("\n  {} -> {}: {count} times: {why}", one.place.from_name, one.place.to)
        })
    });
    format!(
        "Service {NAME}: who answers {CONNECTIONS} connections from each place\n{rows}{}",
        failures.collect::<String>()
    )
}
