//! From a call to its output, whatever happens.

use std::ffi::OsStr;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cni::{Command, Environment, Error, Version, code, document, stdin, version, version_of};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::request::Request;
use crate::{ipam_plugin, verbs};

/// A runtime writes the configuration at once.
const STDIN_DEADLINE: Duration = Duration::from_secs(30);

/// VERSION works without stdin, also in a terminal.
const VERSION_DEADLINE: Duration = Duration::from_millis(100);

/// Which plugin this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The network plugin.
    Network,
    /// The allocator alone.
    Ipam,
}

/// What the process prints, and how it ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The result or the error; may be empty.
    pub stdout: String,
    /// For people.
    pub stderr: String,
    /// Whether the exit code is that of a failure.
    pub failed: bool,
}

impl Role {
    /// By the name that the program was called by.
    pub fn of_program(program: Option<&OsStr>) -> Self {
        let name = program.and_then(|path| Path::new(path).file_name());
        if name.is_some_and(|name| name == ipam::IN_PROCESS) { Self::Ipam } else { Self::Network }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Network => "midonet-kube-cni",
            Self::Ipam => ipam::IN_PROCESS,
        }
    }
}

/// Answers a call whose environment `variable` gives and whose configuration is on stdin.
pub fn run(role: Role, variable: impl Fn(&str) -> Option<String>) -> Output {
    let (mut version, began) = (None, monotonic());
    let answer = guarded(|| answer(role, variable, began, &mut version));
    match answer {
        Ok(Answer::About) => Output { stderr: about(role), ..Output::default() },
        Ok(Answer::Value(value)) => Output { stdout: format!("{value:#}\n"), ..Output::default() },
        Ok(Answer::Silence) => Output::default(),
        Err(error) => {
            let value = error.to_json(version.unwrap_or(Version::NEWEST));
            Output { stdout: format!("{value:#}\n"), failed: true, ..Output::default() }
        }
    }
}

enum Answer {
    About,
    Silence,
    Value(Value),
}

fn answer(
    role: Role,
    variable: impl Fn(&str) -> Option<String>,
    began: u64,
    version: &mut Option<Version>,
) -> Result<Answer, Error> {
    let Some(env) = Environment::read(variable)? else { return Ok(Answer::About) };
    let mut config = Vec::new();
    if env.command == Command::Version {
        // What did not come does not matter.
        let _ = stdin::read(VERSION_DEADLINE, &mut config);
        return Ok(Answer::Value(version::answer(&config)));
    }
    stdin::read(STDIN_DEADLINE, &mut config).map_err(|error| {
        Error::new(code::IO, format!("cannot read the network configuration on stdin: {error}"))
    })?;
    let config = document(config)?;
    *version = version_of(&config);
    let value = match role {
        Role::Network => verbs::run(&Request::read(env, config)?, began)?,
        Role::Ipam => ipam_plugin::run(&env, &config)?,
    };
    Ok(value.map_or(Answer::Silence, Answer::Value))
}

/// Nanoseconds of CLOCK_MONOTONIC, which the agent reads, too; 0 if there is none.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    now.map_or(0, |now| now.as_nanos().try_into().unwrap_or(u64::MAX))
}

fn about(role: Role) -> String {
    format!(
        "CNI plugin {} {}\nCNI protocol versions supported: {}\n",
        role.name(),
        env!("CARGO_PKG_VERSION"),
        Version::ALL.map(Version::as_str).join(", ")
    )
}

/// The message and the place of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// A panic is an error like any other: the runtime gets its JSON.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    result.unwrap_or_else(|_| {
        let what = PANIC.lock().unwrap_or_else(PoisonError::into_inner).replace('\n', " ");
        Err(Error::new(code::INTERNAL, format!("bug in the plugin, please report it: {what}")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = guarded::<()>(|| panic!("the sky is falling")).unwrap_err();
        assert_eq!(error.code, 999);
        assert!(error.msg.contains("the sky is falling") && error.msg.contains("run.rs"), "{error}");
        let json = error.to_json(Version::V1_0_0);
        assert_eq!((&json["cniVersion"], &json["code"]), (&json!("1.0.0"), &json!(999)));
    }

    #[test]
    fn the_program_name_decides_the_role() {
        for (path, role) in [
            (Some("/opt/cni/bin/midonet-kube-ipam"), Role::Ipam),
            (Some("/opt/cni/bin/midonet-kube-cni"), Role::Network),
            (None, Role::Network),
        ] {
            assert_eq!(Role::of_program(path.map(OsStr::new)), role);
        }
    }

    #[test]
    fn without_a_command_the_plugin_says_what_it_is() {
        let output = run(Role::Network, |_| None);
        assert!(!output.failed && output.stdout.is_empty());
        assert!(output.stderr.starts_with("CNI plugin midonet-kube-cni 0."), "{}", output.stderr);
    }
}
