//! Wakers in both directions.
//!
//! In: the host's waker, borrowed for one poll; or any waker of the application's. Out: the other kind.
//! Never: allocates for a poll that does not keep the waker; wraps what is the host's own already.

use std::{
    mem::ManuallyDrop,
    sync::Arc,
    task::{Context, RawWaker, RawWakerVTable, Waker},
};

use cohost_abi::{self as abi, WakerTable, code};

/// Runs `poll` with the host's waker, which is borrowed for that long.
///
/// # Safety
/// `waker` is what the host passed to the call that is running now.
pub(super) unsafe fn with_host_waker<T>(
    waker: *const abi::Waker,
    poll: impl FnOnce(&mut Context<'_>) -> T,
) -> T {
    // SAFETY: the functions of `BORROWED` expect the address of a host's waker. Nothing is done on drop, and a
    // clone no longer points here.
    let borrowed = ManuallyDrop::new(unsafe { Waker::new(waker.cast(), &BORROWED) });
    poll(&mut Context::from_waker(&borrowed))
}

/// Runs `call` with `waker` in the host's form, for passing on.
pub(super) fn with_app_waker<T>(waker: &Waker, call: impl FnOnce(*const abi::Waker) -> T) -> T {
    if std::ptr::eq(waker.vtable(), &raw const BORROWED) {
        return call(waker.data().cast());
    }
    if std::ptr::eq(waker.vtable(), &raw const OWNED) {
        let owned = waker.data().cast::<Owned>();
        // SAFETY: with this vtable the word is an `Arc<Owned>` that `waker` keeps alive.
        return call(unsafe { &raw const (*owned).0 });
    }
    let foreign = abi::Waker {
        data: waker.data().cast(),
        meta: std::ptr::from_ref(waker.vtable()).cast(),
        table: &raw const FOREIGN,
    };
    call(&raw const foreign)
}

// Statics, not constants: they are recognised by their address.

/// The data word is the address of the host's waker, on the host's stack.
static BORROWED: RawWakerVTable = RawWakerVTable::new(borrowed_clone, borrowed_wake, borrowed_wake, |_| ());

/// The data word is an `Arc<Owned>`.
static OWNED: RawWakerVTable = RawWakerVTable::new(owned_clone, owned_wake, owned_wake_by_ref, owned_drop);

/// A waker that the host cloned for us.
struct Owned(abi::Waker);

// SAFETY: the contract allows all functions of a waker on any thread.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Owned {
    fn wake(&self) {
        // SAFETY: an owned waker of the host's, alive until `drop`.
        let table = unsafe { &*self.0.table };
        // SAFETY: as above; this does not consume it.
        unsafe { (table.wake_by_ref)(&raw const self.0) };
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: an owned waker of the host's.
        let table = unsafe { &*self.0.table };
        // SAFETY: called once; `wake` is never used.
        unsafe { (table.drop)(&raw mut self.0) };
    }
}

/// # Safety
/// `waker` is alive.
unsafe fn table<'a>(waker: *const abi::Waker) -> &'a WakerTable {
    // SAFETY: the caller's promise.
    let table = unsafe { (*waker).table };
    // SAFETY: a table lives at least as long as the wakers that point to it.
    unsafe { &*table }
}

unsafe fn borrowed_clone(waker: *const ()) -> RawWaker {
    let waker = waker.cast::<abi::Waker>();
    // SAFETY: the poll this waker was borrowed for still runs, or nobody could have it.
    let table = unsafe { table(waker) };
    let mut owned = abi::Waker { data: std::ptr::null(), meta: std::ptr::null(), table };
    // SAFETY: fills `owned`.
    unsafe { (table.clone)(waker, &raw mut owned) };
    RawWaker::new(Arc::into_raw(Arc::new(Owned(owned))).cast(), &OWNED)
}

unsafe fn borrowed_wake(waker: *const ()) {
    let waker = waker.cast::<abi::Waker>();
    // SAFETY: as in `borrowed_clone`.
    let table = unsafe { table(waker) };
    // SAFETY: as above. Also for the consuming `wake`: the borrowed one is not ours to consume.
    unsafe { (table.wake_by_ref)(waker) };
}

unsafe fn owned_clone(waker: *const ()) -> RawWaker {
    // SAFETY: with this vtable the word is an `Arc<Owned>`.
    unsafe { Arc::increment_strong_count(waker.cast::<Owned>()) };
    RawWaker::new(waker, &OWNED)
}

unsafe fn owned_wake(waker: *const ()) {
    // SAFETY: as above; this call consumes the reference.
    unsafe { Arc::from_raw(waker.cast::<Owned>()) }.wake();
}

unsafe fn owned_wake_by_ref(waker: *const ()) {
    // SAFETY: as above, borrowed.
    unsafe { &*waker.cast::<Owned>() }.wake();
}

unsafe fn owned_drop(waker: *const ()) {
    // SAFETY: as above; this call consumes the reference.
    drop(unsafe { Arc::from_raw(waker.cast::<Owned>()) });
}

/// For wakers of the application's own executors: the two words are those of a Rust waker.
static FOREIGN: WakerTable = WakerTable {
    size: size_of::<WakerTable>(),
    clone: foreign_clone,
    wake: foreign_wake,
    wake_by_ref: foreign_wake_by_ref,
    drop: foreign_drop,
};

/// The Rust waker in `waker`, not to be dropped.
///
/// # Safety
/// `waker` has the table [`FOREIGN`] and is alive.
unsafe fn rust(waker: *const abi::Waker) -> ManuallyDrop<Waker> {
    // SAFETY: the caller's promise.
    let waker = unsafe { *waker };
    // SAFETY: `meta` was made of a vtable's `&'static`.
    let vtable = unsafe { &*waker.meta.cast::<RawWakerVTable>() };
    // SAFETY: the two words of a live Rust waker.
    ManuallyDrop::new(unsafe { Waker::new(waker.data.cast(), vtable) })
}

unsafe extern "C" fn foreign_clone(waker: *const abi::Waker, out: *mut abi::Waker) {
    super::guarded(|| {
        // SAFETY: the host calls the functions of a waker's table with that waker.
        let waker = ManuallyDrop::new((*unsafe { rust(waker) }).clone());
        let clone = abi::Waker {
            data: waker.data().cast(),
            meta: std::ptr::from_ref(waker.vtable()).cast(),
            table: &raw const FOREIGN,
        };
        // SAFETY: `out` is the host's to be written.
        unsafe { out.write(clone) };
        code::DONE
    });
}

unsafe extern "C" fn foreign_wake(waker: *mut abi::Waker) {
    super::guarded(|| {
        // SAFETY: an owned waker, consumed by this call.
        ManuallyDrop::into_inner(unsafe { rust(waker) }).wake();
        code::DONE
    });
}

unsafe extern "C" fn foreign_wake_by_ref(waker: *const abi::Waker) {
    super::guarded(|| {
        // SAFETY: a live waker, not consumed.
        unsafe { rust(waker) }.wake_by_ref();
        code::DONE
    });
}

unsafe extern "C" fn foreign_drop(waker: *mut abi::Waker) {
    super::guarded(|| {
        // SAFETY: an owned waker, consumed by this call.
        drop(ManuallyDrop::into_inner(unsafe { rust(waker) }));
        code::DONE
    });
}
