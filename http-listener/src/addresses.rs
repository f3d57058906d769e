//! How many connections each address has: one client cannot take all places of a server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place for one connection of an address, free when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// None if the address has as many connections as it may.
    pub(crate) fn place(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place { addresses: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_no_more() {
        let addresses = Addresses::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
        let first = addresses.place(one).expect("free");
        let _second = addresses.place("::ffff:192.0.2.1".parse().expect("the same")).expect("free");
        assert!(addresses.place(one).is_none() && addresses.place(other).is_some());
        drop(first);
        assert!(addresses.place(one).is_some());
        assert_eq!(addresses.open().len(), 1, "who has none is forgotten");
    }
}
