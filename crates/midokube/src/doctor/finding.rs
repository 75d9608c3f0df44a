//! What is wrong, and what to do.

use serde::{Deserialize, Serialize};

/// How bad it is. The worst is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Packets are lost, or will be for a new Pod.
    Error,
    /// Something is not as it should be, or will be an error soon.
    Warning,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What kind.
    pub(crate) what: String,
    /// Which object.
    pub(crate) object: String,
    /// What is wrong with it, and why.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) remedy: String,
    /// The nodes that tell it, or whose it is.
    pub(crate) nodes: Vec<String>,
}

impl Finding {
    pub(super) fn error(what: &str, object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(Severity::Error, what, object.into(), problem.into())
    }

    pub(super) fn warning(what: &str, object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what, object.into(), problem.into())
    }

    fn new(severity: Severity, what: &str, object: String, problem: String) -> Self {
        let (what, remedy) = (what.to_owned(), String::new());
        Self { severity, what, object, problem, remedy, nodes: Vec::new() }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Told of these nodes.
    pub(super) fn of<'a>(self, nodes: impl IntoIterator<Item = &'a str>) -> Self {
        Self { nodes: nodes.into_iter().map(str::to_owned).collect(), ..self }
    }
}

/// One of each, with all nodes that have it; the worst first.
pub(super) fn merged(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        match merged.last_mut().filter(|last| last.is_as(&finding)) {
            Some(last) => last.nodes.extend(finding.nodes),
            None => merged.push(finding),
        }
    }
    for finding in &mut merged {
        finding.nodes.sort();
        finding.nodes.dedup();
    }
    merged
}

impl Finding {
    fn is_as(&self, other: &Self) -> bool {
        let same = |one: &Self| {
            (one.severity, one.what.clone(), one.object.clone(), one.problem.clone(), one.remedy.clone())
        };
        same(self) == same(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_nodes_tell_is_one_finding() {
        let one = |node| Finding::warning("overlap", "Node c", "overlaps").remedy("correct it").of([node]);
        let other = Finding::error("path_mtu", "a -> b", "too small").remedy("raise it").of(["a"]);
        let all = merged(vec![one("b"), one("a"), other.clone(), one("a")]);
        assert_eq!(all, [other, one("a").of(["a", "b"])]);
    }
}
