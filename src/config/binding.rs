//! Where a site is reached: `http://127.0.0.1:8080`, `https://shop.example`, `http://*:80`, `unix:/run/shop.sock`.
//!
//! What stands between the scheme and the port says two things at once. An address is *where to listen*, and any
//! authority will do there. A name is *which authority to answer*, and listening is on all addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use super::fault::Refusal;
use crate::facts::Scheme;

/// Where a site is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Clear text or TLS.
    pub scheme: Scheme,
    /// What to listen on.
    pub listen: Listen,
    /// Which requests that come in there are for the site.
    pub authority: Authority,
    /// As it was written, variables put in.
    pub text: Arc<str>,
}

/// What to listen on. Several bindings may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A port of one address. Port 0 is a free one that the system picks.
    Tcp(SocketAddr),
    /// A port of all addresses, of IPv4 and IPv6.
    Any(u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Which requests are for a site, by the host name that the client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// All of them.
    Any,
    /// Those for this name; lower case, without port.
    Exact(Arc<str>),
    /// Those for names that end in a dot and this one; lower case. Not those for the name itself.
    Wildcard(Arc<str>),
}

impl Authority {
    /// Whether a request for `name` is meant; `name` comes without port, in upper or lower case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::Wildcard(parent) => {
                name.len().checked_sub(parent.len()).and_then(|at| name.split_at_checked(at)).is_some_and(
                    |(front, end)| {
                        front.len() > 1 && front.ends_with('.') && end.eq_ignore_ascii_case(parent)
                    },
                )
            }
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Binding {
    type Err = BindingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(BindingError)
    }
}

impl Binding {
    /// The same binding, a relative socket path being seen from `folder`.
    pub(super) fn seen_from(mut self, folder: &Path) -> Self {
        if let Listen::Unix(path) = &mut self.listen {
            *path = folder.join(&*path);
        }
        self
    }
}

/// A text that is no binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingError(Refusal);

impl fmt::Display for BindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindingError {}

/// Reads a binding. A relative socket path is left so.
pub(super) fn parse(text: &str) -> Result<Binding, Refusal> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(text, path);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Refusal::new(format!("must begin with http://, https:// or unix: (is {text:?})"))
            .suggest(format!("\"http://{}\"", text.trim_start_matches('/'))));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => http(Scheme::Http, text, rest),
        "https" if cfg!(feature = "tls") => http(Scheme::Https, text, rest),
        "https" => Err(Refusal::new(format!("this build has no TLS; bind http:// (is {text:?})"))),
        _ => Err(Refusal::new(format!("must begin with http://, https:// or unix: (is {text:?})"))
            .suggest(format!("\"http://{rest}\""))),
    }
}

fn unix(text: &str, path: &str) -> Result<Binding, Refusal> {
    // unix:///run/x.sock is how others write it; two slashes would make the first folder a host name.
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(path) => {
            return Err(Refusal::new(format!("a socket's path follows unix: directly (is {text:?})"))
                .suggest(format!("\"unix:/{path}\"")));
        }
        None => path,
    };
    if path.is_empty() {
        return Err(Refusal::new("the path of the socket is missing (is \"unix:\")"));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(Refusal::new(format!(
            "the path of a socket has at most {LONGEST_SOCKET_PATH} bytes (has {})",
            path.len()
        )));
    }
    Ok(Binding {
        scheme: Scheme::Http,
        listen: Listen::Unix(path.into()),
        authority: Authority::Any,
        text: text.into(),
    })
}

fn http(scheme: Scheme, text: &str, rest: &str) -> Result<Binding, Refusal> {
    if let Some(at) = rest.find(['/', '?', '#']) {
        return Err(Refusal::new(format!("a binding has no path; applications have (is {text:?})"))
            .suggest(format!("\"{}://{}\"", scheme.as_str(), &rest[..at])));
    }
    if rest.contains('@') {
        return Err(Refusal::new(format!("a binding has no user (is {text:?})")));
    }
    let refusal = |problem: &str| Refusal::new(format!("{problem} (is {text:?})"));
    let (name, port) = split_port(rest).map_err(refusal)?;
    let port = match port {
        // `parse` would take a plus sign too.
        Some(port) if port.starts_with('+') => None,
        Some(port) => port.parse().ok(),
        None => Some(scheme.port()),
    };
    let port = port.ok_or_else(|| refusal("the port must be a number up to 65535"))?;
    let (listen, authority) = place(name, port).map_err(refusal)?;
    Ok(Binding { scheme, listen, authority, text: text.into() })
}

