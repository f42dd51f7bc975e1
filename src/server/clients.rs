//! How many connections each client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::facts::End;

/// Counts the connections of clients by their addresses. Clones are the same count.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    most: Option<usize>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place(Option<(Clients, IpAddr)>);

impl Place {
    /// Of a client that has as many as it likes.
    pub(super) const NONE: Self = Self(None);

    /// Whether nobody counts it.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Clients {
    /// `None`: as many as a client likes, which costs nothing.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most, open: Arc::default() }
    }

    /// A place for one more connection; `None` if that client has too many.
    pub(super) fn enter(&self, client: &End) -> Option<Place> {
        let Some(most) = self.most else { return Some(Place::NONE) };
        let Some(key) = client.network() else { return Some(Place::NONE) };
        let mut open = self.lock();
        let count = open.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Place(Some((self.clone(), key))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((clients, key)) = self.0.take() else { return };
        let mut open = clients.lock();
        if let Some(count) = open.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(address: &str) -> End {
        End::Ip((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn each_client_has_its_own_places_and_gives_them_back() {
        let clients = Clients::new(Some(2));
        let first = clients.enter(&end("192.0.2.1")).unwrap();
        let _second = clients.enter(&end("::ffff:192.0.2.1")).unwrap();
        assert!(clients.enter(&end("192.0.2.1")).is_none());
        assert!(clients.enter(&end("192.0.2.2")).is_some());
        assert!(clients.enter(&End::Unix).is_some());
        drop(first);
        assert!(clients.enter(&end("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Clients::new(Some(1));
        let _place = clients.enter(&end("2001:db8::1")).unwrap();
        assert!(clients.enter(&end("2001:db8::2")).is_none());
        assert!(clients.enter(&end("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nothing_is_left_of_clients_that_have_gone() {
        let clients = Clients::new(Some(1));
        drop(clients.enter(&end("192.0.2.1")));
        assert!(clients.lock().is_empty());
    }
}
