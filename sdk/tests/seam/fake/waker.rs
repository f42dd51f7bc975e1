//! Wakers in both directions.
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a fake: the contract is what every block relies on"
)]

use std::{
    ptr,
    sync::{Arc, Condvar, Mutex},
    task::{Wake, Waker},
    time::Duration,
};

use cohost_app::abi;

/// Longer than any wait that ends well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A waker of the host's: three words, the first a counted pointer.
#[derive(Default)]
pub(super) struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_all();
    }

    pub(super) fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, waited) = self.bell.wait_timeout_while(rung, PATIENCE, |rung| !*rung).unwrap();
        assert!(!waited.timed_out(), "nobody woke the host");
        *rung = false;
    }

    pub(super) fn lend<T>(self: &Arc<Self>, call: impl FnOnce(*const abi::Waker) -> T) -> T {
        let waker = abi::Waker { data: Arc::as_ptr(self).cast(), meta: ptr::null(), table: &raw const ALARM };
        call(&raw const waker)
    }
}

static ALARM: abi::WakerTable = abi::WakerTable {
    size: size_of::<abi::WakerTable>(),
    clone: alarm_clone,
    wake: alarm_wake,
    wake_by_ref: alarm_wake_by_ref,
    drop: alarm_drop,
};

unsafe extern "C" fn alarm_clone(waker: *const abi::Waker, out: *mut abi::Waker) {
    unsafe {
        Arc::increment_strong_count((*waker).data.cast::<Alarm>());
        *out = *waker;
    }
}
unsafe extern "C" fn alarm_wake(waker: *mut abi::Waker) {
    unsafe { Arc::from_raw((*waker).data.cast::<Alarm>()) }.ring();
}
unsafe extern "C" fn alarm_wake_by_ref(waker: *const abi::Waker) {
    unsafe { &*(*waker).data.cast::<Alarm>() }.ring();
}
unsafe extern "C" fn alarm_drop(waker: *mut abi::Waker) {
    drop(unsafe { Arc::from_raw((*waker).data.cast::<Alarm>()) });
}

/// A waker of the application's, cloned.
pub(super) struct TheirWaker(abi::Waker);
unsafe impl Send for TheirWaker {}
unsafe impl Sync for TheirWaker {}

impl TheirWaker {
    pub(super) fn clone_of(waker: *const abi::Waker) -> Waker {
        let mut owned = unsafe { *waker };
        unsafe { ((*(*waker).table).clone)(waker, &raw mut owned) };
        Waker::from(Arc::new(Self(owned)))
    }
}

impl Wake for TheirWaker {
    fn wake(self: Arc<Self>) {
        unsafe { ((*self.0.table).wake_by_ref)(&raw const self.0) }
    }
}

impl Drop for TheirWaker {
    fn drop(&mut self) {
        unsafe { ((*self.0.table).drop)(&raw mut self.0) }
    }
}
