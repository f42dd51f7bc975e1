//! How many requests may be sent a second time.
//!
//! When everything fails, second tries would be what an overloaded upstream needs least. So requests earn them, and
//! they are no more than a share of the requests.

/// What is left for second tries.
#[derive(Debug)]
pub(super) struct Budget {
    /// What each request earns, in hundredths of a try.
    earned: u32,
    left: u32,
}

impl Budget {
    /// For `percent` of requests. A few are there from the start: where there is little to do, little is earned.
    pub(super) fn new(percent: u8) -> Self {
        let left = if percent == 0 { 0 } else { RESERVE * TRY };
        Self { earned: percent.into(), left }
    }

    /// A request has come.
    pub(super) fn earn(&mut self) {
        // No more is kept than there was at the start, or a quiet day would pay for a storm.
        self.left = (self.left + self.earned).min(RESERVE * TRY);
    }

    /// Whether there is enough for a try.
    pub(super) fn has_try(&self) -> bool {
        self.left >= TRY
    }

    /// The same; it is gone then.
    pub(super) fn spend(&mut self) -> bool {
        match self.left.checked_sub(TRY) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

const TRY: u32 = 100;

/// Tries that are there from the start.
pub(super) const RESERVE: u32 = 10;
