//! Names that may be meant by one that nobody has.

/// How many are suggested at most.
const MOST: usize = 3;

/// How far a name is from the same one in another namespace: as from one with so many typing errors.
const ELSEWHERE: usize = 4;

/// What is appended to the message about a name that nobody has: `; did you mean shop/web?`, or nothing if no known name is
/// near. Of names with a namespace both parts count, and one that is the same in another namespace is near.
pub fn did_you_mean(wanted: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut near: Vec<(usize, String)> = Vec::new();
    for name in known {
        let name = name.as_ref();
        let Some(distance) = distance(wanted, name) else { continue };
        if near.iter().any(|(_, other)| other == name) {
            continue;
        }
        near.push((distance, name.to_owned()));
        near.sort();
        near.truncate(MOST);
    }
    let names: Vec<String> = near.into_iter().map(|(_, name)| name).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!("; did you mean {name}?"),
        [names @ .., last] => format!("; did you mean {} or {last}?", names.join(", ")),
    }
}

/// How far a known name is from the wanted one; `None`: too far.
fn distance(wanted: &str, known: &str) -> Option<usize> {
    match (wanted.split_once('/'), known.split_once('/')) {
        (Some((namespace, name)), Some((in_namespace, known))) => {
            let (names, namespaces) = (errors(name, known), errors(namespace, in_namespace));
            if names == Some(0) { Some(namespaces.unwrap_or(ELSEWHERE)) } else { Some(names? + namespaces?) }
        }
        _ => errors(wanted, known),
    }
}

/// How many typing errors make one of the other: letters that are wrong, missing, too many or swapped. `None`: more than one
/// in three letters.
fn errors(wanted: &str, known: &str) -> Option<usize> {
    let (length, other) = (wanted.chars().count(), known.chars().count());
    let most = (length / 3).max(1);
    // Most names differ in their lengths already.
    let errors = (length.abs_diff(other) <= most).then(|| strsim::osa_distance(wanted, known))?;
    (errors <= most).then_some(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_the_nearest_first() {
        let known = ["shop/web", "shop/db", "shop/web-2", "other/web", "kube-system/kube-dns", "shop/web"];
        for (wanted, said) in [
            ("shop/wbe", "; did you mean shop/web?"),
            ("shpo/web", "; did you mean shop/web or other/web?"),
            ("default/kube-dns", "; did you mean kube-system/kube-dns?"),
            ("shop/nothing-like-it", ""),
            ("", ""),
        ] {
            assert_eq!(did_you_mean(wanted, known), said, "{wanted}");
        }
        assert_eq!(did_you_mean("node11", ["node1", "node2", "other"]), "; did you mean node1 or node2?");
        assert_eq!(
            did_you_mean("policy_igress", ["policy_ingress", "port"]),
            "; did you mean policy_ingress?"
        );
    }

    #[test]
    fn many_names_are_looked_at_and_few_are_said() {
        let names: Vec<String> = (0..10_000).map(|number| format!("shop/web-{number}")).collect();
        let said = did_you_mean("shop/web-12345", &names);
        assert_eq!(said.matches("shop/web-").count(), MOST, "{said}");
    }
}
