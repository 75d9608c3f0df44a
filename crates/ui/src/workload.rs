//! Which workload a Pod belongs to, by its name: pure.

/// What names that Kubernetes makes up consist of: no vowels, and nothing that looks like another.
const MADE_UP: &str = "bcdfghjklmnpqrstvwxz2456789";

/// How long the made-up end of a Pod's name is.
const POD: usize = 5;

/// How long the hash of a ReplicaSet is.
const HASH: std::ops::RangeInclusive<usize> = 6..=10;

/// The name without what controllers append: that of the Deployment, StatefulSet, DaemonSet, Job or CronJob, or the Pod's own.
pub fn workload(pod: &str) -> &str {
    let Some((before, last)) = split(pod) else { return pod };
    if is_number(last) {
        return before;
    }
    if last.len() != POD || !is_made_up(last) {
        return pod;
    }
    match split(before) {
        Some((name, hash)) if HASH.contains(&hash.len()) && (is_made_up(hash) || is_number(hash)) => name,
        _ => before,
    }
}

fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('-').filter(|(before, last)| !before.is_empty() && !last.is_empty())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_made_up(text: &str) -> bool {
    text.chars().all(|letter| MADE_UP.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_of_the_workload_that_its_name_tells() {
        for (pod, expected) in [
            ("web-7d4b9c6f5d-x2x4k", "web"),
            ("front-end-6b8f7-qwrtz", "front-end-6b8f7"),
            ("db-0", "db"),
            ("db-12", "db"),
            ("coredns-xk4zt", "coredns"),
            ("backup-29384750-bdfgh", "backup"),
            ("single", "single"),
            ("web-alpha", "web-alpha"),
            ("pod1-1", "pod1"),
            ("-x2x4k", "-x2x4k"),
            ("", ""),
            ("a-", "a-"),
        ] {
            assert_eq!(workload(pod), expected, "{pod}");
        }
    }
}
