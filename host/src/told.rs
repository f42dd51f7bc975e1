//! What a worker tells of its applications.
//!
//! In: what it holds. Out: for each application what the door shows of it. Never: asks the application itself, or waits
//! for anything that an application could hold.

use std::time::{Instant, SystemTime};

use cohost::{
    admin::{self, Failed, State, UpstreamState, When},
    config::{self, Artifact},
    dispatcher::upstreams::{Balancer, Condition, Status},
};

use crate::{
    gate::{self, Closed},
    mounted::Refusal,
    standing::Described,
};

/// The applications of a worker, each by its description.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) applications: Vec<(config::Application, Found)>,
}

/// What requests for an application come to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Application(cohost::Application),
    Refused(Refusal),
    Offline,
    /// It has no code that could be in another state.
    Files,
    Upstreams(Balancer),
}

impl Told {
    /// What spreads requests over upstreams.
    pub(crate) fn balancers(&self) -> impl Iterator<Item = &Balancer> {
        self.applications.iter().filter_map(|(_, found)| match found {
            Found::Upstreams(balancer) => Some(balancer),
            _ => None,
        })
    }

    /// How they are at this moment, as it is sent.
    pub(crate) fn now(&self) -> serde_json::Value {
        let told = self.applications.iter().map(|(described, found)| match found {
            Found::Application(application) => match gate::of(application.name()).closed(Instant::now()) {
                None => untold(described).told(&application.status()),
                Some(closed) => refused(untold(described), &closed),
            },
            Found::Refused(refusal) => refused(untold(described), &refusal.closed()),
            Found::Offline => admin::Application { state: State::Offline, ..untold(described) },
            Found::Files => admin::Application { state: State::Running, ..untold(described) },
            Found::Upstreams(balancer) => balanced(untold(described), &balancer.status()),
        });
        serde_json::to_value(told.collect::<Vec<_>>()).unwrap_or_default()
    }
}

/// An application of which only the edition is known.
pub(crate) fn decided(written: &config::Application, described: &Described) -> admin::Application {
    let state = if described.offline.is_some() { State::Offline } else { State::Unknown };
    let hosting_model = described.application.hosted_as().to_owned();
    admin::Application { state, hosting_model, ..untold(written) }
}

/// An application of which only the configuration is known.
fn untold(written: &config::Application) -> admin::Application {
    let artifact = match &written.artifact {
        Artifact::Library(path) => path.display().to_string(),
        Artifact::Command(words) => words.join(" "),
        Artifact::Files(files) => files.root.display().to_string(),
        Artifact::Upstreams(upstreams) => {
            let shown = upstreams.members.iter().map(ToString::to_string);
            shown.collect::<Vec<_>>().join(" ")
        }
    };
    let hosting_model = written.hosted_as().to_owned();
    let configured_hosting_model = match written.artifact {
        Artifact::Files(_) | Artifact::Upstreams(_) => hosting_model.clone(),
        _ => written.configured_model().to_string(),
    };
    let untold = admin::Application::untold(&written.name, &written.path, artifact, written.hosting_model);
    admin::Application { hosting_model, configured_hosting_model, ..untold }
}

/// It runs as long as one of its upstreams may have requests.
fn balanced(application: admin::Application, upstreams: &[Status]) -> admin::Application {
    let is_there = |status: &Status| matches!(status.condition, Condition::Up | Condition::Trying);
    admin::Application {
        state: if upstreams.iter().any(is_there) { State::Running } else { State::Failed },
        in_flight: upstreams.iter().map(|status| u64::from(status.outstanding)).sum(),
        requests: upstreams.iter().map(|status| status.requests).sum(),
        upstreams: upstreams.iter().map(upstream).collect(),
        ..application
    }
}

fn upstream(status: &Status) -> admin::Upstream {
    let retry_at = match status.condition {
        Condition::Out(until) => {
            Some(When(SystemTime::now() + until.saturating_duration_since(Instant::now())))
        }
        _ => None,
    };
    admin::Upstream {
        place: status.place.clone(),
        state: match status.condition {
            Condition::Up => UpstreamState::Up,
            Condition::Trying => UpstreamState::Trying,
            Condition::Out(_) => UpstreamState::Out,
            Condition::Down => UpstreamState::Down,
            _ => UpstreamState::Unknown,
        },
        in_flight: status.outstanding.into(),
        requests: status.requests,
        failures: status.failures,
        retry_at,
        failed: status
            .last
            .as_ref()
            .map(|last| admin::UpstreamFailed { detail: last.detail.clone(), at: When(last.at) }),
    }
}

fn refused(mut application: admin::Application, refusal: &Closed) -> admin::Application {
    let wait = refusal.until.saturating_duration_since(Instant::now());
    application.state = State::Failed;
    application.failed = Some(Failed {
        code: refusal.code.to_string(),
        detail: refusal.detail.clone(),
        at: When(refusal.since),
        retry_at: Some(When(SystemTime::now() + wait)),
    });
    application
}
