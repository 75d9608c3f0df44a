//! Addresses for attachments: an allocator on host-local's files, run in process, and delegation to any
//! other IPAM plugin. Both answer through [`Ipam`], with the same result and the same errors.
//!
//! The allocator is a drop-in for the reference plugin `host-local`: the same configuration, the same
//! files, lock and matching, so that a cluster may switch either way at any time.

mod allocator;
pub mod args;
mod config;
mod delegate;
mod error;
pub mod json;
mod range;
mod remove;
mod repair;
mod resolv;
mod store;
mod types;

pub use config::Config;
pub use error::{ALLOCATION, Error};
pub use range::{Range, RangeSet};
pub use remove::remove;
pub use repair::{Reserved, directory, release, reserve, reserved, taken};
pub use types::{Allocation, Dns, IpConfig, Route};

use json::Document;

/// Whether a plugin of this name is in `path`, which is a `CNI_PATH`.
pub fn is_installed(plugin: &str, path: &str) -> bool {
    delegate::find(plugin, path).is_ok()
}

/// Executes a plugin that is no IPAM plugin by the same rules; gives what it wrote on stdout.
///
/// # Errors
/// [`Error::Args`], [`Error::Config`], [`Error::Exec`], [`Error::Timeout`] or [`Error::Delegate`].
pub fn execute(plugin: &str, verb: &'static str, call: &Call<'_>) -> Result<Vec<u8>, Error> {
    delegate::run(plugin, verb, call)
}

/// The value of `ipam.type` that means the allocator of this crate.
pub const IN_PROCESS: &str = "midonet-kube-ipam";

/// Who gives out addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// The allocator of this crate.
    InProcess,
    /// The plugin of this name, executed from `CNI_PATH`.
    Delegate(String),
}

/// One call of an IPAM plugin: what the runtime passed on, unchanged.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// `CNI_CONTAINERID`; empty for [`Ipam::gc`] and [`Ipam::status`].
    pub container_id: &'a str,
    /// `CNI_NETNS`, if it was given.
    pub netns: Option<&'a str>,
    /// `CNI_IFNAME`.
    pub ifname: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
    /// `CNI_PATH`, where delegates are searched.
    pub path: &'a str,
    /// The network configuration.
    pub config: &'a Document,
}

/// One (container, interface) pair, as garbage collection names those that are still there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The CNI container id.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

/// A reservation that is under way.
#[must_use]
pub struct Pending<'a>(State<'a>);

enum State<'a> {
    Done(Allocation),
    Running(Call<'a>, delegate::Running<'a>),
}

impl Pending<'_> {
    /// Waits until it is made.
    ///
    /// # Errors
    /// See [`Ipam::add`].
    pub fn finish(self) -> Result<Allocation, Error> {
        let (call, running) = match self.0 {
            State::Done(allocation) => return Ok(allocation),
            State::Running(call, running) => (call, running),
        };
        let plugin = running.plugin();
        delegate::finish_add(running).inspect_err(|_| {
            // The first error is the one that counts.
            let _ = delegate::run(plugin, "DEL", &call);
        })
    }
}

impl Ipam {
    /// What a configuration's `ipam.type` stands for.
    pub fn of_type(name: &str) -> Self {
        if name == IN_PROCESS { Self::InProcess } else { Self::Delegate(name.to_owned()) }
    }

    /// Reserves one address of every range set.
    ///
    /// # Errors
    /// See [`Error`]. The allocator of this crate then holds nothing for this call; a delegate is told
    /// to give back (DEL) what it may have reserved, as the specification demands.
    pub fn add(&self, call: &Call<'_>) -> Result<Allocation, Error> {
        self.begin(call)?.finish()
    }

    /// The same in two steps: a delegate works while its caller does something else. The second must follow.
    ///
    /// # Errors
    /// See [`add`](Self::add).
    pub fn begin<'a>(&'a self, call: &Call<'a>) -> Result<Pending<'a>, Error> {
        Ok(Pending(match self {
            Self::InProcess => State::Done(allocator::add(call)?),
            Self::Delegate(name) => State::Running(*call, delegate::start(name, "ADD", call)?),
        }))
    }

    /// Gives back all addresses of the attachment; success if there are none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn del(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::del(call),
            Self::Delegate(name) => delegate::run(name, "DEL", call).map(drop),
        }
    }

    /// Whether the attachment still holds an address.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::check(call),
            Self::Delegate(name) => delegate::run(name, "CHECK", call).map(drop),
        }
    }

    /// Whether another address could be given out now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::status(call),
            Self::Delegate(name) => delegate::run(name, "STATUS", call).map(drop),
        }
    }

    /// Gives back the addresses of every attachment that is not in `valid`. A delegate reads the list
    /// from the configuration.
    ///
    /// # Errors
    /// See [`Error`]; what could be given back has been.
    pub fn gc(&self, call: &Call<'_>, valid: &[Attachment]) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::gc(call, valid),
            Self::Delegate(name) => delegate::run(name, "GC", call).map(drop),
        }
    }
}
