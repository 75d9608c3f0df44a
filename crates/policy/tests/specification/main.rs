//! The points of the specifications, one by one, and what is decided where they leave it open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod build;
mod cluster;
mod limits;
mod network;
mod pods;
mod told;
