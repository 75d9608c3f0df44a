//! docs/reference.md describes exactly what programs get.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::doctor::{FakePaths, healthy};
use super::drops::FakeDrops;
use super::flows::FakeFlows;
use super::policies::FakePolicies;
use super::services::FakeServices;
use super::support::{FakeAgent, full, midokube, starting};
use super::traces::FakeTraces;

const PREVIEW: &str = "policy preview --delete networkpolicy/shop/web --this-node";
const TRACE: &str = "trace default/a default/b tcp/80 --this-node";
const WAIT: &str = "policy wait networkpolicy/web --this-node";

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md"));

/// The fields with their types in the table below a heading.
fn documented(heading: &str) -> BTreeMap<String, String> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

/// The fields of a document with the types that are seen.
fn seen(path: &str, value: &Value, fields: &mut BTreeMap<String, Vec<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Object(_) => "object",
        Value::Array(items) if items.iter().all(Value::is_object) && !items.is_empty() => "list of objects",
        Value::Array(_) => "list of strings",
    };
    if !path.is_empty() && !path.ends_with("[]") {
        fields.entry(path.to_owned()).or_default().push(kind);
    }
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let dot = if path.is_empty() { "" } else { "." };
                seen(&format!("{path}{dot}{name}"), value, fields);
            }
        }
        Value::Array(items) => {
            for item in items.iter().filter(|item| item.is_object()) {
                seen(&format!("{path}[]"), item, fields);
            }
        }
        _ => {}
    }
}

/// Compares documentation and documents: the same fields, and no type that is not documented.
fn compare(heading: &str, documents: &[Value]) {
    let documented = documented(heading);
    let mut fields = BTreeMap::new();
    for document in documents {
        seen("", document, &mut fields);
    }
    let names: Vec<_> = fields.keys().collect();
    assert_eq!(documented.keys().collect::<Vec<_>>(), names, "docs/reference.md, {heading}: other fields");
    for (name, kinds) in &fields {
        let types = &documented[name];
        for kind in kinds {
            // An empty list has no elements to tell what they are.
            let fits = types.split(" or ").any(|known| known == *kind)
                || *kind == "list of strings" && types == "list of objects";
            assert!(fits, "docs/reference.md, {heading}: {name} is documented as {types}, and is {kind}");
        }
        assert!(
            !types.ends_with("or null") || kinds.contains(&"null"),
            "docs/reference.md, {heading}: {name} is documented as {types}, and never null"
        );
    }
}

fn document(agent: &FakeAgent, command: &str) -> Value {
    let run = |format| {
        let words: Vec<_> = command.split(' ').chain(["-o", format]).collect();
        agent.run(&words).stdout
    };
    let json: Value = serde_json::from_slice(&run("json")).unwrap();
    let yaml: Value = serde_yaml_ng::from_slice(&run("yaml")).unwrap();
    assert_eq!(json, yaml, "{command}: JSON and YAML differ");
    json
}

#[test]
fn the_fields_of_status_are_those_that_are_documented() {
    let documents = [full(), starting()].map(|reply| document(&FakeAgent::with(reply), "status"));
    compare("Status", &documents);
}

#[test]
fn the_fields_of_version_are_those_that_are_documented() {
    let gone = FakeAgent::answering(|| Err(tonic::Status::unavailable("ending")));
    compare("Version", &[document(&FakeAgent::with(full()), "version"), document(&gone, "version")]);
}

#[test]
fn the_fields_of_services_and_connections_are_those_that_are_documented() {
    let agent = FakeAgent::serving(FakeServices::default());
    compare("Services\n", &[document(&agent, "services")]);
    let documents = ["service default/web", "service default/headless"];
    compare("Service\n", &documents.map(|command| document(&agent, command)));
    compare("Connections\n", &[document(&agent, "connections")]);
}

#[test]
fn the_fields_of_policies_are_those_that_are_documented() {
    let agent = FakeAgent::enforcing(FakePolicies);
    compare("Policies\n", &[document(&agent, "policy")]);
    compare("PolicyExplanation\n", &[document(&agent, "policy explain default/a default/b tcp/80")]);
    // Of a node that cannot be asked, which takes a cluster.
    let mut preview = document(&agent, PREVIEW);
    let unasked = json!({"node": "node8", "error": "it does not run", "connections": null, "cut": null, "allowed": null, "drops": null});
    preview["nodes"].as_array_mut().unwrap().push(unasked);
    compare("PolicyPreview\n", &[preview]);
    let waits = [WAIT, "policy wait networkpolicy/web --this-node --at-least u/3/false"];
    let mut waits = waits.map(|command| document(&agent, command)).to_vec();
    waits.push(document(&agent, "policy wait cnp/gone --this-node --timeout 100ms"));
    compare("PolicyWait\n", &waits);
}

#[test]
fn the_fields_of_drops_are_those_that_are_documented() {
    compare("Drops\n", &[document(&FakeAgent::dropping(FakeDrops), "drops")]);
}

