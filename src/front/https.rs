//! Clear text and TLS: where requests go that came without, and what browsers remember of it.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::{
    authority::{name, port, undotted},
    facts::Scheme,
};

/// What a site that has TLS does about requests that come without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Https {
    /// Requests in clear text are sent there.
    pub redirect: Option<ToHttps>,
    /// Browsers that came by TLS are told to come by TLS from now on.
    pub hsts: Option<Hsts>,
}

/// Where requests in clear text are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToHttps {
    /// How: 301, 302, 307 or 308.
    pub status: StatusCode,
    /// The port where TLS is spoken.
    pub port: u16,
}

/// `Strict-Transport-Security`, RFC 6797.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers remember it.
    pub max_age: Duration,
    /// Whether it is meant for all names below this one as well.
    pub include_subdomains: bool,
    /// Whether browsers may know it from the beginning, by a list that somebody has put this name on.
    pub preload: bool,
}

impl Hsts {
    /// As a field has it.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let mut value = format!("max-age={}", self.max_age.as_secs());
        if self.include_subdomains {
            value += "; includeSubDomains";
        }
        if self.preload {
            value += "; preload";
        }
        HeaderValue::try_from(value).expect("letters and digits")
    }
}

/// The one authority under which a site wants to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalHost(Box<str>);

/// Why a text is no authority that a site can be known under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name, as \"www.shop.example\" is, perhaps with a port")]
pub struct NotAHost;

impl std::str::FromStr for CanonicalHost {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let authority: http::uri::Authority = text.parse().map_err(|_| NotAHost)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if authority.host().is_empty() || !text.bytes().all(fits) || text.ends_with(':') {
            return Err(NotAHost);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl CanonicalHost {
    /// As redirects name it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether that is what a client has asked for, that came by this scheme. Where no port is named here, any will do;
    /// a client names none where it is the scheme's own.
    #[must_use]
    pub fn is(&self, authority: &str, scheme: Scheme) -> bool {
        let is_asked_for = |wanted| match port(authority) {
            Some(asked) => asked == wanted,
            None => wanted == own_port(scheme),
        };
        name(&self.0).eq_ignore_ascii_case(undotted(name(authority)))
            && port(&self.0).is_none_or(is_asked_for)
    }
}

/// The port that nobody writes.
fn own_port(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "80",
        Scheme::Https => "443",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_what_is_wanted_and_no_more() {
        let hsts = Hsts { max_age: Duration::from_secs(60), include_subdomains: false, preload: false };
        assert_eq!(hsts.value(), "max-age=60");
        let hsts = Hsts { include_subdomains: true, preload: true, ..hsts };
        assert_eq!(hsts.value(), "max-age=60; includeSubDomains; preload");
    }

    #[test]
    fn a_canonical_host_is_known_in_upper_case_and_at_any_port_unless_it_names_one() {
        let host: CanonicalHost = "WWW.Shop.example".parse().unwrap();
        let is = |host: &CanonicalHost, authority| host.is(authority, Scheme::Https);
        for authority in ["www.shop.EXAMPLE", "www.shop.example:8080", "www.shop.example."] {
            assert!(is(&host, authority), "{authority}");
        }
        assert!(!is(&host, "shop.example") && !is(&host, ""));
        let host: CanonicalHost = "a:81".parse().unwrap();
        assert!(is(&host, "A:81") && is(&host, "a.:81") && !is(&host, "a") && !is(&host, "a:80"));
        // What nobody writes, where the scheme is this.
        let host: CanonicalHost = "a:443".parse().unwrap();
        assert!(is(&host, "a") && is(&host, "a:443") && !host.is("a", Scheme::Http));
        assert!("a:80".parse::<CanonicalHost>().unwrap().is("a", Scheme::Http));
        for text in ["", "a/b", "u@a", "a b", "*.a", "a:", ":80", "http://a"] {
            assert_eq!(text.parse::<CanonicalHost>(), Err(NotAHost), "{text}");
        }
    }
}
