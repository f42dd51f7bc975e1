//! Applications that have no code: files, and servers that somebody else runs.

use std::sync::Arc;

use cohost::{
    config::{Application, Artifact},
    dispatcher::{
        out_of_process::{Limits, Protocol},
        upstreams::Balancer,
    },
    front::Upstreams,
    options,
    pipeline::{BodyLimit, Concurrency, Deadline, Files},
    stage::Stage,
};

/// What such an application does, and what spreads its requests, if it is upstreams. `None` if it has code.
pub(crate) fn stage(application: &Application) -> Option<(Stage, Option<Balancer>)> {
    match &application.artifact {
        Artifact::Files(files) => Some((Stage::new(Files::alone(files.clone())), None)),
        Artifact::Upstreams(upstreams) => {
            let balancer = balancer(application, upstreams.clone());
            Some((limited(balancer.clone(), application), Some(balancer)))
        }
        Artifact::Library(_) | Artifact::Command(_) => None,
    }
}

fn balancer(application: &Application, upstreams: Upstreams) -> Balancer {
    let options = &application.options;
    let limits = Limits {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        idle: options.idle_timeout,
    };
    let protocol = match application.process.protocol {
        options::Protocol::H2c => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Balancer::new(Arc::clone(&application.name), upstreams, limits, protocol)
}

/// The limits that applications have that run here, in the same order.
fn limited(balancer: Balancer, application: &Application) -> Stage {
    let options = &application.options;
    let concurrency = Concurrency::new(balancer, options.max_concurrent_requests, options.request_queue);
    let deadline = Deadline::new(concurrency, options.request_timeout);
    Stage::new(BodyLimit::new(deadline, options.max_request_body))
}
