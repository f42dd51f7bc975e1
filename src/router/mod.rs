//! Which application a request is for.
//!
//! In: a request and the binding it came through. Out: the same request, on the way to its application.
//! Never: reads the body, changes what the path says (but it may spell the path base as it is configured), or knows how an
//! application is hosted.

mod paths;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::{ArcSwap, Cache};
use http::{Request, Response};
use tower_service::Service;

use crate::{
    Body, Failure, authority,
    facts::Facts,
    failure::Code,
    stage::{Answering, Stage},
};

pub use self::paths::Paths;

/// A site: applications by path, reached through bindings.
#[derive(Clone, Debug)]
pub struct Site<S> {
    /// For error messages.
    pub name: Arc<str>,
    /// Where it is reached.
    pub bindings: Vec<Binding>,
    /// Its applications by path base: `""`, `/shop`.
    pub applications: Vec<(Arc<str>, S)>,
    /// What requests come to first, if they do not go to [`Paths`] to these applications directly.
    pub front: Option<Stage>,
}

/// A listener, and which of the requests that come in there are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The listener's address, as connections name it; see [`Connection::binding`](crate::facts::Connection::binding).
    pub listener: Arc<str>,
    /// Which of its requests.
    pub authority: Authority,
}

/// Which requests are for a site, by the host name that the client asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// All that no other site claims.
    Any,
    /// Those for this name: lower case, without port.
    Exact(Arc<str>),
    /// Those for names that end in a dot and this one.
    Wildcard(Arc<str>),
}

/// What a request gets whose authority no site claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// The first site on that listener.
    #[default]
    FirstSite,
    /// 421.
    Misdirected,
    /// 404.
    NotFound,
}

/// Hands requests to the applications of sites. Clones are the same router.
pub struct Router<S> {
    /// A copy of the pointer to the table, which is looked at for each request, and whether it is still the same.
    table: Cache<Arc<ArcSwap<Table<S>>>, Arc<Table<S>>>,
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone() }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Table<S> {
    routes: Arc<Routes<S>>,
    /// What was before, for connections on listeners that nobody is reached on any more.
    before: Option<Arc<Routes<S>>>,
}

#[derive(Debug)]
struct Routes<S> {
    sites: Vec<Behind<S>>,
    listeners: Vec<(Arc<str>, Sites)>,
    unknown: Unknown,
}

/// What is behind the name of a site.
#[derive(Debug)]
enum Behind<S> {
    Paths(Paths<S>),
    Front(Stage),
}

/// The sites on one listener, by their places in the table.
#[derive(Debug, Default)]
struct Sites {
    exact: HashMap<Arc<str>, usize>,
    /// Longest first.
    wildcard: Vec<(Arc<str>, usize)>,
    any: Option<usize>,
    first: usize,
}

impl<S> Router<S> {
    /// A router to `sites`.
    #[must_use]
    pub fn new(sites: Vec<Site<S>>, unknown: Unknown) -> Self {
        let table = Table { routes: Arc::new(Routes::new(sites, unknown)), before: None };
        Self { table: Cache::new(Arc::new(ArcSwap::from_pointee(table))) }
    }

    /// Routes to `sites` from now on, also the next requests of connections that are open. Those that came in where no
    /// site is reached any more are routed as before, until they end.
    pub fn replace(&self, sites: Vec<Site<S>>, unknown: Unknown) {
        let routes = Arc::new(Routes::new(sites, unknown));
        let current = self.table.arc_swap();
        let before = Some(Arc::clone(&current.load().routes));
        current.store(Arc::new(Table { routes, before }));
    }
}

impl<S> Routes<S> {
    fn new(sites: Vec<Site<S>>, unknown: Unknown) -> Self {
        let mut listeners: Vec<(Arc<str>, Sites)> = Vec::new();
        for (place, site) in sites.iter().enumerate() {
            for binding in &site.bindings {
                let known = listeners.iter().position(|(listener, _)| *listener == binding.listener);
                let known = known.unwrap_or_else(|| {
                    listeners
                        .push((Arc::clone(&binding.listener), Sites { first: place, ..Sites::default() }));
                    listeners.len() - 1
                });
                listeners[known].1.add(&binding.authority, place);
            }
        }
        let behind = |site: Site<S>| match site.front {
            None => Behind::Paths(Paths::new(site.applications)),
            Some(front) => Behind::Front(front),
        };
        let sites = sites.into_iter().map(behind).collect();
        Self { sites, listeners, unknown }
    }
}

