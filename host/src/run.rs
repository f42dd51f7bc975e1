//! `cohost run`: from a path and options to a configuration, and then to work.

use std::path::Path;

use cohost::{
    ConfiguredModel, HostingModel,
    config::{self, Application, Artifact, Config, Listen},
    facts::Scheme,
};

use crate::{
    artifact::named,
    cli::Run,
    edition::Edition,
    exit::{Exit, Refused},
    greeting::Greeting,
    hearing, log, serve, standing, supervise, upgrade,
};

/// Serves what the path names, until told to stop.
pub(crate) fn run(arguments: &Run) -> Result<Exit, Refused> {
    if let Some(descriptor) = arguments.resume {
        return resume(descriptor, arguments);
    }
    let named = named(&arguments.path)?;
    let edition = Edition::new(&named, arguments, std::env::args_os().collect())?;
    let config = edition.config()?;
    if !arguments.no_supervisor {
        hearing::begin()?;
    }
    log::start(&config.log)?;
    let greeting = Greeting::new(&config, &named, &arguments.path);
    if arguments.no_supervisor {
        return serve::serve(&edition, config, &greeting);
    }
    supervise::supervise(edition, greeting, &arguments.runtime_dir)
}

/// Goes on with what the program before this one has left.
fn resume(descriptor: i32, arguments: &Run) -> Result<Exit, Refused> {
    let carried = upgrade::carried(descriptor)?;
    let config = carried.edition.config()?;
    if arguments.resume_check {
        return supervise::check(&carried.edition, &config).map(|()| Exit::Success);
    }
    hearing::begin()?;
    log::start(&config.log)?;
    supervise::succession::resume(carried, config, &arguments.runtime_dir)
}

/// Reads a configuration, with the process's environment.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Config, Refused> {
    config::parse(text, file, &|name| std::env::var(name).ok())
        .map_err(|faults| Exit::Configuration.because(faults.to_string()))
}

/// Puts the options of the command line in place of what the configuration says.
pub(crate) fn apply(arguments: &Run, config: &mut Config) -> Result<(), Refused> {
    if let Some(level) = &arguments.log_level {
        config.log.level.clone_from(level);
    }
    if let Some(format) = arguments.log_format {
        config.log.format = format.into();
    }
    if let Some(binding) = &arguments.listen {
        let [site] = &mut config.sites[..] else {
            return Err(Exit::Usage.because("--listen is for one site, and the configuration has several"));
        };
        if binding.scheme == Scheme::Https && site.tls.is_none() {
            let message =
                "--listen https:// needs a certificate; only a configuration can name one, as [site.tls]";
            return Err(Exit::Usage.because(message));
        }
        // Details are for the developer's own machine, whatever the configuration meant for its own bindings.
        config.server.detailed_errors &= is_loopback(&binding.listen);
        site.bindings = vec![binding.clone()];
    }
    apply_settings(arguments, config)?;
    match arguments.hosting_model {
        Some(model) => applications(config).try_for_each(|application| host_as(application, model)),
        None => Ok(()),
    }
}

fn apply_settings(arguments: &Run, config: &mut Config) -> Result<(), Refused> {
    if arguments.settings.is_empty() {
        return Ok(());
    }
    let mut applications: Vec<_> = applications(config).collect();
    let [application] = &mut applications[..] else {
        return Err(Exit::Usage.because("--set is for one application, and the configuration has several"));
    };
    arguments.settings.iter().for_each(|setting| setting.apply(&mut application.settings));
    Ok(())
}

fn host_as(application: &mut Application, model: ConfiguredModel) -> Result<(), Refused> {
    if let Artifact::Files(_) | Artifact::Upstreams(_) = application.artifact {
        return Ok(());
    }
    if model.first() == HostingModel::InProcess && matches!(application.artifact, Artifact::Command(_)) {
        let name = &application.name;
        return Err(
            Exit::Usage.because(format!("{name} is a command; only a library can be hosted in process"))
        );
    }
    if model.first() == HostingModel::InProcess && standing::is_confined(application) {
        let name = &application.name;
        return Err(Exit::Usage.because(format!(
            "{name} has limits or a user of its own, which need a process; it cannot be hosted in process"
        )));
    }
    application.host_as(model);
    Ok(())
}

