//! docs/reference.md describes exactly what programs get.

use std::collections::BTreeMap;

use serde_json::Value;

use super::services::FakeServices;
use super::support::{FakeAgent, full, starting};

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
fn the_documents_name_their_version() {
    let agent = FakeAgent::serving(FakeServices::default());
    for (command, kind) in [
        ("status", "Status"),
        ("version", "Version"),
        ("services", "Services"),
        ("service default/web", "Service"),
        ("connections", "Connections"),
    ] {
        let json = document(&agent, command);
        assert_eq!((&json["apiVersion"], &json["kind"]), (&"midokube.midonet.org/v1".into(), &kind.into()));
        assert!(PAGE.contains("`midokube.midonet.org/v1`"));
    }
}
