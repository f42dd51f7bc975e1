//! Clear text and TLS: where requests go that came without, and what browsers remember of it.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::authority::{name, port, undotted};

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

    /// Whether that is what a client has asked for. Where no port is named here, any will do.
    #[must_use]
    pub fn is(&self, authority: &str) -> bool {
        let same = |here: &str, there: &str| here.eq_ignore_ascii_case(undotted(there));
        match port(&self.0) {
            Some(_) => same(&self.0, authority),
            None => same(&self.0, name(authority)),
        }
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
        assert!(
            host.is("www.shop.EXAMPLE") && host.is("www.shop.example:8080") && host.is("www.shop.example.")
        );
        assert!(!host.is("shop.example") && !host.is(""));
        let host: CanonicalHost = "a:81".parse().unwrap();
        assert!(host.is("A:81") && !host.is("a") && !host.is("a:80"));
        for text in ["", "a/b", "u@a", "a b", "*.a", "a:", ":80", "http://a"] {
            assert_eq!(text.parse::<CanonicalHost>(), Err(NotAHost), "{text}");
        }
    }
}
