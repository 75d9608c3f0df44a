//! Agents answer, and Pods start: what everything else needs.

use super::super::scene::Scene;
use super::plan::{Known, Plan, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "agents-answer", what: "the agent of each node answers and is ready", plan: agents },
    Scenario { name: "pods-start", what: "Pods start on the nodes and get their addresses", plan: pods },
];

fn agents(scene: &Scene) -> Result<Plan, String> {
    let silent = scene.agents.iter().filter_map(|(node, error)| Some((node, error.as_ref()?)));
    let known = silent.map(|(node, error)| Known {
        object: format!("node {node}"),
        node: node.clone(),
        expected: "an agent that is ready".to_owned(),
        observed: error.clone(),
    });
    Ok(Plan { checks: Vec::new(), known: known.collect() })
}

fn pods(scene: &Scene) -> Result<Plan, String> {
    let missing = scene.missing.iter().map(|(pod, node, why)| Known {
        object: format!("Pod {pod} on {node}"),
        node: node.clone(),
        expected: "a Pod that runs and has addresses".to_owned(),
        observed: why.clone(),
    });
    Ok(Plan { checks: Vec::new(), known: missing.collect() })
}
