//! Namespaces of tests: of this one, and of those that were interrupted.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::objects::{KEPT, LABEL, RUNNING, UNTIL};

/// How long a namespace may take to go.
const GONE: Duration = Duration::from_secs(60);

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(300);

/// The namespaces of tests that were interrupted and would have ended by now.
///
/// # Errors
/// They cannot be listed.
pub(in crate::connectivity) async fn expired(client: &Client, now: u64) -> Result<Vec<String>> {
    let all = list(client, &format!("{LABEL}={RUNNING}")).await?;
    Ok(all.iter().filter(|one| has_expired(one, now)).map(ResourceExt::name_any).collect())
}

fn has_expired(namespace: &Namespace, now: u64) -> bool {
    let until = namespace.annotations().get(UNTIL).and_then(|until| until.parse::<u64>().ok());
    until.is_none_or(|until| until < now)
}

/// Has those namespaces go.
///
/// # Errors
/// One cannot be deleted; the others go all the same.
pub(in crate::connectivity) async fn delete(client: &Client, names: &[String]) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut failed = Ok(());
    for name in names {
        match namespaces.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                failed = Err(error).with_context(|| format!("cannot delete namespace {name}"));
            }
        }
    }
    failed
}

/// Waits until those namespaces are gone. Returns those that are not.
pub(in crate::connectivity) async fn gone(client: &Client, names: &[String]) -> Vec<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut left = names.to_vec();
    let end = Instant::now() + GONE;
    while !left.is_empty() && Instant::now() < end {
        sleep(PAUSE).await;
        let mut there = Vec::new();
        for name in left {
            // What cannot be looked for may be there.
            if !matches!(timeout_at(end, namespaces.get_opt(&name)).await, Ok(Ok(None))) {
                there.push(name);
            }
        }
        left = there;
    }
    left
}

/// The namespaces of all tests, kept and running ones, too.
///
/// # Errors
/// They cannot be listed.
pub(in crate::connectivity) async fn all(client: &Client) -> Result<Vec<String>> {
    Ok(list(client, LABEL).await?.iter().map(ResourceExt::name_any).collect())
}

/// Has a namespace stay.
///
/// # Errors
/// It cannot be changed.
pub(in crate::connectivity) async fn keep(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {LABEL: KEPT}}}));
    let kept = namespaces.patch(name, &PatchParams::default(), &patch).await;
    kept.with_context(|| format!("cannot mark namespace {name} as one to keep"))?;
    Ok(())
}

async fn list(client: &Client, selector: &str) -> Result<Vec<Namespace>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let all = namespaces.list(&ListParams::default().labels(selector)).await;
    Ok(all.context("cannot list the namespaces of earlier tests")?.items)
}

#[cfg(test)]
mod tests {
    use super::super::super::objects::namespace;
    use super::*;

    #[test]
    fn a_test_that_may_go_on_is_left_alone() {
        let one = namespace("n", 100).unwrap();
        assert!(!has_expired(&one, 100) && has_expired(&one, 101));
        assert!(has_expired(&Namespace::default(), 0), "of nobody");
    }
}
