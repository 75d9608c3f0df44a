//! Asking the agent of this node.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use nodeapi::v1::StatusRequest;
use nodeapi::{Client, ConnectError, Message, Method, call};
use terminal::units;
use tonic::{Code, Status};

use crate::status::Report;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which agent to ask, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Agent {
    /// The agent's Unix socket.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    pub(crate) socket: PathBuf,
    /// How long the agent may take to answer, for example 500ms, 5s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = units::duration)]
    pub(crate) timeout: Duration,
}

impl Agent {
    /// Asks for the agent's status.
    ///
    /// # Errors
    /// The reason why there is no answer, and the remedy.
    pub(crate) fn report(&self) -> Result<Report> {
        let answer = self.ask(&call::STATUS, &StatusRequest {}, "its status")?;
        Report::read(answer).ok_or_else(|| {
            anyhow!(
                "the answer of {} lacks fields that midokube {VERSION} needs: {}",
                self.name(),
                Self::other_version()
            )
        })
    }

    /// Makes a call; `what` it returns stands in the reason why there is no answer.
    ///
    /// # Errors
    /// The reason why there is no answer, and the remedy.
    pub(crate) fn ask<Q: Message, A: Message + Default>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
        what: &str,
    ) -> Result<A> {
        let mut client =
            Client::connect(&self.socket, self.timeout).map_err(|error| anyhow!(self.unreachable(&error)))?;
        client.call(method, request).map_err(|status| anyhow!(self.no_answer(&status, what)))
    }

    fn name(&self) -> impl Display {
        format!("the agent at {}", self.socket.display())
    }

    fn unreachable(&self, error: &ConnectError) -> String {
        let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let name = self.name();
        match cause.map(io::Error::kind) {
            Some(ErrorKind::NotFound) => format!(
                "there is no socket {}: midonet-kube-node does not run on this node, or has another socket: \
                 start it, or give its socket with --socket; another node's agent is asked with `midokube on NODE`",
                self.socket.display()
            ),
            Some(ErrorKind::PermissionDenied) => format!("{name} is for root alone: {}", self.as_root()),
            Some(ErrorKind::ConnectionRefused) => format!(
                "no process listens at {}: midonet-kube-node has ended: its log has the reason; start it again",
                self.socket.display()
            ),
            Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => self.late(),
            _ => {
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                format!(
                    "cannot talk to {name}: {cause}: if another program listens there, give the agent's own socket \
                     with --socket"
                )
            }
        }
    }

    fn no_answer(&self, status: &Status, what: &str) -> String {
        let name = self.name();
        match status.code() {
            Code::DeadlineExceeded => self.late(),
            Code::Unimplemented => {
                format!("{name} does not implement the call for {what}: {}", Self::other_version())
            }
            // What was asked for, or when, is wrong: the agent says how.
            Code::NotFound | Code::InvalidArgument | Code::FailedPrecondition | Code::ResourceExhausted => {
                format!("{name} cannot return {what}: {}", status.message())
            }
            _ => format!("{name} cannot return {what}: {}: its log may have more", status.message()),
        }
    }

    fn late(&self) -> String {
        let longer = self.timeout.saturating_mul(4);
        format!(
            "{} did not answer within {:?}: it is busy or hangs; its log may say which: wait longer with \
             --timeout {longer:?}",
            self.name(),
            self.timeout
        )
    }

    fn other_version() -> &'static str {
        "they have different versions: use the midokube of the agent's own image"
    }

    /// This command line for root. It has the socket from the environment, which sudo does not keep.
    fn as_root(&self) -> String {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let named = self.socket == Path::new(nodeapi::SOCKET) || arguments.contains("--socket");
        let socket = if named { String::new() } else { format!(" --socket {}", self.socket.display()) };
        format!("sudo midokube {arguments}{socket}")
    }
}
