//! Tells the API server about Pods' ports, off the path that a Pod waits for: a queue that forgets
//! nothing until the server took it, the Pod is gone, or a retry cannot help.

pub mod node;
mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use naming::{PodKey, annotation};
use objects::{AnnotateError, Annotator, PodRef};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

pub use queue::{Full, Queue, Work};

/// What is said about one Pod: annotation and value.
pub type Annotations = BTreeMap<String, Option<String>>;

/// So many writes are under way at once.
const PARALLEL: usize = 8;

/// So long a write waits: what a Pod that starts needs comes first, on the same CPUs.
const GRACE: Duration = Duration::from_millis(100);

/// The queue's two ends. Clones share one queue.
#[derive(Debug, Clone)]
pub struct WorkQueue {
    queue: Arc<Mutex<Queue>>,
    changed: Arc<Notify>,
}

impl WorkQueue {
    /// A queue for that many Pods.
    pub fn new(capacity: usize) -> Self {
        Self { queue: Arc::new(Mutex::new(Queue::new(capacity))), changed: Arc::default() }
    }

    /// Sees to it that the Pod gets these annotations soon, or, if they are urgent, at once; replaces what was still waiting
    /// for it. To be called in a runtime.
    ///
    /// # Errors
    /// [`Full`] when more Pods wait than the node may have.
    pub fn post(&self, pod: PodRef, annotations: Annotations, urgent: bool) -> Result<(), Full> {
        let due = Instant::now() + if urgent { Duration::ZERO } else { GRACE };
        self.lock().push(pod, annotations, due)?;
        // Nobody is woken before: that alone would be in the way.
        let changed = Arc::clone(&self.changed);
        tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            changed.notify_one();
        });
        Ok(())
    }

    /// Forgets what waits for a Pod that is gone.
    pub fn cancel(&self, pod: &PodKey) {
        self.lock().remove(pod);
    }

    /// How many Pods wait.
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works the queue off, for ever.
    pub async fn deliver(self, annotator: Annotator) {
        let mut writes = FuturesUnordered::new();
        let mut complaint = None;
        loop {
            while writes.len() < PARALLEL {
                let Some(work) = self.lock().take(Instant::now()) else { break };
                writes.push(write(&annotator, work));
            }
            let next = if writes.len() < PARALLEL { self.lock().next_due() } else { None };
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((work, result)) = writes.next() => self.settle(&work, result, &mut complaint),
                () = due => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// `complaint` is the cause that was last said: it is not said again for every Pod and every try.
    fn settle(&self, work: &Work, result: Result<(), AnnotateError>, complaint: &mut Option<String>) {
        let pod = &work.key;
        match result {
            Ok(()) => {
                debug!(%pod, "annotated");
                self.lock().done(work);
                if complaint.take().is_some() {
                    info!("Pods are annotated again");
                }
            }
            Err(error) if error.is_retriable() => {
                self.lock().failed(work, Instant::now(), error.retry_after());
                if complaint.as_deref() == Some(error.cause()) {
                    debug!(%pod, %error, "cannot annotate yet");
                } else {
                    warn!(%pod, error = error.cause(), "cannot annotate this Pod and perhaps others yet; trying again");
                    *complaint = Some(error.cause().to_owned());
                }
            }
            Err(error) => {
                info!(%pod, %error, "not annotated: the Pod is gone or another one by now");
                self.lock().done(work);
            }
        }
    }
}

async fn write(annotator: &Annotator, work: Work) -> (Work, Result<(), AnnotateError>) {
    let result = annotator.annotate_pod(&work.pod, &work.annotations).await;
    (work, result)
}

/// What a Pod's port is known by.
pub fn port_annotations(pod: &PodKey, mac: naming::Mac, addresses: &[std::net::IpAddr]) -> Annotations {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    [
        (annotation::MAC_ADDRESS, mac.to_string()),
        (annotation::IP_ADDRESSES, addresses.join(",")),
        (annotation::PORT_ID, naming::pod_port_id(pod).to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), Some(value)))
    .into()
}
