//! Whether something comes fast enough, while somebody waits for it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

use super::limits::Pace;

/// Looks at what comes, from one end of the patience to the next.
///
/// No clock is read and no timer is set before somebody waits.
pub(super) struct Watch {
    pace: Pace,
    /// All that has come so far.
    pub(super) arrived: u64,
    /// Whether the timer is set.
    pub(super) looks: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// What had come when it was.
    since: u64,
    /// Whether it has been waited for ever since.
    awaited: bool,
}

impl Watch {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, arrived: 0, looks: false, timer: None, since: 0, awaited: false }
    }

    /// Ready when it has come too slowly, for as long as it was `awaited`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, awaited: bool) -> Poll<()> {
        self.awaited &= awaited;
        if !self.looks {
            if !awaited {
                return Poll::Pending;
            }
            self.look();
        }
        let timer = self.timer.as_mut().expect("set, since it looks");
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if !awaited {
            self.looks = false;
            return Poll::Pending;
        }
        if self.awaited && self.arrived - self.since < self.least() {
            return Poll::Ready(());
        }
        self.look();
        let timer = self.timer.as_mut().expect("set just now");
        timer.as_mut().poll(cx)
    }

    fn look(&mut self) {
        let until = Instant::now() + self.pace.patience;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(until),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
        }
        (self.looks, self.awaited, self.since) = (true, true, self.arrived);
    }

    /// What has to come within the patience.
    fn least(&self) -> u64 {
        let rate = self.pace.rate.map_or(0, |rate| u64::from(rate.get()));
        let least = u128::from(rate) * self.pace.patience.as_millis() / 1000;
        u64::try_from(least).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, num::NonZeroU32, time::Duration};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// After how many seconds it is too slow, if so many bytes come each second from the start on, or are not awaited.
    async fn ends(rate: Option<u32>, seconds: &[Option<u64>]) -> Option<u64> {
        let mut watch = Watch::new(Pace { patience: PATIENCE, rate: rate.and_then(NonZeroU32::new) });
        let began = Instant::now();
        for second in seconds {
            watch.arrived += second.unwrap_or_default();
            let tick = tokio::time::sleep(Duration::from_secs(1));
            tokio::pin!(tick);
            let over = poll_fn(|cx| {
                if watch.poll(cx, second.is_some()).is_ready() {
                    return Poll::Ready(true);
                }
                tick.as_mut().poll(cx).map(|()| false)
            });
            if over.await {
                return Some(began.elapsed().as_secs());
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_is_too_slow() {
        assert_eq!(ends(None, &[Some(0); 100]).await, Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_will_do_where_no_rate_is_asked_for() {
        assert_eq!(ends(None, &[Some(1); 100]).await, None);
        assert_eq!(ends(Some(240), &[Some(1); 100]).await, Some(30));
        assert_eq!(ends(Some(240), &[Some(260); 100]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_waited_for_has_all_the_time() {
        assert_eq!(ends(Some(240), &[None; 100]).await, None);
        let busy = [&[Some(0); 20][..], &[None; 40], &[Some(0); 20]].concat();
        assert_eq!(ends(Some(240), &busy).await, None);
    }
}
