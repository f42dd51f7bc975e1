//! What a proxy says of a connection before anything else: the PROXY protocol, versions 1 and 2.
//!
//! In: the first bytes of a connection. Out: the two ends that the proxy's client has connected, and a stream that begins
//! behind that. Never: reads a byte too many, or goes on with a connection that does not begin so.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The client, and where it has connected.
pub type Ends = (SocketAddr, SocketAddr);

/// Bytes that are no preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin as the PROXY protocol has it")]
pub struct Malformed;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// All of it. `None`: the proxy speaks for itself, or does not say for whom.
    Whole(Option<Ends>),
    /// At least so many more are needed, all of which are part of it.
    More(usize),
}

/// Takes the preamble out of `stream`.
///
/// # Errors
/// There is none, or the stream ends within it.
pub async fn take<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Ends>> {
    let mut bytes = Vec::with_capacity(SHORTEST);
    loop {
        match preamble(&bytes).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))? {
            Preamble::Whole(ends) => return Ok(ends),
            Preamble::More(more) => {
                let known = bytes.len();
                bytes.resize(known + more, 0);
                stream.read_exact(&mut bytes[known..]).await?;
            }
        }
    }
}

/// Reads the first bytes of a connection.
///
/// # Errors
/// They are no preamble, whatever comes behind them.
pub fn preamble(bytes: &[u8]) -> Result<Preamble, Malformed> {
    if bytes.len() < SHORTEST {
        return Ok(Preamble::More(SHORTEST - bytes.len()));
    }
    match bytes {
        [b'P', b'R', b'O', b'X', b'Y', b' ', ..] => line(bytes),
        _ if bytes.starts_with(SIGNATURE) => block(bytes),
        _ => Err(Malformed),
    }
}

/// Version 1: a line.
fn line(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let more = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let fits = bytes.len() + more <= LONGEST_LINE && !bytes.contains(&b'\n');
        return if fits { Ok(Preamble::More(more)) } else { Err(Malformed) };
    };
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [_, "UNKNOWN", ..] => Ok(Preamble::Whole(None)),
        [_, "TCP4", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Malformed);
            Ok(Preamble::Whole(Some((end(ip(from)?, from_port)?, end(ip(to)?, to_port)?))))
        }
        [_, "TCP6", from, to, from_port, to_port] => {
            let ip = |text: &str| text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Malformed);
            Ok(Preamble::Whole(Some((end(ip(from)?, from_port)?, end(ip(to)?, to_port)?))))
        }
        _ => Err(Malformed),
    }
}

fn end(ip: IpAddr, port: &str) -> Result<SocketAddr, Malformed> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits).ok_or(Malformed)?;
    Ok(SocketAddr::new(ip, port))
}

/// Version 2: a block with its length.
fn block(bytes: &[u8]) -> Result<Preamble, Malformed> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else {
        return Ok(Preamble::More(HEAD - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > LONGEST_BLOCK {
        return Err(Malformed);
    }
    if rest.len() < length {
        return Ok(Preamble::More(length - rest.len()));
    }
    match (head[12], head[13]) {
        // The proxy's own, to see whether we are there.
        (0x20, _) => Ok(Preamble::Whole(None)),
        (0x21, 0x11) => match rest {
            [a, b, c, d, e, f, g, h, ports @ ..] if ports.len() >= 4 => {
                let (from, to) = (Ipv4Addr::new(*a, *b, *c, *d), Ipv4Addr::new(*e, *f, *g, *h));
                Ok(Preamble::Whole(Some(ends(from.into(), to.into(), ports))))
            }
            _ => Err(Malformed),
        },
        (0x21, 0x21) => {
            match (rest.first_chunk::<16>(), rest.get(16..).and_then(<[u8]>::first_chunk::<16>)) {
                (Some(from), Some(to)) if rest.len() >= 36 => {
                    let (from, to) = (Ipv6Addr::from(*from), Ipv6Addr::from(*to));
                    Ok(Preamble::Whole(Some(ends(from.into(), to.into(), &rest[32..]))))
                }
                _ => Err(Malformed),
            }
        }
        // Unspecified, and Unix sockets: no address that could be told.
        (0x21, 0x00 | 0x31 | 0x32) => Ok(Preamble::Whole(None)),
        _ => Err(Malformed),
    }
}

fn ends(from: IpAddr, to: IpAddr, ports: &[u8]) -> Ends {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    (SocketAddr::new(from, port(0)), SocketAddr::new(to, port(2)))
}

/// `PROXY UNKNOWN` and its end.
const SHORTEST: usize = 15;
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;
/// Addresses, and what else proxies tell: names, certificates' names, checksums.
const LONGEST_BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    async fn taken(bytes: &[u8]) -> (io::Result<Option<Ends>>, Vec<u8>) {
        let mut stream = bytes;
        (take(&mut stream).await, stream.to_vec())
    }

    fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn shown(ends: Option<Ends>) -> String {
        ends.map_or_else(String::new, |(from, to)| format!("{from} {to}"))
    }

    #[tokio::test]
    async fn both_versions_tell_the_ends_and_nothing_behind_is_touched() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
        for (sent, is) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec(), "192.0.2.1:12345 10.0.0.1:443"),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), "[2001:db8::1]:1 [::1]:2"),
            (b"PROXY UNKNOWN\r\n".to_vec(), ""),
            (b"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n".to_vec(), ""),
            (block(0x21, 0x11, &v4), "192.0.2.1:12345 10.0.0.1:443"),
            (block(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), "192.0.2.1:12345 10.0.0.1:443"),
            (block(0x21, 0x21, &v6), "[::1]:3 [::2]:4"),
            (block(0x20, 0, &[]), ""),
            (block(0x21, 0, &[1, 2, 3]), ""),
        ] {
            let (ends, rest) = taken(&[&sent[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(shown(ends.unwrap()), is, "{sent:?}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn what_is_no_preamble_is_refused() {
        for sent in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 12345\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 2\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\nGET / HTTP/1.1\r\n".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; 100][..], b"\r\n"].concat(),
            block(0x21, 0x11, &[0; 11]),
            block(0x21, 0x21, &[0; 35]),
            block(0x22, 0x11, &[0; 12]),
            block(0x11, 0x11, &[0; 12]),
            block(0x21, 0x11, &[0; 5000]),
            b"PROXY TCP4".to_vec(),
        ] {
            assert!(taken(&sent).await.0.is_err(), "{:?}", String::from_utf8_lossy(&sent));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_and_it_never_asks_for_more_than_it_needs(
            start in prop_oneof![Just(&b"PROXY TCP4 "[..]), Just(SIGNATURE), Just(&b""[..])],
            bytes in vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &bytes].concat();
            let mut known = 0;
            while let Ok(Preamble::More(more)) = preamble(&bytes[..known]) {
                prop_assert!(more > 0 && known + more <= HEAD + LONGEST_BLOCK);
                known += more;
                if known > bytes.len() {
                    break;
                }
            }
        }
    }
}
