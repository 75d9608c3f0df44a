//! A container runtime's part: a helper inside a node that makes sandboxes and executes CNI plugins.
//!
//! The helper is this program again, started once per node. It starts plugins as a runtime does,
//! from a process that is already where the plugin is to run, so that the time from start to exit has
//! nothing of the lab in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, Target};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

/// The hidden subcommand that makes this program the helper.
pub(crate) const SUBCOMMAND: &str = "runtime";

/// How long a plugin may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// One execution of a program.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    stdin: String,
}

/// Executions, so many at a time.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    calls: Vec<Call>,
    at_once: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// From the first start to the last exit.
    milliseconds: f64,
    /// In the order of the calls.
    replies: Vec<Reply>,
}

/// What a program did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// From its start to its exit.
    pub(crate) milliseconds: f64,
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The helper's own end: one request a line, until the end of standard input.
pub(crate) fn serve() -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = perform(&serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut stdout, &answer)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
    }
    Ok(())
}

fn perform(request: &Request) -> Result<Answer> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Reply)>> {
        let mut replies = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(call) = request.calls.get(index) else { return Ok(replies) };
            replies.push((index, execute(call)?));
        }
    };
    let start = Instant::now();
    let workers = thread::scope(|scope| {
        let others: Vec<_> = (1..request.at_once).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others =
            others.into_iter().map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")));
        std::iter::once(own).chain(others).collect::<Result<Vec<_>>>()
    })?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let mut replies: Vec<_> = workers.into_iter().flatten().collect();
    replies.sort_by_key(|(index, _)| *index);
    Ok(Answer { milliseconds, replies: replies.into_iter().map(|(_, reply)| reply).collect() })
}

fn execute(call: &Call) -> Result<Reply> {
    let mut command = Command::new(&call.program);
    command.args(&call.args).env_clear().envs(&call.env);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", call.program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin may end without reading: its exit status counts.
        let _ = stdin.write_all(call.stdin.as_bytes());
    }
    let output = child.wait_with_output()?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Reply {
        milliseconds,
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// The helper in one node.
pub(crate) struct Runtime {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Runtime {
    pub(crate) fn start(lab: &Lab, node: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("cannot tell where this program is")?);
        // Out of the terminal's process group: an interruption is this program's to handle.
        command.arg(SUBCOMMAND).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = lab.enter(&Target::Node(node.to_owned()), &mut command)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.context("a child without standard output")?);
        Ok(Self { child, stdin, stdout })
    }

    fn ask(&mut self, request: &Request) -> Result<Answer> {
        let what = || {
            let first = request
                .calls
                .first()
                .map(|call| format!("{} {}", call.program.display(), call.args.join(" ")));
            first.unwrap_or_default()
        };
        let stdin = self.stdin.as_mut().context("the helper is gone")?;
        stdin.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).with_context(what)?;
        let mut ready = [PollFd::new(self.stdout.get_ref().as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(DEADLINE).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut ready, patience) {
                Ok(0) => bail!("{} has not ended after {DEADLINE:?}", what()),
                Ok(_) => break,
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut line = String::new();
        self.stdout.read_line(&mut line).with_context(what)?;
        serde_json::from_str(&line).with_context(|| format!("{}: the helper ended", what()))
    }

    fn ask_one(&mut self, call: Call) -> Result<Reply> {
        let answer = self.ask(&Request { calls: vec![call], at_once: 1 })?;
        answer.replies.into_iter().next().context("the helper answered nothing")
    }

    /// Runs `ip` with these words in the node.
    pub(crate) fn ip(&mut self, words: &str) -> Result<()> {
        let reply = self.ask_one(Call {
            program: "/usr/bin/env".into(),
            args: std::iter::once("ip").chain(words.split_whitespace()).map(str::to_owned).collect(),
            env: [("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())].into(),
            stdin: String::new(),
        })?;
        ensure!(reply.success, "ip {words}: {}{}", reply.stdout, reply.stderr);
        Ok(())
    }

    /// Executes a plugin; the time it took in milliseconds and what it answered.
    pub(crate) fn call(
        &mut self,
        plugin: PathBuf,
        env: BTreeMap<String, String>,
        config: &serde_json::Value,
    ) -> Result<Reply> {
        let what = format!("{} {}", plugin.display(), env.get("CNI_COMMAND").map_or("", String::as_str));
        let reply = self.ask_one(Call { program: plugin, args: vec![], env, stdin: config.to_string() })?;
        ensure!(reply.success, "{what} failed: {}{}", reply.stdout, reply.stderr);
        Ok(reply)
    }

    /// Executes a plugin with each of these environments, so many at a time; milliseconds for all.
    pub(crate) fn call_at_once(
        &mut self,
        plugin: &Path,
        environments: Vec<BTreeMap<String, String>>,
        config: &serde_json::Value,
        at_once: usize,
    ) -> Result<f64> {
        let call = |env| Call { program: plugin.to_owned(), args: vec![], env, stdin: config.to_string() };
        let calls = environments.into_iter().map(call).collect();
        let answer = self.ask(&Request { calls, at_once })?;
        for reply in &answer.replies {
            ensure!(reply.success, "{} failed: {}{}", plugin.display(), reply.stdout, reply.stderr);
        }
        Ok(answer.milliseconds)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // The end of its input ends the helper, unless a plugin hangs.
        self.stdin = None;
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
