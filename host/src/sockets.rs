//! The listening sockets, as the supervisor keeps them: nobody accepts on them here.
//!
//! In: configurations. Out: a socket for each thing that they listen on, the same one for as long as any of them does.
//! Never: closes one that the configuration in force needs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use cohost::{
    config::{Config, Listen},
    listener::{Address, Bound, ListenError},
};

use crate::{
    exit::{Exit, Refused},
    hosting::{listens, scheme},
    systemd::{self, Given},
};

/// The listening sockets.
#[derive(Default)]
pub(crate) struct Sockets {
    open: HashMap<Listen, Socket>,
    /// From the service manager, until somebody needs them.
    given: Vec<Given>,
}

struct Socket {
    descriptor: Arc<OwnedFd>,
    address: Address,
}

impl Sockets {
    /// None yet, but for those that somebody else has opened for us.
    pub(crate) fn new(given: Vec<Given>) -> Self {
        Self { open: HashMap::new(), given }
    }

    /// Those of `config`, which somebody else has opened, in the order of [`listens`].
    pub(crate) fn carried(config: &Config, descriptors: Vec<OwnedFd>) -> Result<Self, Refused> {
        let listens = listens(config);
        if listens.len() != descriptors.len() {
            return Err(
                Exit::Failed.because("other sockets were left to this program than the configuration names")
            );
        }
        let sockets = listens.into_iter().cloned().zip(descriptors).map(|(listen, descriptor)| {
            let bound = Bound::inherited(descriptor)
                .map_err(|error| Exit::Failed.because(format!("cannot take over a socket: {error}")))?;
            Ok((listen, bound.into()))
        });
        Ok(Self { open: sockets.collect::<Result<_, Refused>>()?, given: Vec::new() })
    }

    /// Opens what `config` needs and is not open. If one cannot be opened, none is.
    pub(crate) fn open(&mut self, config: &Config) -> Result<(), Refused> {
        let mut opened = Vec::new();
        for listen in listens(config) {
            if !self.open.contains_key(listen) {
                let bound = match self.take(listen) {
                    Some(given) => given,
                    None => bind(listen)?,
                };
                opened.push((listen.clone(), Socket::from(bound)));
            }
        }
        for (listen, socket) in opened {
            // Also one that was given to us: a socket unit need not be there at the next start.
            systemd::keep(&socket.address, socket.descriptor.as_fd());
            self.open.insert(listen, socket);
        }
        Ok(())
    }

    /// Those of `config`, in the order of [`listens`].
    pub(crate) fn of(&self, config: &Config) -> Vec<Arc<OwnedFd>> {
        listens(config).into_iter().map(|listen| Arc::clone(&self.open[listen].descriptor)).collect()
    }

    /// Those that `config` has and `other` has not, in the order of [`listens`].
    pub(crate) fn beyond(&self, other: &Config, config: &Config) -> Vec<Arc<OwnedFd>> {
        let had = listens(other);
        let new = listens(config).into_iter().filter(|listen| !had.contains(listen));
        new.map(|listen| Arc::clone(&self.open[listen].descriptor)).collect()
    }

    /// Closes those that none of `configs` needs.
    pub(crate) fn keep<'a>(&mut self, configs: impl Iterator<Item = &'a Config>) {
        let needed: Vec<&Listen> = configs.flat_map(listens).collect();
        self.open.retain(|listen, socket| {
            let needed = needed.contains(&listen);
            if !needed {
                systemd::forget(&socket.address);
            }
            needed
        });
    }

    /// Closes those that the service manager has kept for us and that the configuration names no more: who connects
    /// there would wait for ever.
    pub(crate) fn close_kept(&mut self) {
        for given in self.given.extract_if(.., |given| given.kept) {
            systemd::forget(given.bound.address());
        }
    }

    /// Closes all: who connects from now on is refused, once no worker has them either; or waits for the next start, if
    /// the service manager keeps them meanwhile.
    pub(crate) fn close(&mut self) {
        self.open.clear();
        self.given.clear();
    }

    /// What became of something to listen on, if it has a port.
    pub(crate) fn address(&self, listen: &Listen) -> Option<SocketAddr> {
        match self.open.get(listen)?.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// Where those of `config` listen, as it is shown.
    pub(crate) fn addresses(&self, config: &Config) -> Vec<String> {
        let open = listens(config).into_iter().filter_map(|listen| Some((listen, self.open.get(listen)?)));
        open.map(|(listen, socket)| socket.address.named(scheme(config, listen))).collect()
    }

    /// A socket that was given to us for this.
    fn take(&mut self, listen: &Listen) -> Option<Bound> {
        let place = self.given.iter().position(|given| is_for(given.bound.address(), listen))?;
        Some(self.given.swap_remove(place).bound)
    }
}

