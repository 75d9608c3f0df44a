//! The page that shows the network in a browser: its files, and a small HTTP server on this machine's loopback that gives
//! them out together with what a [`Source`] knows.
//!
//! The browser gets JSON documents of the shapes that `-o json` of `midokube` has. What may be large is filtered, added up
//! and cut here, never in the browser.

mod access;
mod answer;
mod api;
mod files;
mod map;
mod query;
mod server;
mod source;
mod workload;

pub use map::{Map, Place, Traffic, Verdict};
pub use server::{Settings, serve};
pub use source::{Fault, Focus, Packet, Question, Selection, Source};
pub use workload::workload;
