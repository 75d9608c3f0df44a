//! The program beside an API server and MidoNet, both of which are small ones of these tests: one of two works, and MidoNet has
//! what the objects say, whatever happens.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api;
mod bad;
mod life;
mod objects;
mod scene;
mod takeover;
