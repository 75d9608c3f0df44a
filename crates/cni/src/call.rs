use crate::json::Document;

/// One call of a plugin: what the runtime passed on, unchanged.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container_id: &'a str,
    /// `CNI_NETNS`, if it was given.
    pub netns: Option<&'a str>,
    /// `CNI_IFNAME`.
    pub ifname: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
    /// `CNI_PATH`, where other plugins are searched.
    pub path: &'a str,
    /// The network configuration.
    pub config: &'a Document,
}

/// What identifies an attachment in one network: a container and an interface in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The CNI container id.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

impl Call<'_> {
    /// The attachment that the call is about.
    pub fn attachment(&self) -> Attachment {
        Attachment { container_id: self.container_id.to_owned(), ifname: self.ifname.to_owned() }
    }
}
