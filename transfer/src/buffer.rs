//! Buffers for packets, used again and again: fresh memory for every packet costs more than filling it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A store of buffers of one size. Clones share it.
#[derive(Debug, Clone)]
pub struct Buffers {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    capacity: usize,
    keep: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers of `capacity` bytes, of which at most `keep` are kept while nobody uses them.
    pub fn new(capacity: usize, keep: usize) -> Self {
        Self { store: Arc::new(Store { capacity, keep, free: Mutex::default() }) }
    }

    /// An empty buffer.
    pub fn take(&self) -> Buffer {
        let mut buffer = self.take_used();
        buffer.bytes.clear();
        buffer
    }

    /// An empty buffer for no more than so many bytes: a new one, if those that are kept would be too large by far.
    pub fn take_for(&self, length: usize) -> Buffer {
        if length > self.store.capacity / 2 {
            return self.take();
        }
        Buffer { bytes: Vec::with_capacity(length), home: Arc::clone(&self.store) }
    }

    /// A buffer of so many bytes, of which each is to be overwritten: zeros, or what was there at the last use.
    pub fn take_filled(&self, length: usize) -> Buffer {
        let mut buffer = self.take_used();
        buffer.bytes.resize(length, 0);
        buffer
    }

    fn take_used(&self) -> Buffer {
        let kept = self.store.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| Vec::with_capacity(self.store.capacity));
        Buffer { bytes, home: Arc::clone(&self.store) }
    }
}

/// A growing run of bytes that goes back to its store when it, and every [`Bytes`] made of it, is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Store>,
}

impl Buffer {
    /// The bytes, to be filled. Growing past the capacity works, but defeats the purpose.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as they are now, to be shared without copying.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.home.keep && bytes.capacity() == self.home.capacity {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_when_its_last_bytes_are_dropped() {
        let buffers = Buffers::new(64, 1);
        let mut buffer = buffers.take();
        buffer.bytes_mut().extend_from_slice(b"abc");
        let place = buffer.as_ref().as_ptr();
        let bytes = buffer.freeze();
        let part = bytes.slice(1..);
        drop(bytes);
        assert!(buffers.store.free.lock().expect("not poisoned").is_empty());
        assert_eq!(&part[..], b"bc");
        drop(part);
        let again = buffers.take();
        assert!(again.is_empty());
        assert_eq!(again.as_ref().as_ptr(), place);
        drop(again);
        assert!(buffers.take_for(5).bytes.capacity() < 64, "a short packet does not keep a long buffer");
        assert_eq!(buffers.take_for(64).as_ref().as_ptr(), place);
        let filled = buffers.take_filled(5);
        assert_eq!((filled.as_ref().as_ptr(), filled.len()), (place, 5));
    }
}
