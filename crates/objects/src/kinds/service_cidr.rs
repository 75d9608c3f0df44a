use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::defects::Defects;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};

/// Where Services' addresses are from (`networking.k8s.io/v1`, KEP-1880): there may be several, and more at run time.
/// API servers before Kubernetes 1.33 have no such objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCidr {
    /// What names it.
    pub key: Key,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// Its ranges, without host bits.
    pub cidrs: Box<[IpNet]>,
    /// What of it is left out.
    pub defects: Box<[Invalid]>,
}

/// The fields that are read.
#[derive(Debug, Deserialize)]
pub struct ApiServiceCidr {
    spec: Option<Spec>,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    cidrs: Option<Vec<String>>,
}

impl Kind for ServiceCidr {
    const RESOURCE: Resource = Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "ServiceCIDR",
        plural: "servicecidrs",
        namespaced: false,
    };

    const CACHED: bool = false;

    const OPTIONAL: bool = true;

    type Api = ApiServiceCidr;

    fn trim(metadata: Metadata, api: ApiServiceCidr) -> Result<Self, Invalid> {
        let (mut defects, mut cidrs) = (Defects::default(), Vec::<IpNet>::new());
        for text in api.spec.unwrap_or_default().cidrs.unwrap_or_default() {
            match text.parse::<IpNet>() {
                Ok(cidr) => cidrs.push(cidr.trunc()),
                Err(_) => {
                    defects
                        .add("spec.cidrs", format!("{text:?} is no CIDR like 10.96.0.0/12: it is left out"));
                }
            }
        }
        let key = Key::new(&metadata.name);
        let uid = metadata.uid.map(String::into_boxed_str);
        Ok(Self { key, uid, cidrs: cidrs.into(), defects: defects.into_boxed() })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entry::Entry;

    fn read(spec: &serde_json::Value) -> Result<ServiceCidr, Invalid> {
        let object = json!({"metadata": {"name": "a", "uid": "u"}, "spec": spec});
        Entry::<ServiceCidr>::read(|| &object).unwrap().object
    }

    #[test]
    fn a_range_that_is_none_is_left_out_and_named() {
        let cidr = read(&json!({"cidrs": ["10.96.0.1/12", "fd96::/112"]})).unwrap();
        assert_eq!((cidr.key().to_string().as_str(), cidr.uid()), ("a", Some("u")));
        assert_eq!(*cidr.cidrs, ["10.96.0.0/12".parse::<IpNet>().unwrap(), "fd96::/112".parse().unwrap()]);
        assert!(cidr.defects.is_empty());
        let cidr = read(&json!({"cidrs": ["10.96.0.0", "fd96::/112"]})).unwrap();
        assert_eq!((cidr.cidrs.len(), cidr.defects.len()), (1, 1));
        assert!(cidr.defects[0].problem.contains("\"10.96.0.0\" is no CIDR"), "{:?}", cidr.defects);
        for empty in [json!(null), json!({}), json!({"cidrs": null})] {
            assert!(read(&empty).unwrap().cidrs.is_empty());
        }
        assert!(read(&json!({"cidrs": 7})).unwrap_err().problem.contains("invalid type"));
    }
}