/// What stands before the port, and the port. The colons of an IPv6 address are inside brackets.
fn split_port(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    let end_of_address = if rest.starts_with('[') {
        rest.find(']').ok_or("the bracket around the IPv6 address is not closed")? + 1
    } else if rest.matches(':').count() > 1 {
        return Err("an IPv6 address stands in brackets: http://[::1]:80");
    } else {
        0
    };
    Ok(match rest[end_of_address..].find(':') {
        Some(at) => (&rest[..end_of_address + at], Some(&rest[end_of_address + at + 1..])),
        None => (rest, None),
    })
}

/// Where to listen and whom to answer.
fn place(name: &str, port: u16) -> Result<(Listen, Authority), &'static str> {
    if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        let address = address.ok_or("what stands in brackets is no IPv6 address")?;
        return Ok((Listen::Tcp((address, port).into()), Authority::Any));
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok((Listen::Tcp((address, port).into()), Authority::Any));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match name.as_str() {
        "*" => return Ok((Listen::Any(port), Authority::Any)),
        "localhost" => return Ok((Listen::Tcp((Ipv4Addr::LOCALHOST, port).into()), Authority::Any)),
        _ => {}
    }
    let authority = match name.strip_prefix("*.") {
        Some(parent) => Authority::Wildcard(host_name(parent)?.into()),
        None => Authority::Exact(host_name(&name)?.into()),
    };
    Ok((Listen::Any(port), authority))
}

/// `name`, if it is one that a client can ask for.
pub(super) fn host_name(name: &str) -> Result<&str, &'static str> {
    if name.is_empty() {
        return Err("an address, a host name or * is missing before the port");
    }
    if name.contains('*') {
        return Err("* stands alone, or as the first label: *.example.com");
    }
    if !name.is_ascii() {
        return Err("a host name is ASCII; write an international one in its xn-- form");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err("not a host name");
    }
    // A last label of digits makes it an IPv4 address for every client, and this one did not parse as such.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("not an IP address");
    }
    Ok(name)
}

