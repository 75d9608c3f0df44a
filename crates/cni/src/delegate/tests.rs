use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::json::Document;

/// A plugin that is a shell script.
fn plugin(directory: &Path, name: &str, script: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn call<'a>(path: &'a str, config: &'a Document) -> Call<'a> {
    Call { container_id: "c1", netns: None, ifname: "eth0", args: "IP=10.0.0.9", path, config }
}

fn add(plugin: &str, call: &Call<'_>) -> Result<CniResult, Error> {
    start(plugin, "ADD", call)?.finish_add()
}

fn nothing() -> Document {
    Document::parse(b"{}".to_vec()).unwrap()
}

#[test]
fn gets_the_callers_configuration_and_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("/nonexistent::{}", directory.path().display());
    plugin(
        directory.path(),
        "echoing",
        r#"echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS ${CNI_NETNS-none} $CNI_PATH $(cat)""#,
    );
    // Larger than any pipe.
    let config = Document::parse(json!("x".repeat(300_000)).to_string().into()).unwrap();
    let stdout = String::from_utf8(run("echoing", "DEL", &call(&path, &config)).unwrap()).unwrap();
    let want = format!("DEL c1 eth0 IP=10.0.0.9 none {path} \"xxx");
    assert!(stdout.starts_with(&want), "{}", &stdout[..100]);
    assert_eq!(stdout.len(), want.len() - 4 + config.text().len() + 1);
}

#[test]
fn reads_results_of_every_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    plugin(
        directory.path(),
        "old",
        r#"echo '{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.5/24","gateway":"10.0.0.1"}],
            "routes":null,"dns":{}}'"#,
    );
    plugin(
        directory.path(),
        "new",
        r#"echo '{"ips":[{"address":"fd00::5/64"}],"routes":[{"dst":"::/0","mtu":1400}],"dns":{"domain":"x"}}'"#,
    );
    let old = add("old", &call(&path, &nothing())).unwrap();
    assert_eq!(old.ips[0].address.to_string(), "10.0.0.5/24");
    assert_eq!(old.ips[0].gateway, Some("10.0.0.1".parse().unwrap()));
    let new = add("new", &call(&path, &nothing())).unwrap();
    assert_eq!((new.ips[0].gateway, new.routes[0].mtu, new.dns.domain.as_str()), (None, Some(1400), "x"));
}

#[test]
fn errors_are_passed_on_and_nonsense_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    std::fs::create_dir(directory.path().join("directory")).unwrap();
    let error = r#"{"cniVersion":"1.0.0","code":123,"msg":"full","details":"of water"}"#;
    plugin(directory.path(), "failing", &format!("echo '{error}'; exit 1"));
    plugin(directory.path(), "mute", "exit 3");
    plugin(directory.path(), "talking", "echo oh no >&2; exit 1");
    plugin(directory.path(), "garbage", "echo all is well");
    plugin(directory.path(), "killed", "kill -9 $$");
    for (name, code, want) in [
        ("failing", 123, "plugin failing: full"),
        ("mute", 100, "it failed without a message (exit status: 3)"),
        ("talking", 100, "reported no CNI error, but: oh no"),
        ("garbage", 100, "its answer to ADD is no CNI result"),
        ("killed", 100, "signal: 9"),
        ("absent", 100, "there is no such file in CNI_PATH"),
        ("directory", 100, "there is no such file in CNI_PATH"),
        ("../failing", 7, "is no plugin's name"),
    ] {
        let error = add(name, &call(&path, &nothing())).unwrap_err();
        assert_eq!(error.code(100), code, "{name}: {error}");
        assert!(error.to_string().contains(want), "{name}: {error}");
    }
    assert_eq!(add("failing", &call("", &nothing())).unwrap_err().code(100), 4);
}

#[test]
fn a_hung_plugin_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    plugin(directory.path(), "hung", &format!("sleep 1000 & echo $! > {path}/pid; wait"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let running = start("hung", "ADD", &call(&path, &nothing())).unwrap();
    let pid = || std::fs::read_to_string(directory.path().join("pid")).unwrap_or_default();
    while !pid().ends_with('\n') {
        assert!(Instant::now() < deadline, "the plugin does not start");
        thread::sleep(Duration::from_millis(10));
    }
    let error = running.finish_within(Duration::from_millis(500)).unwrap_err();
    assert_eq!(error.code(100), 11, "{error}");
    let pid = pid();
    let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
        Err(_) => true,
        // Nobody waits for an orphan in a container without an init: a zombie is enough.
        Ok(stat) => stat.contains(") Z "),
    };
    while !gone() {
        assert!(Instant::now() < deadline, "the plugin's child survived");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn waits_for_a_file_that_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    plugin(directory.path(), "busy", "true");
    let writer = std::fs::OpenOptions::new().append(true).open(directory.path().join("busy")).unwrap();
    let closer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(writer);
    });
    run("busy", "DEL", &call(&path, &nothing())).unwrap();
    closer.join().unwrap();
}
