//! `midokube`'s commands as people and programs use them, with an agent that answers as told. As
//! root: the agent's socket is for root alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod answers;
mod connectivity;
mod doctor;
mod documents;
mod drops;
mod errors;
mod flows;
mod pipes;
mod policies;
mod preview;
mod services;
mod support;
mod terminal;
mod traces;
mod ui;
