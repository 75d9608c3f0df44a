//! Media types: which ones a resource takes and gives. There are two ways, and which one a resource has is how the
//! server's authors wrote it: most look at one type alone, others choose from a list as HTTP has it.

use crate::message::{Request, Response};
use crate::types::{JSON, vendor};

/// A media type without its parameters, in lower case.
fn bare(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is(given: &str, name: &str) -> bool {
    given == vendor(name).to_ascii_lowercase()
}

/// The type to answer with where the header `Accept` has to have one type alone, and these names are allowed besides
/// plain JSON.
pub(crate) fn only(request: &Request, names: &[&str]) -> Result<String, Response> {
    let refused = || Response::bodiless(406);
    let accept = request.accept.as_deref().filter(|text| !text.contains(',')).ok_or_else(refused)?;
    match bare(accept).as_str() {
        "*/*" | JSON => Ok(JSON.into()),
        "application/*" => {
            Err(Response::exception("javax.servlet.ServletException: A message body writer was not found"))
        }
        given => names.iter().find(|name| is(given, name)).map(|name| vendor(name)).ok_or_else(refused),
    }
}

/// The type to answer with as HTTP has it: the best of the header `Accept` that is among the resource's types, of which
/// the first is taken without a header. `None`: none of them.
pub(crate) fn best(request: &Request, types: &[String]) -> Option<String> {
    let accept = request.accept.as_deref().unwrap_or("*/*");
    let mut ranges: Vec<_> = accept.split(',').map(|range| (quality(range), bare(range))).collect();
    ranges.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    ranges
        .iter()
        .filter(|(quality, _)| *quality > 0)
        .find_map(|(_, range)| {
            types.iter().find(|given| match range.as_str() {
                "*/*" | "application/*" => true,
                range => given.eq_ignore_ascii_case(range),
            })
        })
        .cloned()
}

/// A range's `q`, in thousandths.
fn quality(range: &str) -> u16 {
    let value = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
    let (whole, part) = value.unwrap_or("1").split_once('.').unwrap_or((value.unwrap_or("1"), ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let thousandths = whole.parse::<u16>().unwrap_or(0).saturating_mul(1000);
    thousandths.saturating_add(part.parse().unwrap_or(0)).min(1000)
}

/// How a resource looks at the header `Content-Type`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes<'a> {
    /// It reads any JSON first, and then refuses what is not plain JSON or of these names with 406.
    Checked(&'a [&'a str]),
    /// It has a list: what is not in there is refused with 415, before the body is read.
    Listed(&'a [&'a str], Plain),
}

/// Whether plain JSON is in the list too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Taken,
    Refused,
}

impl Takes<'_> {
    /// Refuses a body before it is read.
    pub(crate) fn before(self, request: &Request) -> Result<(), Response> {
        let given = bare(request.content_type.as_deref().unwrap_or_default());
        let taken = match self {
            // Something that reads it is there for all JSON alone.
            Self::Checked(_) => {
                given == JSON || (given.starts_with("application/") && given.ends_with("+json"))
            }
            Self::Listed(names, plain) => {
                names.iter().any(|name| is(&given, name)) || (plain == Plain::Taken && given == JSON)
            }
        };
        if taken { Ok(()) } else { Err(Response::bodiless(415)) }
    }

    /// Refuses a body that was read.
    pub(crate) fn after(self, request: &Request) -> Result<(), Response> {
        let Self::Checked(names) = self else { return Ok(()) };
        let given = bare(request.content_type.as_deref().unwrap_or_default());
        let taken = given == JSON || names.iter().any(|name| is(&given, name));
        if taken { Ok(()) } else { Err(Response::bodiless(406)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Request {
        Request::new("GET", "/").accepting(accept)
    }

    #[test]
    fn one_type_alone() {
        let names = ["Router-v3"];
        let given = |accept: &str| only(&accepting(accept), &names).map_err(|refused| refused.status);
        assert_eq!(given("*/*"), Ok(JSON.into()));
        assert_eq!(given("application/json; charset=utf-8"), Ok(JSON.into()));
        assert_eq!(given("APPLICATION/VND.org.midonet.router-V3+json"), Ok(vendor("Router-v3")));
        assert_eq!(given("application/json, */*"), Err(406));
        assert_eq!(given(&vendor("Router-v2")), Err(406));
        assert_eq!(given("application/*"), Err(500));
        assert_eq!(only(&Request::new("GET", "/"), &names).map_err(|refused| refused.status), Err(406));
    }

    #[test]
    fn the_best_of_a_list() {
        let types = [vendor("collection.Route-v1"), JSON.into()];
        let given = |accept: &str| best(&accepting(accept), &types);
        assert_eq!(given("text/plain, application/json;q=0.5"), Some(JSON.into()));
        assert_eq!(given("application/json;q=0.5, */*;q=0.6"), Some(vendor("collection.Route-v1")));
        assert_eq!(given("application/json;q=0"), None);
        assert_eq!(given("text/plain"), None);
        assert_eq!(best(&Request::new("GET", "/"), &types), Some(vendor("collection.Route-v1")));
    }
}
