//! Keeps a MidoNet in step with a Kubernetes cluster.
//!
//! Objects are watched ([`feed`]) and come to the [`reconciler`], which knows what is to be done: which owners' Translations are to be
//! written ([`writing`]), and which Translations are to be pushed to MidoNet or removed from it ([`pushing`]). All of that is
//! done by the one of several programs that holds a Lease ([`election`]).
//!
//! What the reconciler decides is pure: [`inventory`] knows the Translations that there are, [`plan`] how one has to change, [`queue`]
//! what is next.

pub mod annotating;
pub mod config;
pub mod difference;
pub mod dry_run;
pub mod election;
pub mod events;
pub mod feed;
pub mod http;
pub mod inventory;
pub mod kinds;
pub mod metrics;
pub mod object_events;
pub mod owner;
pub mod plan;
pub mod pushing;
pub mod queue;
pub mod readiness;
pub mod reconciler;
pub mod reporting;
pub mod run;
pub mod shared;
pub mod writing;
