//! A holder of secrets that the protocol libraries do not wipe themselves.

use std::ops::{Deref, DerefMut};

/// A value, and the function that overwrites its secrets when the value is dropped.
pub struct Wiped<T> {
    value: T,
    wipe: fn(&mut T),
}

impl<T> Wiped<T> {
    pub fn new(value: T, wipe: fn(&mut T)) -> Self {
        Self { value, wipe }
    }

    /// Wipes the value and returns it, so that a test can see what a drop leaves in memory.
    #[cfg(test)]
    pub fn wiped(&mut self) -> &T {
        (self.wipe)(&mut self.value);
        &self.value
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        (self.wipe)(&mut self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::Wiped;

    #[test]
    fn what_is_dropped_is_wiped_first() {
        use std::sync::atomic::{AtomicU8, Ordering};
        static LEFT: AtomicU8 = AtomicU8::new(7);
        drop(Wiped::new(7u8, |secret| {
            *secret = 0;
            LEFT.store(*secret, Ordering::SeqCst);
        }));
        assert_eq!(LEFT.load(Ordering::SeqCst), 0);
    }
}
