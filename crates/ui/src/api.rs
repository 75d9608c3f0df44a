//! From an address to a question: pure.

use crate::source::{Packet, Question, Selection};

/// Where questions are asked.
pub(crate) const BELOW: &str = "/api/";

/// How many flows are returned at most: so many the page shows.
const FLOWS: usize = 200;

/// How many edges the map has at most.
const EDGES: usize = 400;

/// A question, and the version that the page has an answer of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) seen: Option<u64>,
}

/// Why an address is no question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// There is nothing at this path.
    Path,
    /// In words.
    Query(String),
}

/// What is asked at a path below [`BELOW`].
///
/// # Errors
/// It is no question.
pub(crate) fn asked(path: &str, pairs: Vec<(String, String)>) -> Result<Asked, Wrong> {
    let (mut selection, mut name, mut to, mut seen) = (Selection::default(), None, None, None);
    for (option, value) in pairs {
        match option.as_str() {
            "name" => name = Some(value),
            "to" => to = Some(value),
            "seen" => seen = value.parse().ok(),
            "since" if !value.is_empty() => selection.since = Some(value),
            "not" => selection.none.push(value),
            "focus" => selection.focus = value.parse().map_err(|why: &str| Wrong::Query(why.to_owned()))?,
            "pod" | "namespace" | "address" | "port" | "verdict" | "reason" | "service" => {
                selection.all.push(format!("{option}={value}"));
            }
            _ => return Err(Wrong::Query(format!("there is no option {option}"))),
        }
    }
    let needed = |value: Option<String>, option: &str| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| Wrong::Query(format!("{option}= is missing")))
    };
    let name = || needed(name, "name");
    let question = match path {
        "nodes" => Question::Nodes,
        "node" => Question::Node(name()?),
        "pod" => Question::Pod(name()?),
        "trace" => {
            let port = selection.all.iter().find_map(|one| one.strip_prefix("port=").map(str::to_owned));
            Question::Trace(Packet { from: name()?, to: needed(to, "to")?, port: needed(port, "port")? })
        }
        "flows" => Question::Flows(Selection { limit: FLOWS, ..selection }),
        "map" => Question::Map(Selection { limit: EDGES, ..selection }),
        _ => return Err(Wrong::Path),
    };
    Ok(Asked { question, seen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Focus;

    fn ask(path: &str, pairs: &[(&str, &str)]) -> Result<Asked, Wrong> {
        asked(path, pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn an_address_is_a_question() {
        let flows = ask(
            "flows",
            &[("pod", "a/b"), ("not", "port=udp/53"), ("since", "5m"), ("focus", "a"), ("seen", "7")],
        );
        let selection = Selection {
            all: vec!["pod=a/b".to_owned()],
            none: vec!["port=udp/53".to_owned()],
            since: Some("5m".to_owned()),
            focus: Focus::Namespace("a".to_owned()),
            limit: FLOWS,
        };
        assert_eq!(flows, Ok(Asked { question: Question::Flows(selection), seen: Some(7) }));
        let node = Asked { question: Question::Node("node1".to_owned()), seen: None };
        assert_eq!(ask("node", &[("name", "node1")]), Ok(node));
        let packet = Packet { from: "a/b".into(), to: "fd00::1".into(), port: "tcp/80".into() };
        let trace = ask("trace", &[("name", "a/b"), ("to", "fd00::1"), ("port", "tcp/80")]);
        assert_eq!(trace, Ok(Asked { question: Question::Trace(packet), seen: None }));
        let no_port = Err(Wrong::Query("port= is missing".to_owned()));
        assert_eq!(ask("trace", &[("name", "a/b"), ("to", "fd00::1")]), no_port);
        assert_eq!(ask("nothing", &[]), Err(Wrong::Path));
        for (path, pairs) in
            [("node", [("seen", "1")]), ("map", [("focus", "a/b/c")]), ("map", [("odd", "1")])]
        {
            assert!(matches!(ask(path, &pairs), Err(Wrong::Query(_))), "{path} {pairs:?}");
        }
    }
}
