//! Requests that turn their connection into something else: HTTP/1.1 upgrades, and extended CONNECT (RFC 8441).
//!
//! In: a request, later the instance's answer. Out: the fields that ask for the switch, and, when both sides have
//! switched, bytes in both directions. Never: offers an instance `h2c`, which would hide requests from the host.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{body::Incoming, ext::Protocol, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use super::pool::{Carrier, Lease, Rest};
use crate::{
    Body, Failure,
    failure::Code,
    fields::{self, ask_upgrade, upgrade_wanted},
};

/// What a request wants its connection to become.
#[derive(Debug)]
pub(super) enum Switch {
    /// Nothing else.
    No,
    /// `Upgrade: …` of HTTP/1.1, answered with 101.
    Upgrade { client: OnUpgrade, to: HeaderValue },
    /// CONNECT with `:protocol` of HTTP/2, answered with 200.
    Connect { client: OnUpgrade, to: Protocol },
}

impl Switch {
    /// Reads it off a request whose fields are still the client's.
    pub(super) fn of(request: &mut Request<Body>) -> Result<Self, Failure> {
        if request.method() == Method::CONNECT {
            return Self::connect(request);
        }
        let to = upgrade_wanted(request.headers(), request.version(), request.body());
        let Some(to) = to else { return Ok(Self::No) };
        Ok(match request.extensions_mut().remove::<OnUpgrade>() {
            Some(client) => Self::Upgrade { client, to },
            None => Self::No, // whoever serves the connection cannot switch it
        })
    }

    fn connect(request: &mut Request<Body>) -> Result<Self, Failure> {
        let to = request.extensions_mut().remove::<Protocol>();
        let client = request.extensions_mut().remove::<OnUpgrade>();
        match (to, client) {
            (Some(to), Some(client)) => Ok(Self::Connect { client, to }),
            _ => Err(Failure::new(Code::BadRequest).detail("CONNECT without a protocol is for proxies")),
        }
    }

    /// Asks the instance for the switch, in the language of `carrier`. The fields have been cleaned before.
    pub(super) fn ask(&self, request: &mut http::request::Parts, carrier: Carrier) -> Result<(), Failure> {
        match (self, carrier) {
            (Self::No, _) => {}
            (Self::Upgrade { to, .. }, _) => ask_upgrade(&mut request.headers, to.clone()),
            (Self::Connect { to, .. }, Carrier::Http2) => {
                request.extensions.insert(to.clone());
            }
            (Self::Connect { to, .. }, Carrier::Http1) => {
                if to.as_str() != "websocket" {
                    return Err(Failure::new(Code::BadRequest).detail(format!(
                        "the application cannot be reached by CONNECT with {}",
                        to.as_str()
                    )));
                }
                request.method = Method::GET;
                ask_upgrade(&mut request.headers, HeaderValue::from_static("websocket"));
                request.headers.insert(SEC_WEBSOCKET_KEY, websocket_key()?);
            }
        }
        Ok(())
    }

    /// Judges the instance's status. `Ok(true)`: it has switched.
    pub(super) fn accepted(&self, status: StatusCode, carrier: Carrier) -> Result<bool, Failure> {
        let switched = match carrier {
            Carrier::Http1 => status == StatusCode::SWITCHING_PROTOCOLS,
            Carrier::Http2 => matches!(self, Self::Connect { .. }) && status == StatusCode::OK,
        };
        match self {
            Self::No if switched => {
                Err(Failure::new(Code::BadGateway)
                    .detail("the instance switched protocols without being asked"))
            }
            // To the client of a CONNECT any 2xx would mean that the tunnel stands.
            Self::Connect { .. } if !switched && status.is_success() => {
                Err(Failure::new(Code::BadGateway)
                    .detail(format!("the instance answered CONNECT with {status}")))
            }
            _ => Ok(switched),
        }
    }

    /// Tells the client of the switch, in its own language, and joins both sides.
    pub(super) fn join(self, mut answer: Response<Incoming>, mut lease: Lease) -> Response<Body> {
        lease.detach();
        let instance = hyper::upgrade::on(&mut answer);
        let mut answer = answer.map(|_| Body::empty());
        let to = answer.headers_mut().remove(UPGRADE);
        fields::clean_response(answer.headers_mut());
        let client = match self {
            Self::No => return answer,
            Self::Upgrade { client, to: wanted } => {
                ask_upgrade(answer.headers_mut(), to.unwrap_or(wanted));
                client
            }
            Self::Connect { client, .. } => {
                answer.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
                *answer.status_mut() = StatusCode::OK;
                client
            }
        };
        *answer.version_mut() = Version::HTTP_11;
        tokio::spawn(splice(client, instance, lease));
        answer
    }
}

fn websocket_key() -> Result<HeaderValue, Failure> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| {
        Failure::new(Code::BadGateway).detail("no randomness for a WebSocket key").source(error)
    })?;
    Ok(HeaderValue::from_str(&BASE64_STANDARD.encode(nonce)).expect("base64 is visible ASCII"))
}

/// Carries bytes both ways until both sides have ended, or one has failed. Either's half-close reaches the other.
async fn splice(client: OnUpgrade, instance: OnUpgrade, mut lease: Lease) {
    let joined = futures_util::future::try_join(client, instance).await;
    let result = match joined {
        Ok((client, instance)) => {
            let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
            tokio::io::copy_bidirectional(&mut client, &mut instance).await.map_err(Into::into)
        }
        Err(error) => Err(crate::body::BodyError::from(error)),
    };
    if result.is_err() {
        lease.broke();
    }
    lease.finish(Rest::UnderWay);
    match result {
        Ok((from_client, from_instance)) => {
            tracing::debug!(from_client, from_instance, "upgraded connection ended");
        }
        Err(error) => tracing::debug!(%error, "upgraded connection broke"),
    }
}
