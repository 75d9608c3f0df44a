//! What is watched, and how it comes to the reconciler.

use objects::{Changes, Selector, Watch};
use translation::{EndpointSlice, Node, Pod, Service};

use crate::kinds::{PROXIED, Stored, Watched};
use crate::reconciler::{Enabled, Reconciler};

/// Changes of all kinds that are watched.
#[derive(Debug)]
pub struct Feed {
    nodes: Changes<Watched<Node>>,
    pods: Option<Changes<Watched<Pod>>>,
    services: Option<Changes<Watched<Service>>>,
    slices: Option<Changes<Watched<EndpointSlice>>>,
    translations: Option<Changes<Stored>>,
}

/// Changes of one kind, to be taken in.
pub type News = Box<dyn FnOnce(&mut Reconciler) + Send>;

impl Feed {
    /// Names what is to be watched. `translations`: whether there are any.
    pub fn new(watch: &mut Watch, enabled: Enabled, translations: bool) -> Self {
        let proxied = Selector { labels: Some(PROXIED.into()), ..Selector::default() };
        Self {
            // Pods need their Nodes.
            nodes: watch.of(Selector::default()),
            pods: enabled.pod.then(|| watch.of(Selector::default())),
            services: enabled.service.then(|| watch.of(Selector::default())),
            slices: enabled.service.then(|| watch.of(proxied)),
            translations: translations.then(|| watch.of(Selector::default())),
        }
    }

    /// Waits for changes; `None`: the source ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        let Self { nodes, pods, services, slices, translations } = self;
        let news: News = tokio::select! {
            delta = nodes.next() => { let delta = delta?; Box::new(move |reconciler| reconciler.nodes(&delta)) }
            delta = next(pods) => { let delta = delta?; Box::new(move |reconciler| reconciler.pods(&delta)) }
            delta = next(services) => { let delta = delta?; Box::new(move |reconciler| reconciler.services(&delta)) }
            delta = next(slices) => { let delta = delta?; Box::new(move |reconciler| reconciler.slices(&delta)) }
            delta = next(translations) => { let delta = delta?; Box::new(move |reconciler| reconciler.translations(&delta)) }
        };
        Some(news)
    }
}

/// Of what is not watched nothing ever changes.
async fn next<K: objects::Kind>(changes: &mut Option<Changes<K>>) -> Option<objects::Delta<K>> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}
