//! Whose port it is, as the system sees it.
//!
//! In: a port and the process at the top of an instance's family. Out: whether the listener there belongs to the family.
//! Never: trusts a listener that cannot be attributed.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use procfs::{
    net::{TcpState, tcp, tcp6},
    process::{FDTarget, Process, all_processes},
};

/// Whose listener it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The instance's.
    Instance(Reach),
    /// Somebody else's.
    Stranger,
    /// Nobody listens.
    Nobody,
    /// The instance hides its descriptors from us, so it may be anybody's.
    Hidden,
}

/// From where a listener can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Loopback,
    Everywhere,
}

/// Who listens where a connection to `port` on 127.0.0.1 goes.
pub(super) fn owner(top: u32, port: u16) -> Owner {
    let there: Vec<_> = listeners().into_iter().filter(|listener| takes(listener.address, port)).collect();
    if there.is_empty() {
        return Owner::Nobody;
    }
    let sockets = Sockets::of(&family(top));
    if there.iter().all(|listener| sockets.inodes.contains(&listener.inode)) {
        let everywhere = there.iter().any(|listener| listener.address.ip().is_unspecified());
        Owner::Instance(if everywhere { Reach::Everywhere } else { Reach::Loopback })
    } else if sockets.complete {
        Owner::Stranger
    } else {
        Owner::Hidden
    }
}

/// Where the family listens at all: for the message when it does not listen where it should.
pub(super) fn listens_on(top: u32) -> Vec<SocketAddr> {
    let sockets = Sockets::of(&family(top));
    let ours = listeners().into_iter().filter(|listener| sockets.inodes.contains(&listener.inode));
    ours.map(|listener| listener.address).collect()
}

struct Listener {
    address: SocketAddr,
    inode: u64,
}

fn listeners() -> Vec<Listener> {
    // A system without IPv6 has no such table.
    let all = tcp().into_iter().flatten().chain(tcp6().into_iter().flatten());
    all.filter(|entry| entry.state == TcpState::Listen)
        .map(|entry| Listener { address: entry.local_address, inode: entry.inode })
        .collect()
}

/// Whether a listener on `address` may get a connection to `port` on 127.0.0.1.
fn takes(address: SocketAddr, port: u16) -> bool {
    let loopback = match address.ip() {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST || ip.is_unspecified(),
        IpAddr::V6(ip) => ip == Ipv4Addr::LOCALHOST.to_ipv6_mapped() || ip == Ipv6Addr::UNSPECIFIED,
    };
    loopback && address.port() == port
}

/// The process `top` and all that descends from it.
fn family(top: u32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    let mut found = Vec::new();
    let Ok(top) = i32::try_from(top) else { return found };
    for process in all_processes().into_iter().flatten().flatten() {
        if let Ok(stat) = process.stat() {
            children.entry(stat.ppid).or_default().push(process);
        }
    }
    found.extend(Process::new(top));
    let mut open = vec![top];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).into_iter().flatten() {
            open.push(child.pid);
            found.push(child);
        }
    }
    found
}

struct Sockets {
    inodes: HashSet<u64>,
    /// Whether every process let us look.
    complete: bool,
}

impl Sockets {
    fn of(family: &[Process]) -> Self {
        let mut sockets = Self { inodes: HashSet::new(), complete: true };
        for process in family {
            match process.fd() {
                Ok(descriptors) => {
                    let targets = descriptors.flatten().map(|descriptor| descriptor.target);
                    sockets.inodes.extend(targets.filter_map(|target| match target {
                        FDTarget::Socket(inode) => Some(inode),
                        _ => None,
                    }));
                }
                Err(procfs::ProcError::PermissionDenied(_)) => sockets.complete = false,
                // It has just ended.
                Err(_) => {}
            }
        }
        sockets
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener(address: &str) -> (TcpListener, u16) {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn our_own_listener_is_ours_and_its_reach_is_seen() {
        let me = std::process::id();
        let (_local, port) = listener("127.0.0.1:0");
        assert_eq!(owner(me, port), Owner::Instance(Reach::Loopback));
        let (_wide, port) = listener("0.0.0.0:0");
        assert_eq!(owner(me, port), Owner::Instance(Reach::Everywhere));
        assert!(listens_on(me).iter().any(|address| address.port() == port));
    }

    #[test]
    fn a_listener_of_a_process_outside_the_family_is_a_strangers() {
        let (_ours, port) = listener("127.0.0.1:0");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = owner(child.id(), port);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner, Owner::Stranger);
    }

    #[test]
    fn a_closed_port_is_nobodys() {
        let (listener, port) = listener("127.0.0.1:0");
        drop(listener);
        assert_eq!(owner(std::process::id(), port), Owner::Nobody);
    }
}