/// What `sun_path` holds on Linux, less the final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Listen, Authority) {
        let binding = parse(text).unwrap();
        assert_eq!(&*binding.text, text);
        (binding.listen, binding.authority)
    }

    fn tcp(address: &str) -> Listen {
        Listen::Tcp(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_where_to_listen() {
        assert_eq!(read("http://127.0.0.1:8080"), (tcp("127.0.0.1:8080"), Authority::Any));
        assert_eq!(read("http://[::1]:8080"), (tcp("[::1]:8080"), Authority::Any));
        assert_eq!(read("http://localhost:0"), (tcp("127.0.0.1:0"), Authority::Any));
        assert_eq!(read("http://[::]"), (tcp("[::]:80"), Authority::Any));
        assert_eq!(read("http://*:80"), (Listen::Any(80), Authority::Any));
    }

    #[test]
    fn a_name_is_whom_to_answer() {
        assert_eq!(
            read("HTTP://Shop.Example.:81"),
            (Listen::Any(81), Authority::Exact("shop.example".into()))
        );
        assert_eq!(
            read("http://*.example.com"),
            (Listen::Any(80), Authority::Wildcard("example.com".into()))
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_has_a_port_of_its_own() {
        let binding = parse("https://shop.example").unwrap();
        assert_eq!((binding.scheme, binding.listen), (Scheme::Https, Listen::Any(443)));
        assert_eq!(read("HTTPS://127.0.0.1:8443").0, tcp("127.0.0.1:8443"));
    }

    #[test]
    fn a_socket_is_a_path() {
        assert_eq!(read("unix:/run/x.sock"), (Listen::Unix("/run/x.sock".into()), Authority::Any));
        assert_eq!(read("unix:///run/x.sock").0, Listen::Unix("/run/x.sock".into()));
        assert_eq!(
            parse("unix:x.sock").unwrap().seen_from(Path::new("/etc")).listen,
            Listen::Unix("/etc/x.sock".into())
        );
    }

    #[test]
    fn a_wildcard_matches_below_its_name_only() {
        let wildcard = Authority::Wildcard("example.com".into());
        assert!(wildcard.matches("a.example.com"));
        assert!(wildcard.matches("A.B.Example.Com"));
        for other in ["example.com", ".example.com", "badexample.com", "", "a.example.org", "äexample.com"] {
            assert!(!wildcard.matches(other), "{other}");
        }
        assert!(Authority::Exact("shop.example".into()).matches("SHOP.example"));
    }

    #[test]
    fn what_cannot_be_bound_is_refused_with_a_way_out() {
        for (text, refusal) in [
            (
                "127.0.0.1:80",
                "must begin with http://, https:// or unix: (is \"127.0.0.1:80\"); did you mean \"http://127.0.0.1:80\"?",
            ),
            (
                "htp://x",
                "must begin with http://, https:// or unix: (is \"htp://x\"); did you mean \"http://x\"?",
            ),
            (
                "http://x:1/shop",
                "a binding has no path; applications have (is \"http://x:1/shop\"); did you mean \"http://x:1\"?",
            ),
            (
                "https://x/shop",
                "a binding has no path; applications have (is \"https://x/shop\"); did you mean \"https://x\"?",
            ),
            ("http://u@x", "a binding has no user (is \"http://u@x\")"),
            ("http://x:70000", "the port must be a number up to 65535 (is \"http://x:70000\")"),
            ("http://x:+80", "the port must be a number up to 65535 (is \"http://x:+80\")"),
            ("http://x:", "the port must be a number up to 65535 (is \"http://x:\")"),
            ("http://::1:80", "an IPv6 address stands in brackets: http://[::1]:80 (is \"http://::1:80\")"),
            ("http://:80", "an address, a host name or * is missing before the port (is \"http://:80\")"),
            ("http://a.*.b", "* stands alone, or as the first label: *.example.com (is \"http://a.*.b\")"),
            ("http://[::1:80", "the bracket around the IPv6 address is not closed (is \"http://[::1:80\")"),
            ("http://[shop]:80", "what stands in brackets is no IPv6 address (is \"http://[shop]:80\")"),
            ("http://300.1.1.1", "not an IP address (is \"http://300.1.1.1\")"),
            ("http://-a", "not a host name (is \"http://-a\")"),
            (
                "http://über",
                "a host name is ASCII; write an international one in its xn-- form (is \"http://über\")",
            ),
            (
                "unix://run/x",
                "a socket's path follows unix: directly (is \"unix://run/x\"); did you mean \"unix:/run/x\"?",
            ),
            ("unix:", "the path of the socket is missing (is \"unix:\")"),
        ] {
            assert_eq!(text.parse::<Binding>().unwrap_err().to_string(), refusal);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert_eq!(
            long.parse::<Binding>().unwrap_err().to_string(),
            "the path of a socket has at most 107 bytes (has 108)"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_binding_or_is_refused(text in any_text()) {
            match parse(&text) {
                Ok(binding) => {
                    prop_assert_eq!(&*binding.text, &text);
                    if let Authority::Exact(name) | Authority::Wildcard(name) = &binding.authority {
                        prop_assert_eq!(host_name(name), Ok(&**name));
                        prop_assert_eq!(&**name, name.to_ascii_lowercase());
                        prop_assert_eq!(&binding.listen, &Listen::Any(port_of(&text)));
                    }
                }
                Err(refusal) => prop_assert!(!refusal.message.is_empty()),
            }
        }

        #[test]
        fn a_name_is_answered_on_its_port_however_it_is_written(name in "[a-zA-Z][a-zA-Z0-9]{0,8}(\\.[a-z]{1,5}){1,3}", port: u16) {
            let (listen, authority) = read(&format!("http://{name}:{port}"));
            prop_assert_eq!(listen, Listen::Any(port));
            prop_assert!(authority.matches(&name) && authority.matches(&name.to_uppercase()));
            prop_assert!(!authority.matches(&["x", &name].concat()));
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let close = "(http|https|HTTP|unix|htp)?(:|://|:///)?[*a-z0-9.:\\[\\]@/+-]{0,20}(:[0-9]{0,6})?";
        prop_oneof![any::<String>(), close]
    }

    /// The port that a text ends with, or that of its scheme.
    fn port_of(text: &str) -> u16 {
        let is_secure = text.to_ascii_lowercase().starts_with("https");
        let digits = text.rsplit_once(':').map_or("", |(_, digits)| digits);
        digits.parse().unwrap_or(if is_secure { 443 } else { 80 })
    }
}
