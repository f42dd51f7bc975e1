//! The connections to the server that is asked, in clear text or over TLS.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::front::Forward;

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Plain(Box<legacy::Client<HttpConnector, Empty<Bytes>>>),
    #[cfg(feature = "tls")]
    Secured(Box<legacy::Client<secured::Connector, Empty<Bytes>>>),
    /// It cannot be asked at all.
    None(String),
}

impl Client {
    pub(super) fn new(forward: &Forward) -> Self {
        if forward.url.scheme_str() == Some("https") {
            return Self::secured(forward);
        }
        Self::Plain(Box::new(builder().build_http()))
    }

    #[cfg(feature = "tls")]
    fn secured(forward: &Forward) -> Self {
        match secured::connector(forward) {
            Ok(connector) => Self::Secured(Box::new(builder().build(connector))),
            Err(why) => Self::None(why),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn secured(_: &Forward) -> Self {
        Self::None("this build has no TLS".to_owned())
    }

    /// Its answer, or why there is none.
    pub(super) async fn ask(&self, question: Request<Empty<Bytes>>) -> Result<Response<Incoming>, String> {
        let asked = match self {
            Self::Plain(client) => client.request(question).await,
            #[cfg(feature = "tls")]
            Self::Secured(client) => client.request(question).await,
            Self::None(why) => return Err(why.clone()),
        };
        asked.map_err(|error| told(&error))
    }
}

fn builder() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    builder
}

/// What is wrong with the server's TLS, or else an error with all that led to it.
fn told(error: &legacy::Error) -> String {
    #[cfg(feature = "tls")]
    if let Some(why) = crate::outward::told(error) {
        return why;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(feature = "tls")]
mod secured {
    use std::sync::Arc;

    use hyper_rustls::{
        DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName,
    };
    use hyper_util::client::legacy::connect::HttpConnector;
    use rustls::pki_types::ServerName;

    use crate::front::Forward;

    pub(super) type Connector = HttpsConnector<HttpConnector>;

    /// Connects on the terms that were made for it.
    pub(super) fn connector(forward: &Forward) -> Result<Connector, String> {
        let terms = forward.terms.as_ref().ok_or("nobody has said whom to believe")?;
        let config = terms.config().map_err(|why| why.to_string())?;
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &forward.outward.server_name {
            None => Arc::new(DefaultServerNameResolver::default()),
            Some(name) => {
                let fixed = ServerName::try_from(name.clone())
                    .map_err(|_| format!("{name:?} is no name that a certificate could have"))?;
                Arc::new(FixedServerNameResolver::new(fixed))
            }
        };
        let mut tcp = HttpConnector::new();
        // It would refuse https, which is not its business here.
        tcp.enforce_http(false);
        Ok(HttpsConnector::new(tcp, Arc::clone(config), true, names))
    }
}
