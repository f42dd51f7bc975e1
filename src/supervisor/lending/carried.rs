//! The instances of a host, as one program leaves them to the next one that runs in the same process.

use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{Instance, Launch, Runner, instance, patience::Patience, worker::Generation},
    failures::Failures,
    ledger::{Loan, Number},
    lender::{Lender, Process},
    message::{Ask, NotLent},
};

/// An instance, and who has it, for the next program.
#[derive(Debug)]
pub struct Carried {
    /// As text: what that program makes of it.
    pub text: serde_json::Value,
    /// The descriptors that belong to it.
    pub descriptors: [OwnedFd; 3],
}

/// How applications failed, for the next program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Past {
    failing: Vec<(Launch, Patience)>,
    reasons: Vec<(String, NotLent)>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    number: u64,
    launch: Launch,
    instance: instance::Carried,
    /// Worker and wish of those who have it.
    loans: Vec<(Generation, Ask)>,
}

impl Lender {
    /// Whether all that is there runs: then it can be carried.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    /// What the next program in this process needs to go on with the instances.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn carry(&self) -> io::Result<Vec<Carried>> {
        let running = self.instances.iter().filter_map(|(number, process)| match process {
            Process::Running { instance, launch, .. } => Some((number, instance, launch)),
            Process::Starting(_) => None,
        });
        let carried = running.map(|(number, instance, launch)| {
            let (instance, descriptors) = instance.carry()?;
            let loans = self.ledger.loans(*number).map(|loan| (loan.worker, loan.ask)).collect();
            let text = Text { number: number.0, launch: (**launch).clone(), instance, loans };
            Ok(Carried { text: serde_json::to_value(text)?, descriptors })
        });
        carried.collect()
    }

    /// How applications failed until now.
    #[must_use]
    pub fn past(&self) -> Past {
        let reasons = self.reasons.iter().map(|(name, reason)| (name.to_string(), reason.clone()));
        Past { failing: self.ledger.failures.carry(), reasons: reasons.collect() }
    }

    /// Does not count anew: this is how applications failed until now.
    #[must_use]
    pub fn with_past(mut self, past: Past) -> Self {
        self.ledger.failures = Failures::resume(past.failing);
        self.reasons = past.reasons.into_iter().map(|(name, reason)| (name.into(), reason)).collect();
        self
    }

    /// Goes on with the instances that the program before this one has left, and their workers.
    ///
    /// # Errors
    /// One is described in a way that this program does not understand, or the system refused.
    pub fn resume(runner: Runner, unclaimed: Duration, carried: Vec<Carried>) -> io::Result<Self> {
        let mut lender = Self::new(runner, unclaimed);
        for Carried { text, descriptors } in carried {
            let Text { number, launch, instance, loans } = serde_json::from_value(text)?;
            let (number, launch) = (Number(number), Arc::new(launch));
            let instance = Instance::resume(&launch, instance, descriptors)?;
            let loans = loans.into_iter().map(|(worker, ask)| Loan { worker, ask });
            lender.ledger.resume(number, Arc::clone(&launch), loans);
            lender.watch(number, instance, launch);
        }
        Ok(lender)
    }
}
