//! Wakers in both directions, without an allocation on our side.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    mem::ManuallyDrop,
    task::{RawWaker, RawWakerVTable, Waker},
};

use cohost_abi as abi;

/// Our waker for the application: its two words, borrowed for one call.
pub(super) fn lend(waker: &Waker) -> abi::Waker {
    abi::Waker {
        data: waker.data().cast(),
        meta: std::ptr::from_ref(waker.vtable()).cast(),
        table: &raw const TABLE,
    }
}

/// A waker of the application's, borrowed for one call: ours again if it was ours.
///
/// # Safety
/// `waker` is valid for `'a` and keeps the contract.
pub(super) unsafe fn borrow<'a>(waker: *const abi::Waker) -> Option<Borrowed<'a>> {
    // SAFETY: valid, says the caller; null is allowed for.
    let waker = unsafe { waker.as_ref() }?;
    if waker.table.is_null() {
        return None;
    }
    let waker = if std::ptr::eq(waker.table, &raw const TABLE) {
        // SAFETY: the table says that `lend` or `clone` below made it.
        unsafe { ours(waker) }
    } else {
        let raw = RawWaker::new(std::ptr::from_ref(waker).cast(), &BORROWED);
        // SAFETY: the functions of BORROWED keep the rules of a waker as long as the application's do.
        ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
    };
    Some(Borrowed { waker, _call: std::marker::PhantomData })
}

/// A waker that must not outlive the call it was made for; clones of it may.
pub(super) struct Borrowed<'a> {
    waker: ManuallyDrop<Waker>,
    _call: std::marker::PhantomData<&'a ()>,
}

impl std::ops::Deref for Borrowed<'_> {
    type Target = Waker;
    fn deref(&self) -> &Waker {
        &self.waker
    }
}

static TABLE: abi::WakerTable = abi::WakerTable {
    size: size_of::<abi::WakerTable>(),
    clone: our_clone,
    wake: our_wake,
    wake_by_ref: our_wake_by_ref,
    drop: our_drop,
};

/// # Safety
/// `waker` came from `lend` or `our_clone`, and what it was made of is alive.
unsafe fn ours(waker: &abi::Waker) -> ManuallyDrop<Waker> {
    // SAFETY: `meta` is the vtable's address, which is 'static.
    let vtable = unsafe { &*waker.meta.cast::<RawWakerVTable>() };
    // SAFETY: data and vtable were taken from a waker that is alive.
    ManuallyDrop::new(unsafe { Waker::new(waker.data.cast(), vtable) })
}

unsafe extern "C" fn our_clone(this: *const abi::Waker, out: *mut abi::Waker) {
    // SAFETY: the application passes a waker of ours.
    let this = unsafe { &*this };
    // SAFETY: as above; it is borrowed, so alive.
    let owned = unsafe { ours(this) };
    let clone = ManuallyDrop::new(Waker::clone(&owned));
    // SAFETY: the application passes room for one.
    unsafe { out.write(lend(&clone)) };
}

unsafe extern "C" fn our_wake(this: *mut abi::Waker) {
    // SAFETY: the application passes a waker of ours.
    let this = unsafe { &*this };
    // SAFETY: an owned one, which ends here.
    ManuallyDrop::into_inner(unsafe { ours(this) }).wake();
}

unsafe extern "C" fn our_wake_by_ref(this: *const abi::Waker) {
    // SAFETY: the application passes a waker of ours.
    let this = unsafe { &*this };
    // SAFETY: it is alive.
    unsafe { ours(this) }.wake_by_ref();
}

unsafe extern "C" fn our_drop(this: *mut abi::Waker) {
    // SAFETY: the application passes a waker of ours.
    let this = unsafe { &*this };
    // SAFETY: an owned one, which ends here.
    drop(ManuallyDrop::into_inner(unsafe { ours(this) }));
}

/// Wakers whose data is the address of an application's waker on its stack.
static BORROWED: RawWakerVTable = RawWakerVTable::new(to_owned, wake_by_ref, wake_by_ref, nothing);

/// Wakers whose data is a box of ours around an owned waker of the application's.
static OWNED: RawWakerVTable = RawWakerVTable::new(to_owned, wake, wake_by_ref, end);

unsafe fn to_owned(data: *const ()) -> RawWaker {
    let theirs = data.cast::<abi::Waker>();
    let mut out = abi::Waker { data: std::ptr::null(), meta: std::ptr::null(), table: std::ptr::null() };
    // SAFETY: `data` is one of their wakers, alive while ours is.
    let table = unsafe { (*theirs).table };
    // SAFETY: a table is alive while its wakers are.
    let clone = unsafe { (*table).clone };
    // SAFETY: the function is called as the contract says.
    unsafe { clone(theirs, &raw mut out) };
    RawWaker::new(Box::into_raw(Box::new(out)).cast_const().cast(), &OWNED)
}

unsafe fn wake_by_ref(data: *const ()) {
    let theirs = data.cast::<abi::Waker>();
    // SAFETY: `data` is one of their wakers, alive while ours is.
    let table = unsafe { (*theirs).table };
    // SAFETY: a table is alive while its wakers are.
    let wake_by_ref = unsafe { (*table).wake_by_ref };
    // SAFETY: the function is called as the contract says.
    unsafe { wake_by_ref(theirs) };
}

unsafe fn wake(data: *const ()) {
    // SAFETY: `data` of OWNED is a box made by `to_owned`, ended here.
    let mut theirs = unsafe { Box::from_raw(data.cast_mut().cast::<abi::Waker>()) };
    // SAFETY: a table is alive while its wakers are.
    let wake = unsafe { (*theirs.table).wake };
    // SAFETY: it is owned, and ends here.
    unsafe { wake(&raw mut *theirs) };
}

unsafe fn end(data: *const ()) {
    // SAFETY: `data` of OWNED is a box made by `to_owned`, ended here.
    let mut theirs = unsafe { Box::from_raw(data.cast_mut().cast::<abi::Waker>()) };
    // SAFETY: a table is alive while its wakers are.
    let drop = unsafe { (*theirs.table).drop };
    // SAFETY: it is owned, and ends here.
    unsafe { drop(&raw mut *theirs) };
}

unsafe fn nothing(_: *const ()) {}

const _: () = assert!(size_of::<*const c_void>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lent_waker_wakes_and_is_not_consumed() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let lent = lend(&waker);
        let mut owned = lent;
        // SAFETY: called as an application would.
        unsafe { (TABLE.clone)(&raw const lent, &raw mut owned) };
        // SAFETY: as above.
        unsafe { (TABLE.wake_by_ref)(&raw const lent) };
        // SAFETY: as above; the owned one ends.
        unsafe { (TABLE.wake)(&raw mut owned) };
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn our_own_waker_comes_back_as_it_was() {
        let waker = Waker::from(Arc::new(Count(AtomicUsize::new(0))));
        let lent = lend(&waker);
        // SAFETY: `lent` is alive.
        let back = unsafe { borrow(&raw const lent) }.expect("not null");
        assert!(back.will_wake(&waker));
    }
}
