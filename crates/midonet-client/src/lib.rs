//! The client of MidoNet's REST API: login, requests, and pushing resources until MidoNet has them.
//!
//! [`Client::push`] makes MidoNet have resources as they are given, [`Client::remove`] makes it have them no more. Both
//! can be repeated at any time: what MidoNet lost is created again, what is there already costs at most two requests
//! and changes nothing.
//!
//! A [`Client`] bounds what it sends: so many operations at once ([`Limits`]), one request after the other in each of
//! them, every request with a deadline. While MidoNet is out of reach, or does not accept the credentials, operations
//! wait for their turn, and one of them tries at a time, less and less often. Which resource to try again when is the
//! caller's affair: [`Backoff`] helps.

mod backoff;
mod base;
mod cause;
mod client;
mod error;
mod expiry;
mod found;
mod gate;
mod host;
mod local_routes;
mod metrics;
mod observer;
mod operation;
mod options;
mod push;
mod refusal;
mod remove;
mod report;
mod session;
mod tls;
mod transport;

pub use backoff::Backoff;
pub use client::Client;
pub use error::{Class, Error};
pub use host::Host;
pub use metrics::Metrics;
pub use observer::{Nobody, Observer};
pub use options::{Deadlines, Limits, Options, OptionsError, Password, Trust};
pub use report::{PushError, Report};
