//! Kubernetes manifests: text in, documents and objects out.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

/// A part of a file's text that is parsed alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    pub(crate) text: &'a str,
    /// The line that it begins at, from 1.
    pub(crate) line: usize,
}

impl Document<'_> {
    /// Documents of the same text have the same hash.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        hasher.finish()
    }
}

/// The documents of a file: YAML separates them by lines that begin with `---` (YAML 1.2, section 9.1.2), which stand
/// nowhere else. What also has directives or ends of documents is one for all.
pub(crate) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = vec![Document { text, line: 1 }];
    let whole = |line: &str| line.starts_with('%') || line.starts_with("...");
    if text.lines().any(whole) {
        return documents;
    }
    documents.clear();
    let (mut begins, mut first, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let separates = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separates && at > begins {
            documents.extend(text.get(begins..at).map(|text| Document { text, line: first }));
            (begins, first) = (at, index + 1);
        }
        at += line.len();
    }
    documents.extend(text.get(begins..).map(|text| Document { text, line: first }));
    documents
}

/// The objects of a document, which may be a list of them, each with what `wanted` gives for its apiVersion and kind. The
/// others are passed over.
///
/// # Errors
/// It is neither YAML nor JSON, or no Kubernetes object.
pub(crate) fn objects<T>(
    document: &str,
    wanted: impl Fn(&str, &str) -> Option<T>,
) -> Result<Vec<(T, Value)>, String> {
    let mut objects = Vec::new();
    for document in Deserializer::from_str(document) {
        // The error has the line and the column.
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        if !value.is_null() {
            collect(value, None, &wanted, &mut objects)?;
        }
    }
    Ok(objects)
}

/// `list`: the apiVersion and kind of an item that need not say them.
fn collect<T>(
    mut value: Value,
    list: Option<(&str, &str)>,
    wanted: &impl Fn(&str, &str) -> Option<T>,
    objects: &mut Vec<(T, Value)>,
) -> Result<(), String> {
    let text =
        |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let (version, kind) = match (text("apiVersion"), text("kind"), list) {
        (Some(version), Some(kind), _) => (version, kind),
        (None, None, Some((version, kind))) => (version.to_owned(), kind.to_owned()),
        _ => return Err("it has no apiVersion or no kind, so it is no Kubernetes object".into()),
    };
    if let Some(wanted) = wanted(&version, &kind) {
        objects.push((wanted, value));
        return Ok(());
    }
    let item = match kind.strip_suffix("List") {
        Some("") if version == "v1" => None,
        Some(item) if wanted(&version, item).is_some() => Some((version.as_str(), item)),
        _ => return Ok(()),
    };
    let items = value.get_mut("items").and_then(Value::as_sequence_mut).map(std::mem::take);
    items.unwrap_or_default().into_iter().try_for_each(|value| collect(value, item, wanted, objects))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(version: &str, kind: &str) -> Option<()> {
        (version == "v1" && kind == "Node").then_some(())
    }

    fn names(text: &str) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for document in documents(text) {
            let objects =
                objects(document.text, wanted).map_err(|error| format!("line {}: {error}", document.line))?;
            names.extend(
                objects.iter().map(|(_, node)| node["metadata"]["name"].as_str().unwrap().to_owned()),
            );
        }
        Ok(names)
    }

    #[test]
    fn documents_lists_json_and_other_kinds() {
        let node = |name: &str| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n");
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        assert_eq!(names(&format!("---\n{}\n---\n---\n{service}", node("a"))).unwrap(), ["a"]);
        assert_eq!(
            names(&format!("%YAML 1.1\n---\n{}...\n---\n{}", node("a"), node("b"))).unwrap(),
            ["a", "b"]
        );
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "b"}}]}"#;
        assert_eq!(names(list).unwrap(), ["a", "b"]);
        let nodes = r#"{"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": {"name": "a"}}]}"#;
        assert_eq!(names(nodes).unwrap(), ["a"]);
        for nothing in
            ["{apiVersion: example.org/v1, kind: AllowList, items: [a, b]}", "", "# a comment\n", "---\n"]
        {
            assert!(names(nothing).unwrap().is_empty(), "{nothing}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, want) in [
            ("a: [1", "line 1: "),
            ("kind: Node", "line 1: it has no apiVersion"),
            ("just text", "line 1: it has no apiVersion"),
            ("# one\n---\nkind: Node", "line 2: it has no apiVersion"),
            ("{apiVersion: v1, kind: List, items: [{kind: Node}]}", "line 1: it has no apiVersion"),
            ("{apiVersion: v1, kind: NodeList, items: [{kind: Node}]}", "line 1: it has no apiVersion"),
        ] {
            let error = names(text).unwrap_err();
            assert!(error.starts_with(want), "{want} in {error}");
        }
    }

    proptest! {
        /// However a text is split, a parser finds the same in it.
        #[test]
        fn documents_are_those_of_yaml(parts in proptest::collection::vec(
            prop_oneof![
                Just("---\n"), Just("---"), Just("--- \n"), Just("--- {a: 1}\n"), Just("\n"), Just("# ---\n"),
                Just("a: |\n  ---\n  x\n"), Just("b: 2\n"), Just(" ---\n"), Just("...\n"), Just("c: '---'\n"), Just("---\r\n"),
            ], 0..8)
        ) {
            let text = parts.concat();
            let whole: Result<Vec<Value>, _> = Deserializer::from_str(&text).map(Value::deserialize).collect();
            let parts: Result<Vec<Value>, _> = documents(&text)
                .iter()
                .flat_map(|document| Deserializer::from_str(document.text).map(Value::deserialize))
                .collect();
            prop_assert_eq!(documents(&text).iter().map(|document| document.text).collect::<String>(), text);
            if let Ok(whole) = whole {
                let full = |all: Vec<Value>| all.into_iter().filter(|value| !value.is_null()).collect::<Vec<_>>();
                prop_assert_eq!(full(whole), full(parts.unwrap()));
            }
        }
    }
}
