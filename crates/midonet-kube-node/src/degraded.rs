//! Tells Kubernetes of the node's problems, off every path that a Pod waits for.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use objects::{Complaint, Key, Reporter};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::agent::{Agent, Readiness};
use crate::problems::Problem;

/// An agent that starts needs some seconds to know what is wrong; one that does not get ready has found something.
const SETTLE: Duration = Duration::from_secs(60);

/// Nothing is written more often: a problem that comes and goes is one for the log.
const PAUSE: Duration = Duration::from_secs(10);

/// The Node's condition is written again after so long: its condition may have gone with a former Node of that name.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// What failed is tried again: waits grow from the first to the second, and up to twice that at random.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5 * 60)];

/// Reports problems, for ever.
pub async fn report(agent: &Agent, mut reporter: Reporter) {
    let mut changes = agent.problems().subscribe();
    let mut readiness = agent.watch_readiness();
    let ready = readiness.wait_for(|now| *now == Some(Readiness::Ready));
    let _ = timeout(SETTLE, ready).await.map(|ready| ready.is_ok());
    let [shortest, longest] = WAITS;
    let waits = ExponentialBuilder::default().with_min_delay(shortest).with_max_delay(longest);
    let waits = waits.without_max_times().with_jitter();
    let mut wait = waits.build();
    let mut told: Option<String> = None;
    loop {
        changes.mark_unchanged();
        let complaints: Vec<Complaint> = agent.problems().all().into_iter().map(complaint).collect();
        match reporter.report(&complaints).await {
            Ok(()) => {
                if told.take().is_some() {
                    info!("the Node's condition tells of problems again");
                }
                wait = waits.build();
                sleep(PAUSE).await;
                // The other end lives as long as the agent.
                let _ = timeout(AGAIN, changes.changed()).await;
            }
            Err(fault) => {
                let error = fault.to_string();
                if told.as_ref() == Some(&error) {
                    debug!(error, "still cannot write the Node's condition");
                } else {
                    warn!(error, "cannot write the Node's condition or an Event yet; trying again");
                }
                told = Some(error);
                let asked = fault.retry_after().unwrap_or_default();
                sleep(wait.next().unwrap_or(longest).max(asked)).await;
            }
        }
    }
}

/// Its kind "pod_cidr" is the reason "PodCidr". A Service's port for health checks has the Event of kube-proxy.
fn complaint(problem: Problem) -> Complaint {
    let Problem { what, object, problem, remedy } = problem;
    let message = format!("{object}: {problem}; {remedy}");
    let service = object.strip_prefix("Service ").and_then(|key| key.split_once('/'));
    if let Some((namespace, name)) = service.filter(|_| what == "health_port") {
        let service = Some(Key::namespaced(namespace, name));
        return Complaint { reason: "FailedToStartServiceHealthcheck".into(), message, service };
    }
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    let reason = what.split('_').map(word).collect();
    Complaint { reason, message, service: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_a_reason_and_a_message() {
        for (what, want) in [("mtu", "Mtu"), ("tunnel_address", "TunnelAddress")] {
            let complaint = complaint(Problem::new(what, "Node b", "it has no address", "give it one"));
            assert_eq!(complaint.reason, want);
            assert_eq!(complaint.message, "Node b: it has no address; give it one");
            assert_eq!(complaint.service, None);
        }
    }

    #[test]
    fn a_service_without_its_health_port_has_the_event_of_kube_proxy() {
        let problem = |object: &str| Problem::new("health_port", object, "is taken", "free it");
        let complaint_of = |object: &str| complaint(problem(object));
        let of_service = complaint_of("Service shop/web");
        assert_eq!(of_service.reason, "FailedToStartServiceHealthcheck");
        assert_eq!(of_service.service, Some(Key::namespaced("shop", "web")));
        let of_node = complaint_of("TCP port 10256");
        assert_eq!((of_node.reason.as_str(), of_node.service), ("HealthPort", None));
    }
}
