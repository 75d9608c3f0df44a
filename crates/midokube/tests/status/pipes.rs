//! Whoever reads may stop, and a disk may be full: every command ends without a panic.

use std::fs::File;
use std::io::{BufReader, Read};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;
use tonic::Status;

use super::support::{FakeAgent, full, midokube, starting, text};

/// Every command that prints something, with its exit status otherwise.
fn commands(agent: &FakeAgent) -> Vec<(Command, i32)> {
    let mut commands = Vec::new();
    for format in ["table", "wide", "json", "yaml"] {
        commands.push((agent.command(&["status", "-o", format]), 0));
        commands.push((agent.command(&["version", "-o", format]), 0));
    }
    for help in [
        &["--help"][..],
        &["--version"],
        &["help"],
        &["help", "version"],
        &["status", "--help"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["completions", "fish"],
    ] {
        commands.push((midokube(help), 0));
    }
    commands
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let agent = FakeAgent::with(full());
    let not_ready = FakeAgent::with(starting());
    let mut commands = commands(&agent);
    commands.push((not_ready.command(&["status"]), 3));
    commands.push((agent.command(&["status", "--watch=100ms"]), 0));
    for (mut command, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{command:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let agent = FakeAgent::with(full());
    for (mut command, _) in commands(&agent) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains("cannot write to standard output: No space left on device"),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn a_closed_standard_error_is_no_panic() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = midokube(&["status", "--socket", "/nowhere/api"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_pipe_into_head_ends_it_quietly() {
    let midokube = env!("CARGO_BIN_EXE_midokube");
    let script = format!("set -o pipefail; '{midokube}' completions bash | head -n1 >/dev/null");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn a_watch_prints_one_document_after_the_other_and_ends_with_its_reader() {
    let agent = FakeAgent::with(full());
    let mut watch = agent.command(&["status", "agent", "-o", "json", "--watch=100ms"]);
    let mut child = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(child.stdout.take().unwrap()));
    for _ in 0..3 {
        assert_eq!(Value::deserialize(&mut reader).unwrap()["agent"]["node"], "node7");
    }
    drop(reader);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_watch_goes_on_when_the_agent_comes_back() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let agent =
        FakeAgent::answering(move || match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            1 => Err(Status::unavailable("ending")),
            _ => Ok(full()),
        });
    let mut watch = agent.command(&["status", "peers", "-w=100ms"]);
    let mut child = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let once = text(&FakeAgent::with(full()).run(&["status", "peers"]).stdout);
    let twice = format!("{once}\n{once}");
    let mut seen = vec![0; twice.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(text(&seen), twice);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("ending"), "{}", text(&output.stderr));
}
