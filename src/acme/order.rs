//! One order, from the account to the chain of certificates.
//!
//! In: a name. Out: a key and the certificate for it, as PEM; or why there is none, and whose matter that is. Never:
//! decides when to try again. Dropping the future leaves an order with the authority that nobody finishes, which it
//! forgets by itself.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::{
    answers,
    https::Https,
    store::{Kept, Shown, Store},
};
use crate::config::Acme;

/// An order came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(super) struct Failure {
    pub(super) whose: Whose,
    pub(super) why: String,
    /// When the authority wants to be asked again.
    pub(super) retry_after: Option<SystemTime>,
}

/// Whose matter a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of this name: others may be ordered.
    Name,
    /// Of the authority, the account, or the way to it: nothing can be ordered.
    Authority,
}

/// A customer of an authority.
pub(super) struct Customer {
    acme: Arc<Acme>,
    store: Store,
}

impl Customer {
    pub(super) fn new(acme: Arc<Acme>, store: Store) -> Self {
        Self { acme, store }
    }

    /// Orders a certificate for `name`. Key and chain are in the same text.
    pub(super) async fn order(&self, name: &str) -> Result<String, Failure> {
        let ca = self.acme.ca.clone();
        let https =
            blocking(move || Https::new(ca.as_deref())).await.map_err(|error| of_authority(&error))?;
        let refusal = match self.issued(name, &https).await {
            Ok(pem) => return Ok(pem),
            Err(refusal) if is_unknown(&refusal.error) => {
                // It has forgotten all accounts, or an operator there has removed ours.
                let store = self.store.clone();
                blocking(move || store.forget_account()).await.map_err(|error| of_authority(&error))?;
                match self.issued(name, &https).await {
                    Ok(pem) => return Ok(pem),
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        let retry_after = https.retry_after().or(match refusal.error {
            Error::Timeout(Some(at)) => {
                Some(SystemTime::now() + at.saturating_duration_since(std::time::Instant::now()))
            }
            _ => None,
        });
        Err(Failure { whose: refusal.whose, why: said(&refusal.error), retry_after })
    }

    async fn issued(&self, name: &str, https: &Https) -> Result<String, Refusal> {
        let account = self.account(https).await.map_err(Refusal::of_authority)?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let shown = self.show(name, &mut order).await?;
        match order.poll_ready(&POLLING).await? {
            OrderStatus::Ready => {}
            _ => return Err(Refusal::of_name(refused(&mut order).await)),
        }
        drop(shown);
        let key = KeyPair::generate().map_err(other)?;
        order.finalize_csr(&request(name, &key)?).await?;
        Ok(key.serialize_pem() + &order.poll_certificate(&POLLING).await?)
    }

    /// The account that we have, or a new one.
    async fn account(&self, https: &Https) -> Result<Account, Error> {
        let builder = Account::builder_with_http(Box::new(https.clone()));
        let store = self.store.clone();
        let contact: Vec<&str> = self.acme.contact.iter().map(String::as_str).collect();
        let kept = blocking(move || Ok(store.account())).await.map_err(other)?;
        let (account, credentials) = match kept {
            Some(kept) => {
                let account =
                    builder.from_credentials(serde_json::from_value(kept.credentials.clone())?).await?;
                if kept.contact == self.acme.contact {
                    return Ok(account);
                }
                account.update_contacts(&contact).await?;
                (account, kept.credentials)
            }
            None => {
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let customer = self.acme.external_account.as_ref();
                let customer = customer.map(|it| ExternalAccountKey::new(it.id.clone(), &it.key));
                let directory = self.acme.directory.to_string();
                let (account, credentials) = builder.create(&new, directory, customer.as_ref()).await?;
                tracing::info!(directory = %self.acme.directory, account = account.id(), "there is an account with the authority now");
                (account, serde_json::to_value(credentials)?)
            }
        };
        let kept = Kept { contact: self.acme.contact.clone(), credentials };
        let store = self.store.clone();
        blocking(move || store.set_account(&kept)).await.map_err(other)?;
        Ok(account)
    }

    /// Has the authority see that the name is ours, for as long as what is returned is there.
    async fn show(&self, name: &str, order: &mut Order) -> Result<Vec<Shown>, Refusal> {
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                // It has seen that not long ago.
                continue;
            }
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(Refusal::of_name(other(NOT_OFFERED)));
            };
            let pem =
                answers::certificate(name, challenge.key_authorization().digest().as_ref()).map_err(other)?;
            let (store, name) = (self.store.clone(), name.to_owned());
            let showing = blocking(move || store.show(&name, &pem)).await;
            shown.push(showing.map_err(other).map_err(Refusal::of_authority)?);
            challenge.set_ready().await?;
        }
        Ok(shown)
    }
}

/// What the authority has against the name.
async fn refused(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await
            && let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone())
        {
            return Error::Api(problem);
        }
    }
    other("the authority refuses the order, and does not say why")
}

/// What a certificate is asked for with.
fn request(name: &str, key: &KeyPair) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::new([name.to_owned()]).map_err(other)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(other)?.der().to_vec())
}

/// Why there is no certificate.
struct Refusal {
    whose: Whose,
    error: Error,
}

impl Refusal {
    fn of_authority(error: Error) -> Self {
        Self { whose: Whose::Authority, error }
    }

    fn of_name(error: Error) -> Self {
        Self { whose: Whose::Name, error }
    }
}

impl From<Error> for Refusal {
    /// Once there is an account, what the authority says is about the name. What cannot be asked is not.
    fn from(error: Error) -> Self {
        let whose = match &error {
            Error::Api(problem) if !is_internal(problem) => Whose::Name,
            Error::Timeout(_) | Error::Str(_) => Whose::Name,
            _ => Whose::Authority,
        };
        Self { whose, error }
    }
}

fn is_internal(problem: &Problem) -> bool {
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:serverInternal")
        || problem.status.is_some_and(|status| status >= 500)
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"))
}

/// What the authority said, in its own words.
fn said(error: &Error) -> String {
    let Error::Api(Problem { r#type, detail, subproblems, .. }) = error else { return error.to_string() };
    let kind = r#type.as_deref().unwrap_or("no reason");
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let mut text = format!("the authority says {kind}");
    let details = detail.iter().map(String::clone).chain(subproblems.iter().map(ToString::to_string));
    for detail in details {
        text = format!("{text}: {detail}");
    }
    text
}

fn of_authority(error: &io::Error) -> Failure {
    Failure { whose: Whose::Authority, why: error.to_string(), retry_after: None }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other(error.into())
}

/// Does what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// How an authority is asked whether it is done. Most are within seconds.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

const NOT_OFFERED: &str = "the authority does not offer to look whether the name is ours by tls-alpn-01";
