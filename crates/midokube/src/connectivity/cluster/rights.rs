//! What a user has to be allowed: asked before anything is made.

use std::fmt;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

/// So many questions at a time.
const AT_ONCE: usize = 8;

/// What somebody has to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectivity) struct Right {
    verb: &'static str,
    group: &'static str,
    /// With its subresource, if it is one.
    resource: &'static str,
    /// `None`: in all namespaces, or of what is in none.
    namespace: Option<String>,
}

/// What a test needs, where the agents are in that namespace.
pub(in crate::connectivity) fn needed(agents: &str) -> Vec<Right> {
    let everywhere = |group, resource, verbs: &[&'static str]| {
        let one = |verb: &&'static str| Right { verb, group, resource, namespace: None };
        verbs.iter().map(one).collect::<Vec<_>>()
    };
    let of = |namespace: &str, group, resource, verb| Right {
        verb,
        group,
        resource,
        namespace: Some(namespace.to_owned()),
    };
    [
        vec![
            of(agents, "", "pods", "list"),
            of(agents, "", "pods/exec", "create"),
            of(agents, "", "pods/exec", "get"),
        ],
        vec![
            of("default", "", "services", "get"),
            of("default", "discovery.k8s.io", "endpointslices", "list"),
        ],
        everywhere("", "nodes", &["list"]),
        everywhere("", "namespaces", &["list", "get", "create", "patch", "delete"]),
        everywhere("", "pods", &["get", "list", "create", "patch"]),
        // A WebSocket begins with a GET; newer API servers ask for both.
        everywhere("", "pods/exec", &["get", "create"]),
        everywhere("", "services", &["list", "create"]),
        everywhere("networking.k8s.io", "networkpolicies", &["create", "delete"]),
    ]
    .concat()
}

/// Those of the rights that the user does not have.
///
/// # Errors
/// The API server does not say.
pub(in crate::connectivity) async fn missing(client: &Client, rights: &[Right]) -> Result<Vec<Right>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let ask = |right: Right| {
        let reviews = reviews.clone();
        async move {
            let answer = reviews.create(&PostParams::default(), &right.review()?).await;
            let answer = answer.context("the API server does not say what the user may do")?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, anyhow::Error>((!allowed).then_some(right))
        }
    };
    let asked = stream::iter(rights.to_vec()).map(ask).buffered(AT_ONCE).try_collect::<Vec<_>>();
    Ok(asked.await?.into_iter().flatten().collect())
}

impl Right {
    fn review(&self) -> Result<SelfSubjectAccessReview> {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let review = json!({"spec": {"resourceAttributes": {
            "verb": self.verb, "group": self.group, "resource": resource, "subresource": subresource,
            "namespace": self.namespace.as_deref().unwrap_or_default(),
        }}});
        serde_json::from_value(review).context("a fault of midokube")
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_told_and_asked_for() {
        let rights = needed("network");
        let told: Vec<String> = rights.iter().map(ToString::to_string).collect();
        for want in
            ["create pods/exec in network", "create namespaces", "delete networkpolicies.networking.k8s.io"]
        {
            assert!(told.iter().any(|one| one == want), "{want} in {told:?}");
        }
        let exec = rights.iter().find(|right| right.resource == "pods/exec").unwrap().review().unwrap();
        let asked = exec.spec.resource_attributes.unwrap();
        let word = |word: Option<String>| word.unwrap_or_default();
        assert_eq!((word(asked.resource), word(asked.subresource)), ("pods".to_owned(), "exec".to_owned()));
        assert_eq!((word(asked.namespace), word(asked.verb)), ("network".to_owned(), "create".to_owned()));
    }
}