impl Sites {
    fn add(&mut self, authority: &Authority, site: usize) {
        match authority {
            Authority::Any => {
                self.any.get_or_insert(site);
            }
            Authority::Exact(name) => {
                self.exact.entry(Arc::clone(name)).or_insert(site);
            }
            Authority::Wildcard(suffix) => {
                self.wildcard.push((Arc::clone(suffix), site));
                self.wildcard.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
            }
        }
    }

    /// Exact before wildcard before any.
    fn find(&self, request: &Request<Body>) -> Option<usize> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return self.any;
        }
        let name = authority::undotted(authority::name(authority::of(request))).to_ascii_lowercase();
        let exact = self.exact.get(&*name).copied();
        let wildcard = || {
            self.wildcard.iter().find(|(suffix, _)| authority::is_below(&name, suffix)).map(|(_, site)| *site)
        };
        exact.or_else(wildcard).or(self.any)
    }
}

impl<S> Table<S> {
    fn find(&self, request: &Request<Body>) -> Result<&Behind<S>, Failure> {
        let Some(before) = &self.before else {
            return self.routes.find(request, self.routes.listener(request));
        };
        // Also where there is one listener only: the connection may have come in on another, which is no more.
        match self.routes.named(request) {
            Some(sites) => self.routes.find(request, Some(sites)),
            None => before.find(request, before.listener(request)),
        }
    }
}

impl<S> Routes<S> {
    /// The sites where a request came in. Where there is one listener only, nobody asks for its name.
    fn listener(&self, request: &Request<Body>) -> Option<&Sites> {
        match &self.listeners[..] {
            [(_, only)] => Some(only),
            _ => self.named(request),
        }
    }

    fn named(&self, request: &Request<Body>) -> Option<&Sites> {
        let Some(facts) = request.extensions().get::<Facts>() else {
            return self.listeners.first().map(|(_, sites)| sites);
        };
        let binding = &facts.connection.binding;
        self.listeners.iter().find(|(listener, _)| listener == binding).map(|(_, sites)| sites)
    }

    fn find(&self, request: &Request<Body>, sites: Option<&Sites>) -> Result<&Behind<S>, Failure> {
        let sites = sites.ok_or_else(|| Failure::new(Code::UnknownAuthority))?;
        let site =
            sites.find(request).or_else(|| (self.unknown == Unknown::FirstSite).then_some(sites.first));
        let unknown = || match self.unknown {
            Unknown::NotFound => Failure::new(Code::UnknownSite),
            _ => Failure::new(Code::UnknownAuthority),
        };
        site.map(|site| &self.sites[site]).ok_or_else(unknown)
    }
}

impl<S> Service<Request<Body>> for Router<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Failure> + Clone,
{
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Routing<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Routing<S::Future> {
        match self.table.load().find(&request) {
            Ok(Behind::Paths(paths)) => paths.enter(request),
            Ok(Behind::Front(front)) => Routing::front(front.serve(request)),
            Err(failure) => Routing::nowhere(failure),
        }
    }
}

pin_project_lite::pin_project! {
    /// An answer to come.
    pub struct Routing<F> {
        #[pin]
        source: Source<F>,
    }
}

