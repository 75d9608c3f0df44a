//! What is watched, and how it comes into the model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use model::{Model, Ranges, ServiceOptions};
use objects::{EndpointSlice, Node, Selector, Service, ServiceCidr, Watch};
use tokio::sync::watch;

use crate::config::{Config, Switch};
use crate::policies::Policies;
use crate::proxy::Proxy;
use crate::stream::{Stream, Taken};

/// Slices that no proxy needs are not even sent.
const PROXIED: &str = "!service.kubernetes.io/headless";

/// The model, and the changes of the objects that it is made of.
pub(crate) struct Feed {
    model: Arc<Mutex<Model>>,
    nodes: Stream<Node>,
    services: Stream<Service>,
    slices: Stream<EndpointSlice>,
    cidrs: Stream<ServiceCidr>,
    own_name: String,
    own_node: watch::Sender<Option<Arc<Node>>>,
}

impl Feed {
    /// Names what is to be watched.
    pub(crate) fn new(args: &Config, watch: &mut Watch) -> Self {
        let ranges = Ranges { cluster: args.cluster_cidr.clone(), service: args.service_cidr.clone() };
        let mut model = Model::new(&args.node_name, ranges);
        let services = args.serves_services();
        if services {
            model = model.with_services(ServiceOptions { external_ips: args.external_ips == Switch::On });
        }
        let proxied = Selector { labels: Some(PROXIED.into()), ..Selector::default() };
        Self {
            model: Arc::new(Mutex::new(model)),
            nodes: Stream::of(watch, true, Selector::default()),
            services: Stream::of(watch, services, Selector::default()),
            slices: Stream::of(watch, services, proxied),
            cidrs: Stream::of(watch, services, Selector::default()),
            own_name: args.node_name.clone(),
            own_node: watch::Sender::new(None),
        }
    }

    /// This node's own object, whenever it is another one; `None` before it is known.
    pub(crate) fn own_node(&self) -> watch::Receiver<Option<Arc<Node>>> {
        self.own_node.subscribe()
    }

    /// The model.
    pub(crate) fn model(&self) -> &Arc<Mutex<Model>> {
        &self.model
    }

    /// Whether there is anything to go on with, and whether what the model does not have is gone. Of Services the model
    /// itself says that.
    pub(crate) fn is_whole(&self) -> Option<bool> {
        Some(self.nodes.synced? && self.cidrs.synced == Some(true))
    }

    /// Waits for changes and takes them into the model. The health ports are told that there are some, and policies get the
    /// Nodes, too. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The source ended.
    pub(crate) async fn next(&mut self, proxy: Option<&Proxy>, policies: Option<&Policies>) -> Result<Taken> {
        const ENDED: &str = "the source of objects ended";
        let Self { model, nodes, services, slices, cidrs, own_name, own_node } = self;
        let taken = tokio::select! {
            delta = nodes.next() => {
                let delta = delta.context(ENDED)?;
                if let Some(proxy) = proxy {
                    proxy.follow_node(own_name, &delta);
                }
                if let Some(policies) = policies {
                    policies.follow_nodes(&delta);
                }
                if let Some(node) = delta.upserted.iter().find(|node| node.name == *own_name) {
                    own_node.send_replace(Some(Arc::clone(node)));
                }
                let mut model = lock(model);
                nodes.take(delta, |node, is_there| match is_there {
                    true => model.upsert(node),
                    false => model.delete(&node.name),
                })
            }
            delta = services.next() => {
                let mut model = lock(model);
                services.take(delta.context(ENDED)?, |service, is_there| match is_there {
                    true => model.upsert_service(service),
                    false => model.delete_service(&service.id),
                })
            }
            delta = slices.next() => {
                let mut model = lock(model);
                slices.take(delta.context(ENDED)?, |slice, is_there| match is_there {
                    true => model.upsert_slice(slice),
                    false => model.delete_slice(&slice.key),
                })
            }
            delta = cidrs.next() => {
                let mut model = lock(model);
                cidrs.take(delta.context(ENDED)?, |cidr, is_there| match is_there {
                    true => model.upsert_service_cidr(cidr),
                    false => model.delete_service_cidr(&cidr.key),
                })
            }
        };
        if let Some(proxy) = proxy {
            proxy.queued();
        }
        lock(model).services_complete(services.synced == Some(true) && slices.synced == Some(true));
        Ok(taken)
    }
}

/// The model, for as long as it is held.
pub(crate) fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}
