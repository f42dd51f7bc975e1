//! From sites to what their listeners present.

use std::sync::Arc;

use cohost::{
    config::{Authority, Config, Listen, Site, UnknownAuthority},
    facts::{Asked, Scheme},
    front::Clients,
    listener::tls::{Misfit, Offer, Terms, Tls, Unknown},
    options::TlsVersion,
};

use crate::{acme, edition::Edition};

/// The terms of each site, in the order of the configuration; none of those that do not speak TLS.
pub(crate) fn terms(config: &Config, edition: &Edition) -> Vec<Option<Arc<Terms>>> {
    let terms = |site: &Site| {
        let tls = site.tls.as_ref()?;
        Some(Arc::new(Terms::new(Offer {
            site: &site.name,
            identities: edition.certificates.of(&tls.certificates),
            misfit: match tls.certificates.iter().any(|certificate| certificate.ordered_for.is_some()) {
                true => Misfit::Refused,
                false => Misfit::Shown,
            },
            min_version: tls.min_version,
            clients: edition.certificates.clients(&tls.client_certificates),
            tickets: edition.tickets.clone(),
        })))
    };
    config.sites.iter().map(terms).collect()
}

/// What a site needs of the connections that requests come on, where they may have been made on other terms.
pub(crate) fn needed(config: &Config, terms: &[Option<Arc<Terms>>], site: usize) -> Option<Clients> {
    let asked = |site: usize| terms[site].as_ref().map_or(Asked::Nothing, |terms| terms.asked());
    let listens = |site: usize| config.sites[site].bindings.iter().map(|binding| &binding.listen);
    let shares = |other: &usize| listens(*other).any(|listen| listens(site).any(|own| own == listen));
    let differs = (0..terms.len()).filter(shares).any(|other| asked(other) != asked(site));
    let min_version = config.sites[site].tls.as_ref().map(|tls| tls.min_version).unwrap_or_default();
    let clients = Clients { asked: asked(site), min_version };
    // Also where nobody else is there: a connection may have been made before the configuration was this one.
    let is_strict = clients.asked != Asked::Nothing || min_version != TlsVersion::default();
    (differs || is_strict).then_some(clients)
}

/// What a listener presents, on the terms of the sites that are bound there; `None` where TLS is not spoken.
pub(crate) fn of(config: &Config, listen: &Listen, terms: &[Option<Arc<Terms>>]) -> Option<Tls> {
    let unknown = match config.server.unknown_authority {
        UnknownAuthority::DefaultSite => Unknown::FirstSite,
        // Whoever asks for nobody's name is not to learn who else is here.
        _ => Unknown::Refused,
    };
    let mut tls = Tls::new(unknown);
    if let Some(challenges) = acme::challenges(config) {
        tls.challenges(challenges);
    }
    let mut speaks = false;
    for (site, terms) in config.sites.iter().zip(terms) {
        let Some(terms) = terms else { continue };
        let bound = site.bindings.iter().filter(|it| it.scheme == Scheme::Https && it.listen == *listen);
        for binding in bound {
            speaks = true;
            match &binding.authority {
                Authority::Any => tls.any(terms),
                Authority::Exact(name) => tls.exact(name, terms),
                Authority::Wildcard(parent) => tls.wildcard(parent, terms),
            }
        }
    }
    speaks.then_some(tls)
}
