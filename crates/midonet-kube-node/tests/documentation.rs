//! The documentation has every setting, drop reason, problem and leak that the code has. The tables of settings and of
//! reasons are generated here.
//!
//! `UPDATE_DOCS=1 cargo test --release --locked -p midonet-kube-node --test documentation` writes them again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::fs;

use clap::{Arg, Command, CommandFactory};
use datapath::Fate;
use midonet_kube_node::cli::Cli;
use midonet_kube_node::{leak, problems};
use serde_json::Value;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
const TROUBLESHOOTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/troubleshooting.md");
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

/// The table of what becomes of packets.
fn reasons() -> String {
    let mut table = "| Reason | Verdict | Meaning |\n|---|---|---|\n".to_owned();
    for reason in datapath::reasons() {
        let verdict = match reason.fate {
            Fate::Forward => "forward",
            Fate::Drop => "drop",
            Fate::Ignore => "ignore",
        };
        writeln!(table, "| `{}` | {verdict} | {} |", reason.name, cell(reason.help)).unwrap();
    }
    table
}

/// Compares the tables of a page, each between two comments with its name, with these, or writes them.
fn has_tables(path: &str, tables: &[(&str, String)]) {
    let old = fs::read_to_string(path).unwrap();
    let mut new = old.clone();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
        let at = new.find(&begin).unwrap_or_else(|| panic!("no {begin:?} in {path}")) + begin.len();
        let until = at + new[at..].find(&end).unwrap_or_else(|| panic!("no {end:?} in {path}"));
        new = format!("{}\n{table}\n{}", &new[..at], &new[until..]);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(path, &new).unwrap();
    }
    let difference = old.lines().zip(new.lines()).find(|(old, new)| old != new);
    assert!(old == new, "{path} differs, first in {difference:#?}: write it again with UPDATE_DOCS=1");
}

#[test]
fn every_setting_is_documented_as_the_code_has_it() {
    let command = Cli::command();
    let subcommand = |name| flags(command.find_subcommand(name).unwrap(), &command);
    let tables = [
        ("settings", settings(&command, &Manifest::read())),
        ("check", subcommand("check")),
        ("install", subcommand("install")),
        ("uninstall", subcommand("uninstall")),
        ("cleanup-kube-proxy", subcommand("cleanup-kube-proxy")),
    ];
    has_tables(CONFIGURATION, &tables);
}

#[test]
fn what_the_help_hides_is_not_documented() {
    let page = fs::read_to_string(CONFIGURATION).unwrap();
    for argument in Cli::command().get_arguments().filter(|argument| argument.is_hide_set()) {
        let flag = argument.get_long().unwrap();
        assert!(!page.contains(&format!("`--{flag}`")), "--{flag}");
    }
}

#[test]
fn every_drop_reason_is_documented() {
    has_tables(TROUBLESHOOTING, &[("reasons", reasons())]);
}

/// The first cells of the table below a heading.
fn rows(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(TROUBLESHOOTING).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let name = |line: &str| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    section.lines().filter_map(name).filter(|name| name != "what").collect()
}

#[test]
fn every_problem_and_leak_is_documented_once_in_order() {
    assert_eq!(rows("Problems"), problems::KINDS);
    let mut leaks = leak::Kind::ALL.map(leak::Kind::name);
    leaks.sort_unstable();
    assert_eq!(rows("Leaks"), leaks);
}
