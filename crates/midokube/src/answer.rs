//! What several answers of the agent have in common.

use nodeapi::v1;
use serde::{Deserialize, Serialize};
use terminal::table::wrap;

/// Something that is wrong while Pods are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) object: String,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl From<v1::Problem> for Problem {
    fn from(problem: v1::Problem) -> Self {
        let v1::Problem { what, object, problem, remedy } = problem;
        Self { what, object, problem, remedy }
    }
}

/// A text that may not be known.
pub(crate) fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A number that may not be known.
pub(crate) fn number(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number != 0)
}

/// Problems for people.
pub(crate) fn problems(problems: &[Problem], width: Option<usize>) -> String {
    let lines = problems.iter().flat_map(|Problem { what, object, problem, remedy }| {
        [
            indented(width, 1, &format!("{what}: {object}")),
            indented(width, 2, problem),
            indented(width, 2, &format!("remedy: {remedy}")),
        ]
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Rows as a table for people, and a line that says how many others match.
pub(crate) fn matching<T>(rows: &[T], matching: u64, what: &str, table: impl Fn(&[T]) -> String) -> String {
    let mut text = if rows.is_empty() { " none".to_owned() } else { table(rows) };
    if matching > rows.len() as u64 {
        text.push_str(&format!("\n {} of {matching} {what} that match: --limit shows more", rows.len()));
    }
    text
}

/// Lines that begin `indent` columns from the left.
pub(crate) fn indented(width: Option<usize>, indent: usize, text: &str) -> String {
    let margin = " ".repeat(indent);
    let text = wrap(width.map(|width| width.saturating_sub(indent)), text);
    format!("{margin}{}", text.replace('\n', &format!("\n{margin}")))
}
