//! Which workers crashed, and by whose fault, for whoever asks later.
//!
//! In: ends of workers, with what is known of them. Out: for each application its last crash, and how many there were.
//! Never: keeps more than one for each application: the log has them all.

use std::{collections::BTreeMap, time::SystemTime};

use cohost::{
    admin::{Crashed, Status, When},
    supervisor::{Exit, worker::Blame},
};
use serde::{Deserialize, Serialize};

/// The last crash of each application, and of nobody knows whom.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crashes {
    by: BTreeMap<String, Crashed>,
    by_nobody: Option<Crashed>,
}

impl Crashes {
    /// A worker has crashed.
    pub(super) fn note(&mut self, exit: Exit, blame: &Blame, output: &str) {
        let culprit = blame.culprit.as_ref();
        let request = culprit.and_then(|culprit| culprit.request.as_ref());
        let line = request.map(|request| format!("{} {}", request.method, request.path));
        let before = match culprit {
            Some(culprit) => self.by.get(&culprit.application),
            None => self.by_nobody.as_ref(),
        };
        let times = before.map_or(0, |before| before.times) + 1;
        let crashed = Crashed {
            at: When(SystemTime::now()),
            exit: exit.to_string(),
            request: line.filter(|line| !line.trim().is_empty()),
            request_id: request.map(|request| request.id.to_string()),
            suspects: blame.suspects.clone(),
            output: (!output.is_empty()).then(|| output.to_owned()),
            times,
        };
        match culprit {
            Some(culprit) => drop(self.by.insert(culprit.application.clone(), crashed)),
            None => self.by_nobody = Some(crashed),
        }
    }

    /// Puts them in where they belong. One of an application that is no more is not shown.
    pub(super) fn put(&self, status: &mut Status) {
        status.host.crashed = self.by_nobody.clone();
        for application in status.sites.iter_mut().flat_map(|site| &mut site.applications) {
            application.crashed = self.by.get(&application.name).cloned();
        }
    }
}
