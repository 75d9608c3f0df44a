//! Which scenarios: patterns on the command line.

use std::str::FromStr;

use super::scenarios::{Scenario, all};

/// A name with `*` in the place of any letters; with `!` in front, scenarios that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    excludes: bool,
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        glob(self.text.as_bytes(), name.as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (excludes, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let pattern = Self { text: text.to_owned(), excludes };
        if all().any(|scenario| pattern.matches(scenario.name)) {
            return Ok(pattern);
        }
        Err("no scenario has such a name: --list names all".to_owned())
    }
}

/// Whether `*` of a pattern can be filled so that it is the name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (Some((b'*', rest)), _) => {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| glob(rest, name)))
        }
        (Some((one, pattern)), Some((other, name))) => one == other && glob(pattern, name),
        (None, None) => true,
        _ => false,
    }
}

/// The scenarios that are wanted, in their order: all that a pattern includes, or all if none does, but for those that one
/// excludes.
pub(super) fn wanted(patterns: &[Pattern]) -> Vec<&'static Scenario> {
    let (excluded, included): (Vec<&Pattern>, Vec<&Pattern>) =
        patterns.iter().partition(|pattern| pattern.excludes);
    let any = |patterns: &[&Pattern], name| patterns.iter().any(|pattern| pattern.matches(name));
    all()
        .filter(|scenario| included.is_empty() || any(&included, scenario.name))
        .filter(|scenario| !any(&excluded, scenario.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> Vec<&'static str> {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        wanted(&patterns).into_iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn patterns_choose_scenarios() {
        assert_eq!(names(&[]).len(), all().count());
        assert_eq!(names(&["pod-to-itself"]), ["pod-to-itself"]);
        assert_eq!(names(&["dns-service*", "!*-tcp"]), ["dns-service"]);
        assert_eq!(names(&["!*a*", "!*o*", "!*s*"]), Vec::<&str>::new());
        assert_eq!(
            names(&["pod-to-itself", "agents-answer"]),
            ["agents-answer", "pod-to-itself"],
            "in their order"
        );
        for bad in ["", "!", "nothing", "pod-to", "!pod-to"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("a*", "a", true),
            ("*a*b", "xaxxb", true),
            ("a*b", "abc", false),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }
}
