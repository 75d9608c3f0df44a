//! What each command does. Thin: decisions are made in the pure modules.

mod add;
mod check;
mod del;
mod gc;
mod status;

use naming::alias::PortAlias;
use plumbing::{Link, NetNs};
use serde_json::Value;

use crate::env::Command;
use crate::error::{Error, code};
use crate::request::Request;

/// Does what the request says; ADD has a result.
///
/// # Errors
/// What the runtime is to be told.
pub(crate) fn run(request: &Request) -> Result<Option<Value>, Error> {
    match request.env.command {
        Command::Add => add::add(request).map(Some),
        Command::Del => del::del(request).map(|()| None),
        Command::Check => check::check(request).map(|()| None),
        Command::Status => status::status(request).map(|()| None),
        Command::Gc => gc::gc(request).map(|()| None),
        Command::Version => Ok(None),
    }
}

/// The container's namespace, which is not the plugin's own.
fn open_netns(request: &Request) -> Result<NetNs, Error> {
    let path = request.env.netns.as_deref().unwrap_or_default();
    let invalid = |what: String| Error::new(code::NETNS, format!("CNI_NETNS: {what}"));
    let netns = NetNs::open(path.as_ref()).map_err(|error| invalid(error.to_string()))?;
    if !request.env.netns_override && is_own(&netns)? {
        let what = format!("{path} is the plugin's own namespace; they should not be the same");
        return Err(invalid(what));
    }
    Ok(netns)
}

fn is_own(netns: &NetNs) -> Result<bool, Error> {
    Ok(NetNs::current()?.identity()? == netns.identity()?)
}

/// Whose a host interface is.
fn owner(link: &Link) -> Option<PortAlias> {
    PortAlias::parse(&link.alias)
}

/// For what is no failure of the call: stderr goes to the runtime's log.
fn warn(what: &str, error: &dyn std::fmt::Display) {
    eprintln!("midonet-kube-cni: {what}: {error}");
}
