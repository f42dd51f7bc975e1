//! From sites to what their listeners present.

use std::sync::Arc;

use cohost::{
    config::{Authority, Config, Listen, UnknownAuthority},
    facts::Scheme,
    listener::tls::{Terms, Tls, Unknown},
};

use crate::certificates::Certificates;

/// The terms of each site, in the order of the configuration; none of those that do not speak TLS.
pub(crate) fn terms(config: &Config, certificates: &Certificates) -> Vec<Option<Arc<Terms>>> {
    let terms = config.sites.iter().map(|site| {
        let tls = site.tls.as_ref()?;
        Some(Arc::new(Terms::new(certificates.of(&tls.certificates), tls.min_version)))
    });
    terms.collect()
}

/// What a listener presents, on the terms of the sites that are bound there; `None` where TLS is not spoken.
pub(crate) fn of(config: &Config, listen: &Listen, terms: &[Option<Arc<Terms>>]) -> Option<Tls> {
    let unknown = match config.server.unknown_authority {
        UnknownAuthority::DefaultSite => Unknown::FirstSite,
        // Whoever asks for nobody's name is not to learn who else is here.
        _ => Unknown::Refused,
    };
    let mut tls = Tls::new(unknown);
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
