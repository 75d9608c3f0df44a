//! The objects that policies are made of, as they come.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::FutureExt;
use objects::{ClusterNetworkPolicy, Delta, Kind, Namespace, NetworkPolicy, Pod, Selector, Watch};
use policy::Judge;

use super::known::Known;
use super::locals::Locals;
use super::objects::Objects;
use crate::stream::Stream;

/// The Pods that policies are about: on a node, with addresses of their own, and not ended. One that ends is gone.
const PODS: &str = "spec.nodeName!=,spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed";

/// What is watched for policies, besides Nodes.
pub(crate) struct Feed {
    policies: Stream<NetworkPolicy>,
    cluster_policies: Stream<ClusterNetworkPolicy>,
    namespaces: Stream<Namespace>,
    pods: Stream<Pod>,
}

/// What changed of one kind.
#[derive(Debug)]
pub(crate) enum News {
    Policies(Delta<NetworkPolicy>),
    ClusterPolicies(Delta<ClusterNetworkPolicy>),
    Namespaces(Delta<Namespace>),
    Pods(Delta<Pod>),
}

impl Feed {
    /// Names what is to be watched.
    pub(crate) fn new(watch: &mut Watch) -> Self {
        let pods = Selector { fields: Some(PODS.into()), ..Selector::default() };
        Self {
            policies: Stream::of(watch, true, Selector::default()),
            cluster_policies: Stream::of(watch, true, Selector::default()),
            namespaces: Stream::of(watch, true, Selector::default()),
            pods: Stream::of(watch, true, pods),
        }
    }

    /// Waits for changes, and returns all that there are by then. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The source ended.
    pub(crate) async fn next(&mut self) -> Result<Vec<News>> {
        let mut all = vec![self.one().await?];
        while let Some(more) = self.one().now_or_never() {
            all.push(more?);
        }
        Ok(all)
    }

    async fn one(&mut self) -> Result<News> {
        let Self { policies, cluster_policies, namespaces, pods } = self;
        let news = tokio::select! {
            delta = policies.next() => delta.map(News::Policies),
            delta = cluster_policies.next() => delta.map(News::ClusterPolicies),
            delta = namespaces.next() => delta.map(News::Namespaces),
            delta = pods.next() => delta.map(News::Pods),
        };
        news.context("the source of objects ended")
    }
}

impl News {
    /// How many objects changed.
    pub(crate) fn objects(&self) -> usize {
        fn count<K>(delta: &Delta<K>) -> usize {
            delta.upserted.len() + delta.deleted.len()
        }
        match self {
            Self::Policies(delta) => count(delta),
            Self::ClusterPolicies(delta) => count(delta),
            Self::Namespaces(delta) => count(delta),
            Self::Pods(delta) => count(delta),
        }
    }

    /// The addresses that may be another Pod's after it.
    pub(super) fn addresses(&self, objects: &Objects) -> Vec<IpAddr> {
        let Self::Pods(delta) = self else { return Vec::new() };
        let pods = delta.upserted.iter().chain(&delta.deleted);
        let known = pods.clone().filter_map(|pod| objects.pods.get(&pod.key));
        let mut addresses: Vec<IpAddr> =
            pods.chain(known).flat_map(|pod| pod.addresses.iter().copied()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Takes it in.
    pub(super) fn take(
        self,
        judge: &mut Judge,
        known: &mut Known,
        locals: &mut Locals,
        objects: &mut Objects,
    ) {
        match self {
            Self::Policies(delta) => {
                known.policies = take(delta, |policy, is_there| match is_there {
                    true => {
                        objects.policies.insert(policy.key.clone(), Arc::clone(policy));
                        judge.upsert_policy(Arc::clone(policy));
                    }
                    false => {
                        objects.policies.remove(&policy.key);
                        judge.delete_policy(&policy.key);
                    }
                });
            }
            Self::ClusterPolicies(delta) => {
                known.cluster_policies = take(delta, |policy, is_there| match is_there {
                    true => {
                        objects.cluster_policies.insert(policy.key.clone(), Arc::clone(policy));
                        judge.upsert_cluster_policy(Arc::clone(policy));
                    }
                    false => {
                        objects.cluster_policies.remove(&policy.key);
                        judge.delete_cluster_policy(&policy.key);
                    }
                });
            }
            Self::Namespaces(delta) => {
                known.namespaces = take(delta, |namespace, is_there| match is_there {
                    true => {
                        objects.namespaces.insert(namespace.key.clone(), Arc::clone(namespace));
                        judge.upsert_namespace(Arc::clone(namespace));
                    }
                    false => {
                        objects.namespaces.remove(&namespace.key);
                        judge.delete_namespace(&namespace.key);
                    }
                });
            }
            Self::Pods(delta) => {
                known.pods = take(delta, |pod, is_there| match is_there {
                    true => {
                        objects.pods.insert(pod.key.clone(), Arc::clone(pod));
                        judge.upsert_pod(Arc::clone(pod));
                        locals.upsert_pod(pod, judge);
                    }
                    false => {
                        objects.pods.remove(&pod.key);
                        judge.delete_pod(&pod.key);
                        locals.delete_pod(pod);
                    }
                });
            }
        }
    }
}

/// Takes a delta in: what is gone first. How much is known after it.
fn take<K: Kind>(delta: Delta<K>, mut set: impl FnMut(&Arc<K>, bool)) -> Option<bool> {
    let Delta { upserted, deleted, synced } = delta;
    deleted.iter().for_each(|object| set(object, false));
    upserted.iter().for_each(|object| set(object, true));
    Some(synced)
}
