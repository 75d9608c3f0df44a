use crate::Translation;

/// The Translations that an owner is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// These and no others, in the order to write and to push them. What the owner has besides is to be deleted, but only
    /// after these are pushed. Empty: the owner is gone, or MidoNet is given nothing of it.
    Set(Vec<Translation>),
    /// It cannot be known: what there is stays. A [`Problem`](crate::Problem) says why.
    Keep,
}
