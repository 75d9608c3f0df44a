//! The last endpoints of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::Outcome;
use crate::Problem;
use crate::problem::SERVICE;
use crate::service::{ServicePort, ServicePortKey};

/// The API server itself, by which everything in the cluster is reached: it is not given up because nobody says any more
/// where it is.
const API_SERVER: &str = "default/kubernetes";

/// What served the API server's Service when something last did.
#[derive(Debug, Default)]
pub(crate) struct Last(BTreeMap<ServicePortKey, ServicePort>);

impl Last {
    /// Where the API server was last stays, while nobody says where it is. Other Services are left alone.
    pub(crate) fn keep(&mut self, id: &str, outcome: &mut Outcome) {
        if *id != *API_SERVER {
            return;
        }
        self.0.retain(|key, _| outcome.rows.contains_key(key));
        for (key, row) in &mut outcome.rows {
            if !row.refuse {
                self.0.insert(key.clone(), row.clone());
                continue;
            }
            let Some(before) = self.0.get(key) else { continue };
            row.cluster = Arc::clone(&before.cluster);
            row.local = Arc::clone(&before.local);
            row.serving = Arc::clone(&before.serving);
            row.refuse = false;
            let problem = format!("{key} has no endpoint any more: its last ones stay in use");
            let remedy = "see that the API server runs, and who deleted its EndpointSlice: an API server writes it again";
            outcome.problems.push(Problem::new(SERVICE, format!("Service {API_SERVER}"), problem, remedy));
        }
    }
}