impl From<Bound> for Socket {
    fn from(bound: Bound) -> Self {
        let address = bound.address().clone();
        Self { descriptor: Arc::new(bound.into()), address }
    }
}

/// Opens a socket.
pub(crate) fn bind(listen: &Listen) -> Result<Bound, Refused> {
    let bound = match listen {
        Listen::Tcp(address) => Bound::to(Address::Tcp(*address)),
        Listen::Unix(path) => Bound::to(Address::Unix(path.clone())),
        // One socket takes both families, where there is IPv6.
        Listen::Any(port) => Bound::to(Address::Tcp(([0_u16; 8], *port).into()))
            .or_else(|_| Bound::to(Address::Tcp(([0_u8; 4], *port).into()))),
    };
    bound.map_err(|error| refused(&error))
}

/// Why there is nothing to listen on.
pub(crate) fn refused(error: &ListenError) -> Refused {
    Exit::Failed.because(error.to_string())
}

/// Whether a socket at `address` is what somebody who bound `listen` would have.
fn is_for(address: &Address, listen: &Listen) -> bool {
    match (address, listen) {
        (Address::Tcp(bound), Listen::Tcp(wanted)) => bound == wanted,
        (Address::Tcp(bound), Listen::Any(port)) => bound.ip().is_unspecified() && bound.port() == *port,
        (Address::Unix(bound), Listen::Unix(wanted)) => bound == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bindings: &[&str]) -> Config {
        let text = format!(
            "site = [{{ name = 'a', bindings = {bindings:?}, application = [{{ library = 'x' }}] }}]"
        );
        cohost::config::parse(&text, std::path::Path::new("/srv/cohost.toml"), &|_| None).unwrap()
    }

    #[test]
    fn a_socket_stays_the_same_for_as_long_as_it_is_needed() {
        let (one, other) =
            (config(&["http://127.0.0.1:0"]), config(&["http://127.0.0.1:0", "http://[::1]:0"]));
        let mut sockets = Sockets::default();
        sockets.open(&one).unwrap();
        let address = sockets.address(&one.sites[0].bindings[0].listen);
        sockets.open(&other).unwrap();
        sockets.keep(std::iter::once(&other));
        assert_eq!(sockets.address(&one.sites[0].bindings[0].listen), address);
        assert_eq!(sockets.of(&other).len(), 2);
        sockets.keep(std::iter::once(&one));
        assert_eq!(sockets.open.len(), 1);
    }

    #[test]
    fn if_one_cannot_be_opened_none_is() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!("http://{}", taken.local_addr().unwrap());
        let mut sockets = Sockets::default();
        let refused = sockets.open(&config(&["http://127.0.0.1:0", &taken]));
        assert!(refused.is_ok() || sockets.open.is_empty());
    }

    #[test]
    fn a_socket_that_was_given_is_taken_for_its_address() {
        let given = Bound::to(Address::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let Address::Tcp(address) = *given.address() else { panic!("TCP was asked for") };
        let config = config(&[&format!("http://{address}")]);
        let mut sockets = Sockets::new(vec![Given { bound: given, kept: false }]);
        // It could not be opened a second time.
        sockets.open(&config).unwrap();
        assert_eq!(sockets.address(&config.sites[0].bindings[0].listen), Some(address));
        assert!(sockets.given.is_empty());
    }
}