#[test]
fn the_fields_of_flows_are_those_that_are_documented() {
    let agent = FakeAgent::telling(FakeFlows);
    // Of a node that cannot be asked, which takes a cluster.
    let mut flows = document(&agent, "flows --this-node");
    flows["nodes"][0]["error"] = "it does not run".into();
    compare("Flows\n", &[flows, document(&agent, "flows --this-node")]);
    compare(
        "FlowGroups\n",
        &[document(&agent, "flows --this-node --by pod"), {
            let mut groups = document(&agent, "flows --this-node --by verdict");
            groups["nodes"][0]["error"] = "it does not run".into();
            groups
        }],
    );
}

#[test]
fn the_fields_of_doctor_are_those_that_are_documented() {
    let agent = FakeAgent::probing(full(), FakePaths);
    let gone = agent.socket().with_file_name("none").display().to_string();
    let silent = format!("doctor --this-node --socket {gone}");
    let starting = FakeAgent::with(starting());
    let documents = [document(&agent, &silent), document(&starting, "doctor --this-node")];
    compare("Doctor\n", &documents);
    let well = FakeAgent::probing(healthy("node7"), FakePaths);
    assert_eq!(document(&well, "doctor --this-node")["findings"], json!([]));
}

#[test]
fn the_fields_of_traces_are_those_that_are_documented() {
    compare("Trace\n", &[document(&FakeAgent::tracing(FakeTraces), TRACE)]);
}

#[test]
fn the_fields_of_scenarios_are_those_that_are_documented() {
    let output = midokube(&["connectivity", "test", "--list", "-o", "json"]).output().unwrap();
    compare("ConnectivityScenarios\n", &[serde_json::from_slice(&output.stdout).unwrap()]);
}

#[test]
fn the_fields_of_differences_are_those_that_are_documented() {
    let directory = tempfile::tempdir().unwrap();
    let folder = |name: &str, own: &str, text: String| {
        let path = directory.path().join(name);
        let workload = |name: &str| {
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{}}}}\n---\n")
        };
        std::fs::write(&path, workload("both") + &workload(own) + &text).unwrap();
        path
    };
    // Each object is there twice, which is a warning.
    let policy = |kind: &str, audit: bool, spec: &str| {
        let object = format!(
            "{{apiVersion: {kind}, metadata: {{name: p, annotations: {{midonet.org/policy-audit: \"{audit}\"}}}}, spec: {spec}}}\n"
        );
        format!("{object}---\n{object}---\n")
    };
    let (network, cluster) = (
        "networking.k8s.io/v1, kind: NetworkPolicy",
        "policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy",
    );
    let rule = |action: &str, direction: &str, peer: &str| {
        format!(
            "{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {direction}: [{{name: n, action: {action}, {peer}: [{{namespaces: {{}}}}]}}]}}"
        )
    };
    let deny = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
    let only = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}";
    let old = folder(
        "old.yaml",
        "gone",
        policy(network, true, deny) + &policy(cluster, false, &rule("Accept", "egress", "to")),
    );
    let closed = folder("closed.yaml", "new", policy(network, false, deny));
    let outside = folder(
        "outside.yaml",
        "new",
        policy(network, false, only) + &policy(cluster, false, &rule("Deny", "egress", "to")),
    );
    let families = |address: &str, cidr: &str| {
        let status = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{}}, status: {{podIP: {address}}}}}\n---\n"
        );
        let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}");
        folder(&format!("{}.yaml", cidr.replace('/', "-")), "a2", status + &policy(network, false, &spec))
    };
    let (one, other) = (families("10.0.0.1", "10.0.0.0/24"), families("10.0.0.1", "10.1.0.0/24"));
    let document = |old: &std::path::Path, new: &std::path::Path| -> Value {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_midokube"));
        let output = command.args(["policy", "diff"]).args([old, new]).args(["-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let documents =
        [document(&old, &closed), document(&old, &outside), document(&outside, &old), document(&one, &other)];
    compare("PolicyDifference\n", &documents);
}

#[test]
fn the_documents_name_their_version() {
    let services = FakeAgent::serving(FakeServices::default());
    let policies = FakeAgent::enforcing(FakePolicies);
    let drops = FakeAgent::dropping(FakeDrops);
    let flows = FakeAgent::telling(FakeFlows);
    let traces = FakeAgent::tracing(FakeTraces);
    for (agent, command, kind) in [
        (&services, "status", "Status"),
        (&services, "version", "Version"),
        (&services, "services", "Services"),
        (&services, "service default/web", "Service"),
        (&services, "connections", "Connections"),
        (&policies, "policy", "Policies"),
        (&policies, "policy explain default/a default/b tcp/80", "PolicyExplanation"),
        (&policies, PREVIEW, "PolicyPreview"),
        (&policies, WAIT, "PolicyWait"),
        (&drops, "drops", "Drops"),
        (&flows, "flows --this-node", "Flows"),
        (&flows, "flows --this-node --by pod", "FlowGroups"),
        (&drops, "doctor --this-node", "Doctor"),
        (&traces, TRACE, "Trace"),
    ] {
        let json = document(agent, command);
        assert_eq!((&json["apiVersion"], &json["kind"]), (&"midokube.midonet.org/v1".into(), &kind.into()));
        assert!(PAGE.contains("`midokube.midonet.org/v1`"));
    }
}