pin_project_lite::pin_project! {
    /// Where it comes from.
    #[project = From]
    enum Source<F> {
        Application { #[pin] answer: F },
        Front { answer: Answering },
        // There is no such application.
        Nowhere { why: Option<Box<Failure>> },
    }
}

impl<F> Routing<F> {
    fn application(answer: F) -> Self {
        Self { source: Source::Application { answer } }
    }

    fn front(answer: Answering) -> Self {
        Self { source: Source::Front { answer } }
    }

    fn nowhere(failure: Failure) -> Self {
        Self { source: Source::Nowhere { why: Some(Box::new(failure)) } }
    }
}

impl<F: Future<Output = Result<Response<Body>, Failure>>> Future for Routing<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().source.project() {
            From::Application { answer } => answer.poll(cx),
            From::Front { answer } => answer.as_mut().poll(cx),
            From::Nowhere { why } => Poll::Ready(Err(*why.take().expect("polled after it was ready"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Connection, End};

    /// Says its own name.
    #[derive(Clone, Debug)]
    struct Named(&'static str);

    impl Service<Request<Body>> for Named {
        type Response = Response<Body>;
        type Error = Failure;
        type Future = std::future::Ready<Result<Response<Body>, Failure>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let base = request.extensions().get::<Facts>().map_or("", |facts| &*facts.path_base);
            let response = Response::builder().header("name", self.0).header("base", base);
            std::future::ready(Ok(response.body(Body::empty()).expect("valid")))
        }
    }

    fn site(name: &str, authorities: &[Authority], applications: &[(&str, &'static str)]) -> Site<Named> {
        let binding =
            |authority: &Authority| Binding { listener: "http://a".into(), authority: authority.clone() };
        Site {
            name: name.into(),
            bindings: authorities.iter().map(binding).collect(),
            applications: applications.iter().map(|(base, name)| ((*base).into(), Named(name))).collect(),
            front: None,
        }
    }

    async fn route(router: &Router<Named>, host: &str, path: &str) -> Result<String, Code> {
        let mut request =
            Request::builder().uri(path).header("host", host).body(Body::empty()).expect("valid");
        request.extensions_mut().insert(Facts::unknown());
        let answer = router.clone().call(request).await.map_err(|failure| failure.code)?;
        let of = |name| answer.headers()[name].to_str().expect("text").to_owned();
        Ok(format!("{}@{}", of("name"), of("base")))
    }

    #[tokio::test]
    async fn the_longest_path_wins_and_only_whole_segments_count() {
        let applications = [("", "root"), ("/shop", "shop"), ("/shop/cart", "cart")];
        let router = Router::new(vec![site("s", &[Authority::Any], &applications)], Unknown::default());
        for (path, found) in [
            ("/", "root@"),
            ("/shopping", "root@"),
            ("/shop", "shop@/shop"),
            ("/shop/", "shop@/shop"),
            ("/shop/cart/x", "cart@/shop/cart"),
            ("/shop/carts", "shop@/shop"),
            ("/Shop", "root@"),
            // An application takes them for the same, and so would files.
            ("/%73hop", "shop@/shop"),
            ("/sho%70/%63art/x", "cart@/shop/cart"),
            ("/shop%2Fcart", "root@"),
            ("/shop/c%61rts", "shop@/shop"),
            ("/%", "root@"),
        ] {
            assert_eq!(route(&router, "a", path).await.as_deref(), Ok(found), "{path}");
        }
    }

    #[tokio::test]
    async fn exact_comes_before_wildcard_before_any() {
        let sites = vec![
            site("d", &[Authority::Any], &[("", "default")]),
            site("w", &[Authority::Wildcard("example.com".into())], &[("", "wild")]),
            site("e", &[Authority::Exact("www.example.com".into())], &[("/only", "exact")]),
        ];
        let router = Router::new(sites, Unknown::Misdirected);
        assert_eq!(route(&router, "WWW.Example.com:80", "/only").await.as_deref(), Ok("exact@/only"));
        assert_eq!(route(&router, "www.example.com", "/").await, Err(Code::NoApplication));
        assert_eq!(route(&router, "a.b.example.com.", "/").await.as_deref(), Ok("wild@"));
        assert_eq!(route(&router, "example.com", "/").await.as_deref(), Ok("default@"));
        assert_eq!(route(&router, "notexample.com", "/").await.as_deref(), Ok("default@"));
    }

    #[tokio::test]
    async fn a_request_on_an_open_connection_goes_where_routes_lead_by_now() {
        let sites = |name| vec![site("s", &[Authority::Any], &[("", name)])];
        let router = Router::new(sites("old"), Unknown::default());
        let mut connection = router.clone();
        let ask = || {
            let mut request = Request::builder().uri("/").body(Body::empty()).expect("valid");
            let connection = Connection::new(End::Unknown, End::Unknown, "http://a".into(), None);
            request.extensions_mut().insert(Facts::new(Arc::new(connection)));
            request
        };
        let name = |answer: Response<Body>| answer.headers()["name"].clone();
        assert_eq!(name(connection.call(ask()).await.unwrap()), "old");
        router.replace(sites("new"), Unknown::default());
        assert_eq!(name(connection.call(ask()).await.unwrap()), "new");

        // Nobody is reached any more where it came in.
        let elsewhere = Binding { listener: "http://b".into(), authority: Authority::Any };
        router.replace(
            vec![Site { bindings: vec![elsewhere], ..sites("other").remove(0) }],
            Unknown::default(),
        );
        assert_eq!(name(connection.call(ask()).await.unwrap()), "new");
    }

    #[tokio::test]
    async fn an_authority_nobody_claims_gets_what_is_configured() {
        let sites = || vec![site("e", &[Authority::Exact("a".into())], &[("", "a")])];
        for (unknown, found) in [
            (Unknown::FirstSite, Ok("a@".to_owned())),
            (Unknown::Misdirected, Err(Code::UnknownAuthority)),
            (Unknown::NotFound, Err(Code::UnknownSite)),
        ] {
            assert_eq!(route(&Router::new(sites(), unknown), "b", "/").await, found);
        }
    }
}
