//! The client's certificate, for programs that learn of a request from its fields.
//!
//! In: the certificates that a client has shown, and that were verified. Out: `Client-Cert` and `Client-Cert-Chain`
//! (RFC 9440), and what ASP.NET Core wants. Never: says anything of a client that has shown none.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::facts::Facts;

/// Adds the fields; none of them must be there. ASP.NET Core believes its own only beside the pairing token.
pub(super) fn write(fields: &mut HeaderMap, facts: &Facts, beside_token: bool) {
    let Some([own, others @ ..]) = facts.connection.tls.as_ref().map(|tls| &tls.client_chain[..]) else {
        return;
    };
    let own = BASE64_STANDARD.encode(own);
    put(fields, &CERTIFICATE, format!(":{own}:"));
    if !others.is_empty() {
        let list: Vec<String> = others.iter().map(item).collect();
        put(fields, &CHAIN, list.join(", "));
    }
    if beside_token {
        put(fields, &ASP_NET_CORE, own);
    }
}

/// Bytes, as structured fields have them.
fn item(bytes: &Bytes) -> String {
    format!(":{}:", BASE64_STANDARD.encode(bytes))
}

fn put(fields: &mut HeaderMap, name: &HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        fields.insert(name, value);
    }
}

static CERTIFICATE: HeaderName = HeaderName::from_static("client-cert");
static CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
static ASP_NET_CORE: HeaderName = HeaderName::from_static("ms-aspnetcore-clientcert");