fn applications(config: &mut Config) -> impl Iterator<Item = &mut Application> {
    config.sites.iter_mut().flat_map(|site| &mut site.applications)
}

fn is_loopback(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
        Listen::Any(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        edition::single,
    };

    fn arguments(options: &[&str]) -> Run {
        match Cli::try_parse_from(["cohost", "run"].iter().chain(options)).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    fn library(options: &[&str]) -> Result<Config, Refused> {
        let mut config = single(Path::new("/srv/shop/libshop.so"), Path::new("/srv/shop"))?;
        apply(&arguments(options), &mut config).map(|()| config)
    }

    fn file(text: &str, options: &[&str]) -> Result<Config, Refused> {
        let mut config = config::parse(text, Path::new("/srv/cohost.toml"), &|_| None).unwrap();
        apply(&arguments(options), &mut config).map(|()| config)
    }

    #[test]
    fn a_library_becomes_a_site_with_one_application_at_the_root() {
        let config = library(&[]).unwrap();
        let site = &config.sites[0];
        assert_eq!((&*site.name, &*site.bindings[0].text), ("shop", "http://127.0.0.1:8080"));
        let application = &site.applications[0];
        assert_eq!((&*application.name, application.path.as_str()), ("shop", ""));
        assert_eq!(application.artifact, Artifact::Library("/srv/shop/libshop.so".into()));
        assert_eq!(application.content_root, Path::new("/srv/shop"));
        assert_eq!(application.hosting_model, HostingModel::InProcess);
    }

    #[test]
    fn options_win_over_the_configuration() {
        let options =
            ["--listen", "*:80", "--hosting-model", "outofprocess", "--set", "a.b=1", "--log-level", "debug"];
        let config = library(&options).unwrap();
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.sites[0].bindings[0].listen, Listen::Any(80));
        let application = &config.sites[0].applications[0];
        assert_eq!(application.hosting_model, HostingModel::OutOfProcess);
        assert_eq!(application.settings, serde_json::json!({ "a": { "b": 1 } }));
    }

    #[test]
    fn errors_are_detailed_on_the_developers_machine_only() {
        assert!(library(&[]).unwrap().server.detailed_errors);
        assert!(library(&["--listen", "[::1]:0"]).unwrap().server.detailed_errors);
        assert!(!library(&["--listen", "0.0.0.0:80"]).unwrap().server.detailed_errors);
    }

    #[test]
    fn options_for_one_thing_are_refused_where_there_are_several() {
        let several = "
            [[site]]\nname = 'a'\nbindings = ['http://*:80']\n
            [[site.application]]\ncommand = 'x'\n
            [[site]]\nname = 'b'\nbindings = ['http://*:81']\n
            [[site.application]]\nlibrary = 'x'\n";
        assert_eq!(library(&["--listen", "https://x"]).unwrap_err().exit, Exit::Usage);
        for options in [["--listen", "*:82"], ["--set", "a=1"], ["--hosting-model", "inprocess"]] {
            assert_eq!(file(several, &options).unwrap_err().exit, Exit::Usage, "{options:?}");
        }
        let confined = "site = [{ name = 'a', bindings = ['http://*'], application = \
            [{ library = 'x', hosting_model = 'outofprocess', umask = '077' }] }]";
        assert_eq!(file(confined, &["--hosting-model", "inprocess"]).unwrap_err().exit, Exit::Usage);
        let config = file(several, &["--hosting-model", "outofprocess"]).unwrap();
        assert_eq!(config.sites[1].applications[0].hosting_model, HostingModel::OutOfProcess);
    }
}
