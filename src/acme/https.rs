//! HTTPS to the authority.
//!
//! In: requests of the protocol. Out: answers, small ones and in time. Never: believes in a certificate that neither the
//! system nor the configuration believes in; or forgets until when the authority wants to be left alone.

use std::{
    error::Error as _,
    io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A client of the authority's. Clones are the same one.
#[derive(Clone)]
pub(super) struct Https {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_after: Arc<Mutex<Option<SystemTime>>>,
}

impl Https {
    /// One that believes those in the file `ca`, or else whom the system believes. Blocks.
    pub(super) fn new(ca: Option<&Path>) -> io::Result<Self> {
        let connector = match ca {
            Some(file) => HttpsConnectorBuilder::new().with_tls_config(believing(roots(file)?)?),
            None => HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider()).map_err(
                |error| io::Error::other(format!("{error}; install the certificates that the system is to believe, or name some with [acme] ca")),
            )?,
        };
        // Few requests, one after the other: nothing to gain from HTTP/2.
        let connector = connector.https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, retry_after: Arc::default() })
    }

    /// Until when the authority wanted to be left alone when it last refused something. Told once.
    pub(super) fn retry_after(&self) -> Option<SystemTime> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static(US));
        let retry_after = Arc::clone(&self.retry_after);
        let asking = self.client.request(request);
        Box::pin(async move {
            let answering = async {
                let (parts, body) = asking.await.map_err(|error| told(&error))?.into_parts();
                let body = Limited::new(body, LARGEST).collect().await.map_err(Error::Other)?.to_bytes();
                Ok::<_, Error>((parts, body))
            };
            let late = |_| Error::Other("the authority does not answer in time".into());
            let (parts, body) = tokio::time::timeout(PATIENCE, answering).await.map_err(late)??;
            if !parts.status.is_success() {
                *retry_after.lock().unwrap_or_else(PoisonError::into_inner) =
                    wanted(&parts.headers, SystemTime::now());
                // Something in front of the authority, perhaps, that does not speak its protocol.
                if serde_json::from_slice::<serde_json::Value>(&body).is_err() {
                    return Err(Error::Other(format!("the authority answers {}", parts.status).into()));
                }
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// An error with its causes: by itself it says that a client has one.
fn told(error: &hyper_util::client::legacy::Error) -> Error {
    let mut text = "the authority cannot be reached".to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Error::Other(text.into())
}

/// What `Retry-After` says: seconds, or a date.
fn wanted(fields: &HeaderMap, now: SystemTime) -> Option<SystemTime> {
    let text = fields.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => now.checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

fn roots(file: &Path) -> io::Result<RootCertStore> {
    let refused = |why: String| io::Error::other(format!("[acme] ca = {}: {why}", file.display()));
    let text = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(refused("has no certificate in PEM".to_owned())),
        false => Ok(roots),
    }
}

fn believing(roots: RootCertStore) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What we call ourselves there.
const US: &str = concat!("cohost/", env!("CARGO_PKG_VERSION"));
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// A chain of certificates is a hundredth of that.
const LARGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_names_a_time_in_either_way() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let of = |text: &'static str| {
            wanted(
                &HeaderMap::from_iter([(header::RETRY_AFTER, header::HeaderValue::from_static(text))]),
                now,
            )
        };
        assert_eq!(of("120"), Some(now + Duration::from_secs(120)));
        assert_eq!(of("Sun, 09 Sep 2001 02:46:40 GMT"), Some(now + Duration::from_secs(3600)));
        for text in ["", "soon", "-1", "99999999999999999999"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(roots(&file).unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&file, "nothing").unwrap();
        assert!(roots(&file).unwrap_err().to_string().contains("no certificate"));
    }
}
