//! One of each for both directions.

use crate::tables::Direction;

/// One of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Both<T> {
    pub(crate) ingress: T,
    pub(crate) egress: T,
}

/// Both directions.
pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

impl<T> Both<T> {
    /// Makes one of each.
    pub(crate) fn new(mut make: impl FnMut(Direction) -> T) -> Self {
        Self { ingress: make(Direction::Ingress), egress: make(Direction::Egress) }
    }

    /// The one of a direction.
    pub(crate) fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}
