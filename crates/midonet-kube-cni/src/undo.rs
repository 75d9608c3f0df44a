//! Steps that are undone, last first, unless all went well. A panic undoes them, too.

/// The steps to undo.
#[derive(Default)]
pub(crate) struct Undo<'a>(Vec<Box<dyn FnOnce() + 'a>>);

impl<'a> Undo<'a> {
    /// One more step; what it cannot do must not keep the others from being tried.
    pub(crate) fn push(&mut self, step: impl FnOnce() + 'a) {
        self.0.push(Box::new(step));
    }

    /// All went well.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            step();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn last_first_unless_kept() {
        let log = RefCell::new(Vec::new());
        for keep in [false, true] {
            let mut undo = Undo::default();
            undo.push(|| log.borrow_mut().push(1));
            undo.push(|| log.borrow_mut().push(2));
            if keep {
                undo.keep();
            }
        }
        assert_eq!(*log.borrow(), [2, 1]);
    }
}
