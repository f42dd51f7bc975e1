//! What `cohost run` says once it listens: where, what, how it is hosted, and how to have it the other way.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use cohost::{
    HostingModel,
    config::{Artifact, Authority, Binding, Config, Listen},
};

use crate::{artifact::Named, say};

/// What is to be said, short of the ports that the system picks.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    sites: Vec<(Vec<Binding>, Vec<Hosted>)>,
    /// The path as it was typed.
    path: String,
    /// The configuration file, if there is one.
    file: Option<String>,
}

#[derive(Clone, Debug)]
struct Hosted {
    name: String,
    path: String,
    hosting_model: HostingModel,
    hosted_as: &'static str,
    is_library: bool,
}

impl Greeting {
    pub(crate) fn new(config: &Config, named: &Named, path: &Path) -> Self {
        let sites = config.sites.iter().map(|site| {
            let hosted = site.applications.iter().map(|application| Hosted {
                name: application.name.to_string(),
                path: application.path.clone(),
                hosting_model: application.hosting_model,
                hosted_as: application.hosted_as(),
                is_library: matches!(application.artifact, Artifact::Library(_)),
            });
            (site.bindings.clone(), hosted.collect())
        });
        let file = match named {
            Named::Configuration(file) => Some(file.display().to_string()),
            _ => None,
        };
        Self { sites: sites.collect(), path: path.display().to_string(), file }
    }

    /// Says it. `bound` tells the address that became of a binding; `None` for as configured.
    pub(crate) fn say(&self, bound: impl Fn(&Listen) -> Option<SocketAddr>) {
        say(&self.text(&bound));
    }

    fn text(&self, bound: &dyn Fn(&Listen) -> Option<SocketAddr>) -> String {
        let mut text = format!("cohost {}\n\n", env!("CARGO_PKG_VERSION"));
        for (bindings, hosted) in &self.sites {
            for Hosted { name, path, hosted_as, .. } in hosted {
                for binding in bindings {
                    let place = format!("{}{path}", url(binding, bound));
                    let _ = writeln!(text, "  {place:<40} {name} ({hosted_as})");
                }
            }
        }
        if let Some(hint) = self.toggle() {
            let _ = write!(text, "\n{hint}");
        }
        text.push_str("\n  Ctrl+C stops\n\n");
        text
    }

    /// How to have the first library the other way.
    fn toggle(&self) -> Option<String> {
        let model =
            self.sites.iter().flat_map(|(_, hosted)| hosted).find(|hosted| hosted.is_library)?.hosting_model;
        let (other, what) = match model {
            HostingModel::InProcess => (HostingModel::OutOfProcess, "in a process of its own"),
            _ => (HostingModel::InProcess, "inside the host"),
        };
        let file = self.file.as_deref().unwrap_or("a cohost.toml");
        let path = if self.path == "." { String::new() } else { format!(" {}", self.path) };
        Some(format!(
            "  to have it {what}:\n    cohost run{path} --hosting-model {other}\n    \
             or hosting_model = \"{other}\" under [[site.application]] in {file}\n"
        ))
    }
}

/// What to type into a browser.
fn url(binding: &Binding, bound: &dyn Fn(&Listen) -> Option<SocketAddr>) -> String {
    let actual = bound(&binding.listen);
    let scheme = binding.scheme.as_str();
    let port = |configured: u16| match actual.map_or(configured, |address| address.port()) {
        port if port == binding.scheme.port() => String::new(),
        port => format!(":{port}"),
    };
    match (&binding.listen, &binding.authority) {
        (Listen::Unix(path), _) => format!("unix:{}", path.display()),
        (Listen::Tcp(configured), _) => format!("{scheme}://{}", actual.unwrap_or(*configured)),
        (Listen::Any(configured), Authority::Exact(name)) => {
            format!("{scheme}://{name}{}", port(*configured))
        }
        (Listen::Any(configured), Authority::Wildcard(parent)) => {
            format!("{scheme}://*.{parent}{}", port(*configured))
        }
        (Listen::Any(configured), Authority::Any) => format!("{scheme}://localhost{}", port(*configured)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(text: &str, bound: Option<SocketAddr>) -> String {
        let config = cohost::config::parse(text, Path::new("/srv/cohost.toml"), &|_| None).unwrap();
        let named = Named::Configuration("shop/cohost.toml".into());
        Greeting::new(&config, &named, Path::new("shop")).text(&|_| bound)
    }

    #[test]
    fn tells_where_what_and_how_to_toggle() {
        let text = greeting(
            "site = [{ name = 'shop', bindings = ['http://127.0.0.1:0'], application = [{ library = 'x', path = '/a' }] }]",
            Some("127.0.0.1:4711".parse().unwrap()),
        );
        assert!(text.contains("http://127.0.0.1:4711/a "), "{text}");
        assert!(text.contains(" shop/a (inprocess)\n"), "{text}");
        assert!(text.contains("cohost run shop --hosting-model outofprocess\n"), "{text}");
        assert!(
            text.contains(
                "hosting_model = \"outofprocess\" under [[site.application]] in shop/cohost.toml\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_command_has_nothing_to_toggle() {
        let text = greeting(
            "site = [{ name = 'a', bindings = ['http://x.example'], application = [{ command = 'x' }] }]",
            None,
        );
        assert!(text.contains("http://x.example ") && !text.contains("--hosting-model"), "{text}");
    }
}
