//! Addresses for attachments: an allocator on host-local's files, run in process, and delegation to any
//! other IPAM plugin. Both answer through [`Ipam`], with the same result and the same errors.
//!
//! The allocator is a drop-in for the reference plugin `host-local`: the same configuration, the same
//! files, lock and matching, so that a cluster may switch between the two at any time.

mod allocator;
mod config;
mod error;
mod range;
mod remove;
mod repair;
mod resolv;
mod store;

use cni::{Attachment, Call, CniResult, delegate};

pub use config::{Config, directory};
pub use error::Error;
pub use range::{Range, RangeSet};
pub use remove::remove;
pub use repair::{Reserved, release, reserve, reserved, taken};

/// The value of `ipam.type` that means the allocator of this crate.
pub const IN_PROCESS: &str = "midonet-kube-ipam";

/// Who allocates addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// The allocator of this crate.
    InProcess,
    /// The plugin of this name, executed from `CNI_PATH`.
    Delegate(String),
}

/// A reservation in progress.
#[must_use]
pub struct Pending<'a>(State<'a>);

enum State<'a> {
    Done(CniResult),
    Running(Call<'a>, delegate::Running<'a>),
}

impl Pending<'_> {
    /// Waits until it is made.
    ///
    /// # Errors
    /// See [`Ipam::add`].
    pub fn finish(self) -> Result<CniResult, Error> {
        let (call, running) = match self.0 {
            State::Done(allocation) => return Ok(allocation),
            State::Running(call, running) => (call, running),
        };
        let plugin = running.plugin();
        let result = running.finish_add().and_then(|result| {
            if result.ips.is_empty() { Err(delegate::no_result(plugin, "it has no ips")) } else { Ok(result) }
        });
        let result = result.inspect_err(|_| {
            // The first error is the one that counts.
            let _ = delegate::run(plugin, "DEL", &call);
        });
        Ok(result?)
    }
}

impl Ipam {
    /// By a configuration's `ipam.type`.
    pub fn of_type(name: &str) -> Self {
        if name == IN_PROCESS { Self::InProcess } else { Self::Delegate(name.to_owned()) }
    }

    /// Reserves one address of every range set.
    ///
    /// # Errors
    /// See [`Error`]. The allocator of this crate then holds nothing for this call; a delegate is told
    /// to release (DEL) what it may have reserved, as the specification demands.
    pub fn add(&self, call: &Call<'_>) -> Result<CniResult, Error> {
        self.begin(call)?.finish()
    }

    /// The first half of [`add`](Self::add): a delegate works while its caller does something else.
    /// [`Pending::finish`] must follow.
    ///
    /// # Errors
    /// See [`add`](Self::add).
    pub fn begin<'a>(&'a self, call: &Call<'a>) -> Result<Pending<'a>, Error> {
        Ok(Pending(match self {
            Self::InProcess => State::Done(allocator::add(call)?),
            Self::Delegate(name) => State::Running(*call, delegate::start(name, "ADD", call)?),
        }))
    }

    /// Releases all addresses of the attachment; success if there are none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn del(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::del(call),
            Self::Delegate(name) => execute(name, "DEL", call),
        }
    }

    /// Whether the attachment still holds an address.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::check(call),
            Self::Delegate(name) => execute(name, "CHECK", call),
        }
    }

    /// Whether another address could be allocated now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn status(&self, call: &Call<'_>) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::status(call),
            Self::Delegate(name) => execute(name, "STATUS", call),
        }
    }

    /// Releases the addresses of every attachment that is not in `valid`. A delegate reads the list from the
    /// configuration.
    ///
    /// # Errors
    /// See [`Error`]; what could be released has been.
    pub fn gc(&self, call: &Call<'_>, valid: &[Attachment]) -> Result<(), Error> {
        match self {
            Self::InProcess => allocator::gc(call, valid),
            Self::Delegate(name) => execute(name, "GC", call),
        }
    }
}

fn execute(plugin: &str, verb: &'static str, call: &Call<'_>) -> Result<(), Error> {
    delegate::run(plugin, verb, call)?;
    Ok(())
}
