use std::fmt;

use serde::Serialize;

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// How it is.
    #[serde(flatten)]
    pub state: State,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum State {
    /// As it should be.
    Ok,
    /// The network works, but somebody should see to it.
    Warning(Problem),
    /// The network cannot work: a setting is wrong.
    Invalid(Problem),
    /// The network cannot work: something is not there.
    Missing(Problem),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Why it is not as it should be.
    pub problem: String,
    /// What helps.
    pub remedy: String,
}

impl Problem {
    fn new(problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { problem: problem.to_string(), remedy: remedy.to_string() }
    }
}

impl Finding {
    pub(super) fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok }
    }

    pub(super) fn warning(
        what: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self { what: what.into(), state: State::Warning(Problem::new(problem, remedy)) }
    }

    pub(super) fn invalid(
        what: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self { what: what.into(), state: State::Invalid(Problem::new(problem, remedy)) }
    }

    pub(super) fn missing(
        what: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self { what: what.into(), state: State::Missing(Problem::new(problem, remedy)) }
    }

    /// Invalid or missing.
    pub(super) fn bad(
        is_setting: bool,
        what: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        if is_setting { Self::invalid(what, problem, remedy) } else { Self::missing(what, problem, remedy) }
    }

    /// Whether it is as it should be.
    pub fn is_good(&self) -> bool {
        self.state == State::Ok
    }

    /// Whether the network cannot work for it.
    pub fn is_bad(&self) -> bool {
        matches!(self.state, State::Invalid(_) | State::Missing(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, problem) = match &self.state {
            State::Ok => ("ok", None),
            State::Warning(problem) => ("warning", Some(problem)),
            State::Invalid(problem) => ("INVALID", Some(problem)),
            State::Missing(problem) => ("MISSING", Some(problem)),
        };
        write!(f, "{state:<9}{}", self.what)?;
        problem.map_or(Ok(()), |Problem { problem, remedy }| write!(f, ": {problem}; {remedy}"))
    }
}
