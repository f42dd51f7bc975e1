//! `cohost rewrite-test`: which rules fire for a URL, and what comes of it.
//!
//! What is shown is what the stages of a host do that serves this configuration; but nothing is started, and nobody asked.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cohost::{
    Body,
    config::{self, Authority, Binding, Config, Listen},
    facts::{Connection, End, Facts, Scheme},
    front::{
        Front,
        rewrite::{Fired, Rule, Rules},
    },
    http::normalise,
    pipeline::{Kept, around, fired},
    router::Paths,
    stage::{Answering, Serve, Stage},
};
use http::{Request, Response, Uri, header};

use crate::{
    artifact::{Named, named},
    cli::RewriteTest,
    exit::{Exit, Refused},
    run, say,
};

/// Shows what becomes of a request.
pub(crate) fn rewrite_test(arguments: &RewriteTest) -> Result<Exit, Refused> {
    let config = configuration(&arguments.config)?;
    let (request, scheme) = request(arguments)?;
    let site = site(&config, &arguments.url, scheme)?;
    let told = Told::default();
    told.line(&format!("{} {}", arguments.method, arguments.url));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Exit::Failed.because(format!("cannot look: {error}")))?;
    let stages = stages(site, &told);
    match runtime.block_on(stages.serve(request)) {
        // What the application would have answered is not known.
        Ok(answer) if answer.extensions().get::<Reached>().is_some() => {}
        Ok(answer) => told.line(&shown(&answer)),
        Err(failure) => told.line(&format!("{} {failure}", failure.code.status().as_u16())),
    }
    say(&told.text());
    Ok(Exit::Success)
}

fn configuration(path: &Path) -> Result<Config, Refused> {
    let Named::Configuration(file) = named(path)? else {
        return Err(Exit::Usage.because(format!("{} is no configuration", path.display())));
    };
    let text = config::text(&file).map_err(|faults| Exit::Configuration.because(faults.to_string()))?;
    run::parse(&text, &file)
}

/// The request, as `http` hands it on.
fn request(arguments: &RewriteTest) -> Result<(Request<Body>, Scheme), Refused> {
    let url = &arguments.url;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(Exit::Usage.because(format!("{url} is no URL, as http://shop.example/ is")));
    };
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let target = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request =
        Request::builder().method(&arguments.method).uri(target).header(header::HOST, authority.as_str());
    for (name, value) in &arguments.headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::empty()).map_err(|error| Exit::Usage.because(error.to_string()))?;
    let client = End::Ip(SocketAddr::new(arguments.client, 0));
    let connection = Connection::new(client, End::Unknown, "".into(), None);
    request.extensions_mut().insert(Facts { scheme, ..Facts::new(Arc::new(connection)) });
    normalise(&mut request)
        .map_err(|failure| Exit::Failed.because(format!("such a request is refused: {failure}")))?;
    Ok((request, scheme))
}

/// The site that gets such requests: the exact name before a wildcard, and that before any; first by what is bound at the
/// URL's port.
fn site<'a>(config: &'a Config, url: &Uri, scheme: Scheme) -> Result<&'a config::Site, Refused> {
    let name = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or_else(|| scheme.port());
    let meant = |binding: &Binding| {
        let at = match binding.listen {
            Listen::Tcp(address) => address.port() == port,
            Listen::Any(any) => any == port,
            Listen::Unix(_) => false,
        };
        let how = match &binding.authority {
            Authority::Exact(_) => usize::MAX,
            Authority::Wildcard(parent) => parent.len(),
            _ => 0,
        };
        binding.authority.matches(name).then_some((at && binding.scheme == scheme, how))
    };
    let of_site = |site: &'a config::Site| {
        let best = site.bindings.iter().filter_map(meant).max()?;
        Some((best, site))
    };
    let found = config.sites.iter().rev().filter_map(of_site).max_by_key(|(best, _)| *best);
    found.map(|(_, site)| site).ok_or_else(|| Exit::Failed.because(format!("no site answers for {name}")))
}

/// The stages of a site that say where a request goes, and behind them what tells that it arrived.
fn stages(site: &config::Site, told: &Told) -> Stage {
    let applications = site.applications.iter().map(|application| {
        let title = format!("application {}", application.name);
        let reached = Stage::new(Arrived { title: title.clone(), told: told.clone() });
        (application.path.as_str().into(), told_around(&application.front, title, told, reached))
    });
    let paths = Stage::new(Paths::new(applications.collect()));
    told_around(&site.front, format!("site {}", site.name), told, paths)
}

/// Redirects, then the rules, told one by one, then what is behind.
fn told_around(front: &Front, title: String, told: &Told, behind: Stage) -> Stage {
    let mut first = Front::default();
    first.https.clone_from(&front.https);
    first.canonical_host.clone_from(&front.canonical_host);
    let mut rules = Front::default();
    rules.rewrite.clone_from(&front.rewrite);
    // Neither of them counts anything.
    let kept = Kept::default();
    let rewriting = around(&rules, "", &kept, behind);
    let telling =
        Telling { title, rules: front.rewrite.clone().map(Arc::new), told: told.clone(), behind: rewriting };
    around(&first, "", &kept, Stage::new(telling))
}

/// Lines to print.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn line(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tells which rules fire, before they do.
#[derive(Clone, Debug)]
struct Telling {
    title: String,
    rules: Option<Arc<Rules>>,
    told: Told,
    behind: Stage,
}

impl Serve for Telling {
    fn serve(&self, request: Request<Body>) -> Answering {
        if let Some(rules) = &self.rules {
            self.told.line(&self.title);
            let mut one_fires = false;
            let mut tell = |rule: &Rule, what: Fired<'_>| {
                one_fires = true;
                self.told.line(&format!("  {}: {}", rule.name, done(what)));
            };
            // Why it fails is told by the stage that does it.
            let _ = fired(rules, &request, &mut tell);
            if !one_fires {
                self.told.line("  none of its rules fires");
            }
        }
        self.behind.serve(request)
    }
}

fn done(fired: Fired<'_>) -> String {
    match fired {
        Fired::Rewritten(target) => format!("rewrites to {target}"),
        Fired::Redirected(target) => format!("redirects to {target}"),
        Fired::Answered(status) => format!("answers {}", status.as_u16()),
        Fired::Aborted => "closes the connection".to_owned(),
        _ => "matches".to_owned(),
    }
}

/// Tells what arrives at an application.
#[derive(Clone, Debug)]
struct Arrived {
    title: String,
    told: Told,
}

/// An application would have been asked.
#[derive(Clone, Copy, Debug)]
struct Reached;

impl Serve for Arrived {
    fn serve(&self, request: Request<Body>) -> Answering {
        self.told.line(&format!("{} gets {} {}", self.title, request.method(), request.uri()));
        let mut answer = Response::new(Body::empty());
        answer.extensions_mut().insert(Reached);
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// An answer of the host itself.
fn shown(answer: &Response<Body>) -> String {
    let status = answer.status();
    let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    match location {
        Some(location) => format!("{} {location}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
