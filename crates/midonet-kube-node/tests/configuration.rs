//! docs/configuration.md has every setting as the code has it: its tables are made here.
//!
//! `UPDATE_DOCS=1 cargo test --release --locked -p midonet-kube-node --test configuration` writes them anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::fs;

use clap::{Arg, Command, CommandFactory};
use midonet_kube_node::cli::Cli;
use serde_json::Value;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/midonet-kube.yaml");

/// The prefix of the variables that give settings.
const PREFIX: &str = "MIDONETKUBE_";

/// What the manifest's DaemonSet gives the agent.
struct Manifest {
    env: Vec<Value>,
    args: Vec<String>,
}

impl Manifest {
    fn read() -> Self {
        let text = fs::read_to_string(MANIFEST).unwrap();
        let objects: Vec<Value> =
            text.split("\n---\n").map(|object| serde_yaml_ng::from_str(object).unwrap()).collect();
        let set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        Self {
            env: container["env"].as_array().unwrap().clone(),
            args: serde_json::from_value(container["args"].clone()).unwrap(),
        }
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.env.iter().find(|variable| variable["name"] == name)
    }

    /// The keys of the ConfigMap that give a setting; none if the manifest itself gives it.
    fn keys(&self, flag: &str, variable: &str) -> Vec<String> {
        let key =
            |variable: &Value| variable["valueFrom"]["configMapKeyRef"]["key"].as_str().map(str::to_owned);
        if let Some(own) = self.variable(variable) {
            return key(own).into_iter().collect();
        }
        if let Some(argument) = self.args.iter().find(|argument| argument.starts_with(&format!("--{flag}=")))
        {
            let named = argument.split("$(").skip(1).filter_map(|rest| rest.split_once(')'));
            return named.filter_map(|(name, _)| key(self.variable(name)?)).collect();
        }
        vec![variable.strip_prefix(PREFIX).unwrap().to_owned()]
    }
}

/// Text for a table's cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).unwrap().to_string();
    let mut text = cell(&help);
    if !text.ends_with('.') {
        text.push('.');
    }
    for value in argument.get_possible_values() {
        if let Some(help) = value.get_help() {
            let help = cell(&help.to_string());
            write!(text, " `{}`: {}.", value.get_name(), help.trim_end_matches('.')).unwrap();
        }
    }
    text
}

fn default(argument: &Arg) -> String {
    let values = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let is_switch = !argument.get_action().takes_values();
    if is_switch { String::new() } else { code(&values.collect::<Vec<_>>().join(",")) }
}

fn documented(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_long().is_some())
}

/// The table of the settings of the running agent.
fn settings(command: &Command, manifest: &Manifest) -> String {
    let mut table =
        "| Flag | Variable | ConfigMap key | Default | Meaning |\n|---|---|---|---|---|\n".to_owned();
    for argument in documented(command).filter(|argument| argument.get_env().is_some()) {
        let (flag, variable) = (argument.get_long().unwrap(), argument.get_env().unwrap().to_str().unwrap());
        let keys: Vec<_> = manifest.keys(flag, variable).iter().map(|key| code(key)).collect();
        let keys = if keys.is_empty() { "set by the manifest".to_owned() } else { keys.join(", ") };
        let (default, meaning) = (default(argument), meaning(argument));
        writeln!(table, "| `--{flag}` | `{variable}` | {keys} | {default} | {meaning} |").unwrap();
    }
    table
}

/// The table of a subcommand's flags. One that takes all settings of the agent has a table of its other flags.
fn flags(command: &Command, agent: &Command) -> String {
    let mut table = "| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    let takes_all = command.get_arguments().any(|argument| argument.get_id() == "cluster_cidr");
    let is_agents = |argument: &Arg| agent.get_arguments().any(|other| other.get_id() == argument.get_id());
    for argument in documented(command).filter(|argument| !(takes_all && is_agents(argument))) {
        let variable = argument.get_env().map_or_else(String::new, |name| code(&name.to_string_lossy()));
        let (flag, default, meaning) = (argument.get_long().unwrap(), default(argument), meaning(argument));
        writeln!(table, "| `--{flag}` | {variable} | {default} | {meaning} |").unwrap();
    }
    table
}

/// The page with `text` between the comments that begin and end a table.
fn replaced(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let at = page.find(&begin).unwrap_or_else(|| panic!("no {begin:?} in {PAGE}")) + begin.len();
    let until = at + page[at..].find(&end).unwrap_or_else(|| panic!("no {end:?} in {PAGE}"));
    format!("{}\n{text}\n{}", &page[..at], &page[until..])
}

#[test]
fn every_setting_is_documented_as_the_code_has_it() {
    let command = Cli::command();
    let old = fs::read_to_string(PAGE).unwrap();
    let mut new = replaced(&old, "settings", &settings(&command, &Manifest::read()));
    for name in ["check", "install", "uninstall"] {
        let table = flags(command.find_subcommand(name).unwrap(), &command);
        new = replaced(&new, name, &table);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(PAGE, &new).unwrap();
    }
    let difference = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(
        old == new,
        "docs/configuration.md differs, first in {difference:#?}: write it anew with UPDATE_DOCS=1"
    );
}

#[test]
fn what_the_help_hides_is_not_documented() {
    let page = fs::read_to_string(PAGE).unwrap();
    for argument in Cli::command().get_arguments() {
        if let Some(flag) = argument.get_long() {
            assert_eq!(page.contains(&format!("`--{flag}`")), !argument.is_hide_set(), "--{flag}");
        }
    }
}
