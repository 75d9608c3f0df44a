//! Whether the program does what it is there for.

use std::sync::{Arc, Mutex, PoisonError};

/// What is known of it. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    midonet: Option<String>,
}

/// How far the program is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has asked nobody yet.
    #[default]
    Starting,
    /// The Lease cannot be read or written, for this reason.
    NoLease(String),
    /// Another one works.
    Standby(String),
    /// It works, but does not know all objects yet, for this reason if there is one.
    Reading(Option<String>),
    /// It works.
    Works,
}

impl Readiness {
    /// It is so far.
    pub fn set(&self, stage: Stage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stage = stage;
    }

    /// What keeps MidoNet from taking anything; `None`: it takes what it gets. Returns whether that is new.
    pub fn set_midonet(&self, problem: Option<String>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = state.midonet != problem;
        state.midonet = problem;
        is_new
    }

    /// Ready, and for what; or why not.
    ///
    /// # Errors
    /// Why not.
    pub fn get(&self) -> Result<String, String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.stage, &state.midonet) {
            (Stage::Starting, _) => Err("starting".into()),
            (Stage::NoLease(why), _) => Err(why.clone()),
            (Stage::Standby(holder), _) => Ok(format!("standing by: {holder} works")),
            (Stage::Reading(None), _) => Err("reading the objects".into()),
            (Stage::Reading(Some(why)), _) => Err(format!("reading the objects: {why}")),
            (Stage::Works, Some(problem)) => Err(format!("MidoNet takes nothing: {problem}")),
            (Stage::Works, None) => Ok("working".into()),
        }
    }
}
