//! What became of a packet, as programs get it: see docs/reference.md.

use std::net::IpAddr;

use serde::Serialize;

use crate::API_VERSION;
use crate::port::Port;

/// What became of a packet and its reply. What a path is depends on the network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<T> {
    api_version: &'static str,
    kind: &'static str,
    pub(super) network: &'static str,
    pub(super) from: End,
    pub(super) to: End,
    pub(super) protocol: &'static str,
    /// 0: the protocol has none.
    pub(super) port: u16,
    /// The packet, its reply, and what was asked for without an answer.
    pub(super) parts: Vec<Part<T>>,
    pub(super) outcome: Outcome,
    /// What is wrong with what MidoNet is told.
    pub(super) problems: Vec<String>,
}

/// One end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct End {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

/// One packet's path.
#[derive(Debug, Serialize)]
pub(super) struct Part<T> {
    pub(super) what: &'static str,
    pub(super) trace: T,
}

/// How it ends.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// Whether the reply arrives.
    pub(super) answered: bool,
    /// Of an embedded network: under what the packet that came last is counted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    pub(super) why: String,
    /// What to do about it; nothing if all is well or nothing is known.
    pub(super) remedy: String,
    /// A node on the path did not tell.
    #[serde(skip)]
    pub(super) unknown: bool,
}

impl<T> View<T> {
    pub(super) fn new(
        network: &'static str,
        [from, to]: [End; 2],
        port: &Port,
        parts: Vec<Part<T>>,
        outcome: Outcome,
        problems: Vec<String>,
    ) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Trace",
            network,
            from,
            to,
            protocol: port.protocol,
            port: port.number,
            parts,
            outcome,
            problems,
        }
    }

    /// Whether the packet arrives, and its reply.
    pub(super) fn is_answered(&self) -> bool {
        self.outcome.answered
    }
}

impl Outcome {
    fn new(answered: bool, why: String, remedy: &str) -> Self {
        Self { answered, reason: String::new(), why, remedy: remedy.to_owned(), unknown: false }
    }

    /// By whom, and where that is.
    pub(super) fn answered(by: &str, node: &str) -> Self {
        let why = format!(
            "at {by} on {node}, and a reply would come back; whether a process sends one is not followed"
        );
        Self::new(true, why, "")
    }

    /// One of MidoNet's own devices answers to a ping.
    pub(super) fn device() -> Self {
        Self::new(true, "the router answers".to_owned(), "")
    }

    /// It comes as far as it is followed.
    pub(super) fn left(why: String) -> Self {
        Self::new(true, why, "")
    }

    pub(super) fn lost(why: String, remedy: &str) -> Self {
        Self::new(false, why, remedy)
    }

    /// A node did not tell.
    pub(super) fn unknown(why: String, remedy: &str) -> Self {
        Self { unknown: true, ..Self::new(false, why, remedy) }
    }

    /// With the reason that the last node counts.
    pub(super) fn because(self, reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..self }
    }
}
