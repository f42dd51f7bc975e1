//! What we lack ourselves.

use std::io;

use rustix::io::Errno;

use super::super::is_our_want;
use crate::{Failure, failure::Code};

fn failed(error: io::Error) -> Failure {
    Failure::new(Code::ConnectFailed).source(error)
}

#[test]
fn an_upstream_is_not_to_blame_for_descriptors_that_we_have_not() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOMEM, Errno::NOBUFS] {
        assert!(is_our_want(&failed(errno.into())), "{errno}");
    }
    for errno in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
        assert!(!is_our_want(&failed(errno.into())), "{errno}");
    }
    assert!(!is_our_want(&failed(io::Error::other("no such name"))));
    assert!(!is_our_want(&Code::ConnectFailed.into()));
}
