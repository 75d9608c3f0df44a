//! The two calls of midonet-kubernetes, answered as its agent answers them.

use naming::annotation;
use nodeapi::legacy::mido_net_kube_node_server::MidoNetKubeNode;
use nodeapi::legacy::{
    AddPodAnnotationReply, AddPodAnnotationRequest, DeletePodAnnotationReply, DeletePodAnnotationRequest,
};
use objects::{Annotator, PodRef};
use tonic::{Request, Response, Status};

/// What it says to any other key than the MAC address's.
const REJECTED: &str = "Rejected";

/// Serves `nodeapi.MidoNetKubeNode`.
#[derive(Debug)]
pub struct LegacyService {
    annotator: Annotator,
}

impl LegacyService {
    /// A service that writes annotations by this annotator.
    pub fn new(annotator: Annotator) -> Self {
        Self { annotator }
    }

    /// Sets or removes one annotation; the error and its reason in the words of midonet-kubernetes.
    async fn annotate(
        &self,
        namespace: String,
        name: String,
        key: String,
        value: Option<String>,
    ) -> (String, String) {
        if key != annotation::MAC_ADDRESS {
            return (REJECTED.into(), String::new());
        }
        let pod = PodRef { namespace, name, uid: None };
        let annotations = [(key, value)].into();
        match self.annotator.annotate_pod(&pod, &annotations).await {
            Ok(()) => Default::default(),
            Err(error) => (error.to_string(), error.reason().to_owned()),
        }
    }
}

#[tonic::async_trait]
impl MidoNetKubeNode for LegacyService {
    async fn add_pod_annotation(
        &self,
        request: Request<AddPodAnnotationRequest>,
    ) -> Result<Response<AddPodAnnotationReply>, Status> {
        let AddPodAnnotationRequest { namespace, name, key, value } = request.into_inner();
        let (error, metav1_status_reason) = self.annotate(namespace, name, key, Some(value)).await;
        Ok(Response::new(AddPodAnnotationReply { error, metav1_status_reason }))
    }

    async fn delete_pod_annotation(
        &self,
        request: Request<DeletePodAnnotationRequest>,
    ) -> Result<Response<DeletePodAnnotationReply>, Status> {
        let DeletePodAnnotationRequest { namespace, name, key } = request.into_inner();
        let (error, metav1_status_reason) = self.annotate(namespace, name, key, None).await;
        Ok(Response::new(DeletePodAnnotationReply { error, metav1_status_reason }))
    }
}
