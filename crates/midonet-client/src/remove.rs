//! Making MidoNet have resources no more.

use midonet::{Kind, Resource};

use crate::error::Error;
use crate::operation::{Operation, incomplete};
use crate::{PushError, Report};

/// Deletes one after the other. An error of one of them does not keep the others, unless it is a general one.
pub(crate) async fn all(operation: &mut Operation<'_>, resources: &[Resource]) -> Result<Report, PushError> {
    let mut report = Report::default();
    let mut first = None;
    for (index, resource) in resources.iter().enumerate() {
        match one(operation, resource).await {
            Ok(true) => report.removed += 1,
            Ok(false) => report.absent += 1,
            Err(error) => {
                let general = error.class.is_general();
                first.get_or_insert((index, resource.kind(), error));
                if general {
                    break;
                }
            }
        }
    }
    report.requests = operation.requests;
    match first {
        None => Ok(report),
        Some((index, kind, error)) => Err(PushError { index, kind, error, report }),
    }
}

/// Deletes one; whether it may have been there.
async fn one(operation: &mut Operation<'_>, resource: &Resource) -> Result<bool, Error> {
    let path = resource.item_path().ok_or_else(|| incomplete(resource, "DELETE"))?;
    let kind = resource.kind();
    match operation.delete(&path, kind).await {
        // MidoNet's tables of addresses fail where the bridge is gone, and they with it.
        Err(error) if error.status == Some(500) && matches!(kind, Kind::MacPort | Kind::Ipv4MacPair) => {
            let bridge = format!("/bridges/{}", resource.parent.unwrap_or_default());
            match operation.read(&bridge, Kind::Bridge).await? {
                None => Ok(false),
                Some(_) => Err(error),
            }
        }
        other => other,
    }
}
