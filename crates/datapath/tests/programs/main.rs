//! The eBPF programs and their maps, run by the kernel: on single packets, and on real ones between namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod checksums;
mod choice;
mod connections;
mod decisions;
mod drops;
mod flows;
mod instructions;
mod migration;
mod mutations;
mod neighbours;
mod nodes;
mod outside;
mod outside_services;
mod overlay;
mod policy;
mod policy_traffic;
mod policy_tuples;
mod reasons;
mod records;
mod related;
mod restart;
mod service_traffic;
mod services;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod traffic;
mod uplink;
