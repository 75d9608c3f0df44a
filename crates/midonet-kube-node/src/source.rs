//! The configured source of objects.

use objects::{ApiOptions, Cache, Source};

use crate::config::Config;

/// Where objects come from.
pub(crate) fn source(args: &Config) -> Source {
    match &args.manifests {
        Some(directory) => Source::Directory(directory.clone()),
        None => Source::Api(ApiOptions {
            kubeconfig: args.kubeconfig.clone(),
            server: args.api_server.clone(),
            cache: Some(Cache {
                directory: args.paths.cache_dir.clone(),
                node: args.node_name.clone(),
                max_age: args.cache_max_age,
            }),
        }),
    }
}
