//! The operators' page has every setting, reason and metric, and the manifest gives settings that there are.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use clap::CommandFactory;
use midonet_kube_controllers::config::Config;
use midonet_kube_controllers::kinds::{REPLACED, TRANSLATION};
use serde::Deserialize;
use serde_json::Value;
use translation::Reason;

const PAGE: &str = include_str!("../../../docs/midonet-controllers.md");
const MANIFEST: &str = include_str!("../../../deploy/midonet-kube-midonet.yaml");

fn objects() -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(MANIFEST)
        .map(|object| Value::deserialize(object).unwrap())
        .collect()
}

fn object(kind: &str, name: &str) -> Value {
    let found = objects().into_iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn every_setting_is_documented_with_its_variable_and_default() {
    for argument in Config::command().get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| !matches!(*flag, "help" | "version")) else {
            continue;
        };
        let variable = argument.get_env().unwrap().to_str().unwrap();
        let row =
            PAGE.lines().find(|line| line.starts_with("| `--") && line.contains(&format!("`--{flag}`")));
        let row = row.unwrap_or_else(|| panic!("--{flag} is not documented"));
        assert!(row.contains(&format!("`{variable}`")), "{variable} in {row}");
        let defaults = argument.get_default_values().iter().filter_map(|value| value.to_str());
        let default = defaults.collect::<Vec<_>>().join(",");
        assert!(default.is_empty() || row.contains(&format!("`{default}`")), "{default} in {row}");
    }
}

#[test]
fn every_reason_is_documented() {
    for reason in Reason::ALL {
        assert!(PAGE.contains(&format!("`{}`", reason.name())), "{}", reason.name());
    }
    assert!(PAGE.contains(REPLACED));
}

#[test]
fn the_deployment_gives_settings_that_there_are() {
    let deployment = object("Deployment", "midonet-kube-controllers");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let command = Config::command();
    let known: Vec<&str> =
        command.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let (config, secret) =
        (object("ConfigMap", "midonet-kube-config"), object("Secret", "midonet-kube-credential"));
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(!name.starts_with("MIDONETKUBE_") || known.contains(&name), "{name}");
        for (source, object, data) in
            [("configMapKeyRef", &config, "data"), ("secretKeyRef", &secret, "stringData")]
        {
            let reference = &variable["valueFrom"][source];
            if let Some(key) = reference["key"].as_str() {
                assert_eq!(reference["name"], object["metadata"]["name"]);
                assert!(object[data][key].is_string(), "{key}");
            }
        }
    }
    let port = &container["ports"][0]["containerPort"];
    let listens =
        command.get_arguments().find(|argument| argument.get_long() == Some("http-listen")).unwrap();
    assert!(listens.get_default_values()[0].to_str().unwrap().ends_with(&format!(":{port}")));
}

#[test]
fn the_definition_is_that_of_the_kind_and_the_role_grants_no_more_than_is_asked_for() {
    let definition = object("CustomResourceDefinition", "translations.midonet.org");
    let spec = &definition["spec"];
    assert_eq!(spec["group"], TRANSLATION.group);
    assert_eq!(spec["names"]["kind"], TRANSLATION.kind);
    assert_eq!(spec["names"]["plural"], TRANSLATION.plural);
    assert_eq!(spec["versions"][0]["name"], TRANSLATION.version);
    let item = &spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["resources"]["items"];
    assert_eq!(item["properties"]["kind"]["pattern"], "^[A-Z][A-Za-z0-4]*$");
    let role = object("ClusterRole", "midonet-kube-controllers");
    let rules: Vec<String> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let words = |field: &str| {
                let all = rule[field].as_array().unwrap().iter();
                all.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
            };
            format!("{} {}", words("resources"), words("verbs"))
        })
        .collect();
    assert_eq!(
        rules,
        [
            "nodes,pods,services list,watch",
            "endpointslices list,watch",
            "nodes patch",
            "translations list,watch,create,patch,delete",
            "events create",
        ]
    );
}
