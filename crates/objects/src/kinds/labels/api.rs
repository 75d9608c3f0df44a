//! Selectors as the API server and manifests have them.

use std::sync::Arc;

use serde_json::Value;

use super::{LabelSelector, Operator, Requirement};
use crate::kinds::fields::{fields, known_fields, list, quoted, text};
use crate::shared::shared;

/// A selector.
///
/// # Errors
/// A part of it cannot be read: whom it selects is not known.
pub(in crate::kinds) fn selector(value: &Value) -> Result<LabelSelector, String> {
    match readable(value) {
        (selector, None) => Ok(selector),
        (_, Some(wrong)) => Err(wrong),
    }
}

/// The requirements that can be read, and what is wrong with the first other one: whoever the whole selector would select
/// is among those that these select.
pub(in crate::kinds) fn readable(value: &Value) -> (LabelSelector, Option<String>) {
    let (mut requirements, mut wrong) = (Vec::new(), None);
    let mut take = |read: Result<Requirement, String>| match read {
        Ok(requirement) => requirements.push(requirement),
        Err(problem) => drop(wrong.get_or_insert(problem)),
    };
    match known_fields(value, ["matchLabels", "matchExpressions"]) {
        Err(problem) => take(Err(problem)),
        Ok(([labels, expressions], unknown)) => {
            if let Some(name) = unknown.first() {
                take(Err(format!("its field {name:?} is unknown")));
            }
            match labels.map(|labels| (labels, labels.as_object())) {
                None => {}
                Some((_, Some(labels))) => labels.iter().for_each(|label| take(is(label))),
                Some((labels, None)) => take(Err(format!("matchLabels: {labels} is no object"))),
            }
            match expressions.map(list) {
                None => {}
                Some(Ok(expressions)) => expressions.iter().enumerate().for_each(|(index, one)| {
                    take(requirement(one).map_err(|problem| format!("matchExpressions[{index}]: {problem}")));
                }),
                Some(Err(problem)) => take(Err(format!("matchExpressions: {problem}"))),
            }
        }
    }
    requirements.sort();
    requirements.dedup();
    (LabelSelector(requirements.into()), wrong)
}

/// One of `matchLabels`.
fn is((key, value): (&String, &Value)) -> Result<Requirement, String> {
    let said = |problem| format!("matchLabels: {problem}");
    let key = label_key(key).map_err(said)?;
    let value = text(value).and_then(label_value).map_err(said)?;
    Ok(Requirement { key, operator: Operator::In([value].into()) })
}

/// One of `matchExpressions`.
fn requirement(value: &Value) -> Result<Requirement, String> {
    let [key, operator, values] = fields(value, ["key", "operator", "values"])?;
    let key = label_key(text(key.ok_or("it has no key")?)?)?;
    let operator = text(operator.ok_or("it has no operator")?)?;
    let values = values.map_or(Ok(&[][..]), list)?;
    let values: Result<Vec<_>, _> = values.iter().map(|value| text(value).and_then(label_value)).collect();
    let mut values = values?;
    values.sort();
    values.dedup();
    let some = |values: Vec<Arc<str>>| {
        if values.is_empty() { Err(format!("{operator} needs values")) } else { Ok(values.into()) }
    };
    let none = |values: &[Arc<str>]| {
        if values.is_empty() { Ok(()) } else { Err(format!("{operator} has no values")) }
    };
    let operator = match operator {
        "In" => Operator::In(some(values)?),
        "NotIn" => Operator::NotIn(some(values)?),
        "Exists" => none(&values).map(|()| Operator::Exists)?,
        "DoesNotExist" => none(&values).map(|()| Operator::DoesNotExist)?,
        other => return Err(format!("the operator {} is unknown", quoted(other))),
    };
    Ok(Requirement { key, operator })
}

/// A label's key: a name, with the prefix of a domain before a slash or none.
fn label_key(key: &str) -> Result<Arc<str>, String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |prefix: &str| {
        let is_part = |part: &str| is_name(part) && !part.contains(['_', '.']);
        prefix.len() <= 253
            && prefix.split('.').all(is_part)
            && !prefix.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    if name.len() <= 63 && is_name(name) && prefix.is_none_or(is_prefix) {
        Ok(shared(key))
    } else {
        Err(format!("{} is no key of a label", quoted(key)))
    }
}

fn label_value(value: &str) -> Result<Arc<str>, String> {
    if value.is_empty() || value.len() <= 63 && is_name(value) {
        Ok(shared(value))
    } else {
        Err(format!("{} is no value of a label", quoted(value)))
    }
}

/// Letters, digits, and dashes, underscores and dots inside.
fn is_name(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
