//! The commands. Decisions are made in the pure modules.

mod add;
mod check;
mod del;
mod gc;
mod status;

use cni::{Command, Error, code};
use naming::alias::PortAlias;
use plumbing::{Link, NetNs};
use serde_json::Value;

use crate::request::Request;

/// Carries out the request; ADD has a result. `began` is when this program started (CLOCK_MONOTONIC, nanoseconds).
///
/// # Errors
/// The error to report to the runtime.
pub(crate) fn run(request: &Request, began: u64) -> Result<Option<Value>, Error> {
    match request.env.command {
        Command::Add => add::add(request, began).map(Some),
        Command::Del => del::del(request, began).map(|()| None),
        Command::Check => check::check(request).map(|()| None),
        Command::Status => status::status(request).map(|()| None),
        Command::Gc => gc::gc(request).map(|()| None),
        Command::Version => Ok(None),
    }
}

/// The container's namespace.
fn open_netns(request: &Request) -> Result<NetNs, Error> {
    let path = request.env.netns.as_deref().unwrap_or_default();
    NetNs::open(path.as_ref()).map_err(|error| Error::new(code::NETNS, format!("CNI_NETNS: {error}")))
}

/// The container's namespace may be the plugin's own only if the runtime says so.
fn refuse_own(request: &Request, own: bool) -> Result<(), Error> {
    if own && !request.env.netns_override {
        let path = request.env.netns.as_deref().unwrap_or_default();
        let what = format!("CNI_NETNS: {path} is the plugin's own namespace; they should not be the same");
        return Err(Error::new(code::NETNS, what));
    }
    Ok(())
}

/// The owner of a host interface.
fn owner(link: &Link) -> Option<PortAlias> {
    PortAlias::parse(&link.alias)
}

/// Whether a host interface belongs to the request's attachment.
fn is_ours(link: &Link, request: &Request) -> bool {
    owner(link).is_some_and(|owner| {
        owner.container_id == request.env.container_id && owner.ifname == request.env.ifname
    })
}

/// Reports what is no failure of the call: stderr goes to the runtime's log.
fn warn(what: &str, error: &dyn std::fmt::Display) {
    eprintln!("midonet-kube-cni: {what}: {error}");
}
