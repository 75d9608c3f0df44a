//! What /etc/resolv.conf says, which kubelet writes.

use std::net::IpAddr;

use super::super::question::Outcome;

const PATH: &str = "/etc/resolv.conf";

/// What a search list of the cluster has: the domain of Services follows.
const SERVICES: &str = "svc.";

/// Reads it.
pub(super) fn read() -> Outcome {
    match std::fs::read_to_string(PATH) {
        Ok(text) => parse(&text),
        Err(error) => Outcome::Failed { why: format!("cannot read {PATH}: {error}") },
    }
}

fn parse(text: &str) -> Outcome {
    let (mut servers, mut domain) = (Vec::new(), None);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
            // The last one counts.
            Some("search") => {
                let mut found = words.filter_map(|word| word.trim_end_matches('.').strip_prefix(SERVICES));
                domain = found.next().map(str::to_owned);
            }
            _ => {}
        }
    }
    Outcome::Resolver { servers, domain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_file_is_read() {
        let text = "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n\
                    nameserver fd96::a\noptions ndots:5\n# nameserver 1.1.1.1\nnameserver x\n";
        let servers = vec!["10.96.0.10".parse().unwrap(), "fd96::a".parse().unwrap()];
        assert_eq!(parse(text), Outcome::Resolver { servers, domain: Some("cluster.local".into()) });
        let servers = vec!["192.0.2.53".parse().unwrap()];
        let text = "search example.com\nnameserver 192.0.2.53";
        assert_eq!(parse(text), Outcome::Resolver { servers, domain: None });
        assert_eq!(parse(""), Outcome::Resolver { servers: vec![], domain: None });
    }
}
