use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use crate::api::Reflector;
use crate::cache::Bound;
use crate::directory::{self, Reader};
use crate::kind::Kind;
use crate::store::{Changes, Store};
use crate::target::Target;
use crate::{Health, Selector};

/// A source whose objects are about to be watched.
pub struct Watch {
    target: Target,
    health: Health,
    tasks: Vec<BoxFuture<'static, ()>>,
    readers: Vec<Box<dyn Reader>>,
}

/// A source whose objects are watched, until this is dropped.
#[derive(Debug)]
#[must_use = "objects are watched until this is dropped"]
pub struct Watching {
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({:?})", self.target)
    }
}

impl Watch {
    pub(crate) fn new(target: Target, health: Health) -> Self {
        Self { target, health, tasks: Vec::new(), readers: Vec::new() }
    }

    /// Has objects of a kind watched. Once they were read, the changes give all of them, and then what differs. A source
    /// that fails is tried again, ever more patiently; see [`Health`]. Until an API server answers for the first time,
    /// they give what the [`Cache`](crate::Cache) has.
    pub fn of<K: Kind>(&mut self, selector: Selector) -> Changes<K> {
        let (store, changes) = Store::<K>::new(self.health.clone());
        match &self.target {
            Target::Api(server, cache) => {
                let cache = cache.clone().filter(|_| K::CACHED).map(|cache| {
                    let bound = Bound::<K>::new(cache, server.place.url.clone(), server.authorities.clone());
                    let (tell, told) = channel::channel(None);
                    let server = server.clone();
                    let identify = move || {
                        let server = server.clone();
                        async move { server.cluster().await }.boxed()
                    };
                    self.tasks.push(bound.clone().keep(store.view(), identify, told).boxed());
                    (bound, tell)
                });
                let reflector = Reflector::new(server.clone(), selector, self.health.clone(), store, cache);
                self.tasks.push(reflector.follow().boxed());
            }
            Target::Directory(_) => self.readers.push(Box::new(directory::Typed::new(store))),
        }
        changes
    }

    /// Watches from now on. To be called in a runtime.
    pub fn start(self) -> Watching {
        let mut tasks = JoinSet::new();
        for task in self.tasks {
            tasks.spawn(task);
        }
        if let Target::Directory(path) = self.target {
            tasks.spawn(directory::follow(path, self.health, self.readers));
        }
        Watching { _tasks: tasks }
    }
}
