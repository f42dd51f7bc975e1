//! Wakers in both directions, without an allocation on our side.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::c_void,
    mem::ManuallyDrop,
    task::{RawWaker, RawWakerVTable, Waker},
};

use cohost_abi as abi;

use super::subject::Owner;

/// Our waker for the application: its two words, borrowed for one call.
pub(super) fn lend(waker: &Waker) -> abi::Waker {
    abi::Waker {
        data: waker.data().cast(),
        meta: std::ptr::from_ref(waker.vtable()).cast(),
        table: &raw const TABLE,
    }
}

/// A waker that an application passes: for one call, and with what is to be known if it is woken later.
pub(super) struct Passed<'a> {
    waker: &'a abi::Waker,
    owner: Owner,
}

impl<'a> Passed<'a> {
    /// `None` for one without functions.
    ///
    /// # Safety
    /// `waker` is null, or valid for `'a` and keeps the contract.
    pub(super) unsafe fn new(waker: *const abi::Waker, owner: Owner) -> Option<Self> {
        // SAFETY: valid, says the caller; null is allowed for.
        let waker = unsafe { waker.as_ref() }?;
        (!waker.table.is_null()).then_some(Self { waker, owner })
    }

    /// As a waker of ours; just that, if it was one.
    pub(super) fn borrow(&self) -> Borrowed<'_> {
        let waker = if std::ptr::eq(self.waker.table, &raw const TABLE) {
            // SAFETY: the table says that `lend` or `clone` below made it.
            unsafe { ours(self.waker) }
        } else {
            let raw = RawWaker::new(std::ptr::from_ref(self).cast(), &BORROWED);
            // SAFETY: the functions of BORROWED keep the rules of a waker as long as the application's do.
            ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
        };
        Borrowed { waker, _call: std::marker::PhantomData }
    }
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

/// Wakers whose data is the address of a [`Passed`].
static BORROWED: RawWakerVTable = RawWakerVTable::new(clone_passed, wake_passed, wake_passed, nothing);

/// Wakers whose data is a box of ours with a [`Kept`].
static KEPT: RawWakerVTable = RawWakerVTable::new(clone_kept, wake, wake_by_ref, end);

/// An owned waker of the application's.
struct Kept {
    waker: abi::Waker,
    owner: Owner,
}

impl Kept {
    fn clone_of(theirs: &abi::Waker, owner: Owner) -> RawWaker {
        let mut waker =
            abi::Waker { data: std::ptr::null(), meta: std::ptr::null(), table: std::ptr::null() };
        // SAFETY: a table is alive while its wakers are.
        let clone = unsafe { (*theirs.table).clone };
        // SAFETY: the function is called as the contract says.
        unsafe { clone(theirs, &raw mut waker) };
        RawWaker::new(Box::into_raw(Box::new(Self { waker, owner })).cast_const().cast(), &KEPT)
    }
}

unsafe fn clone_passed(data: *const ()) -> RawWaker {
    // SAFETY: `data` of BORROWED is alive for the call.
    let passed = unsafe { &*data.cast::<Passed<'_>>() };
    Kept::clone_of(passed.waker, passed.owner)
}

/// Within a call of the application's own.
unsafe fn wake_passed(data: *const ()) {
    // SAFETY: `data` of BORROWED is alive for the call.
    let theirs = unsafe { &*data.cast::<Passed<'_>>() }.waker;
    // SAFETY: a table is alive while its wakers are.
    let wake_by_ref = unsafe { (*theirs.table).wake_by_ref };
    // SAFETY: the function is called as the contract says.
    unsafe { wake_by_ref(theirs) };
}

unsafe fn clone_kept(data: *const ()) -> RawWaker {
    // SAFETY: `data` of KEPT is a box that is alive while the waker is.
    let kept = unsafe { &*data.cast::<Kept>() };
    let _inside = kept.owner.enter();
    Kept::clone_of(&kept.waker, kept.owner)
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: `data` of KEPT is a box that is alive while the waker is.
    let kept = unsafe { &*data.cast::<Kept>() };
    // SAFETY: a table is alive while its wakers are.
    let wake_by_ref = unsafe { (*kept.waker.table).wake_by_ref };
    let _inside = kept.owner.enter();
    // SAFETY: the function is called as the contract says.
    unsafe { wake_by_ref(&raw const kept.waker) };
}

unsafe fn wake(data: *const ()) {
    // SAFETY: `data` of KEPT is a box, ended here.
    let mut kept = unsafe { Box::from_raw(data.cast_mut().cast::<Kept>()) };
    // SAFETY: a table is alive while its wakers are.
    let wake = unsafe { (*kept.waker.table).wake };
    let _inside = kept.owner.enter();
    // SAFETY: it is owned, and ends here.
    unsafe { wake(&raw mut kept.waker) };
}

unsafe fn end(data: *const ()) {
    // SAFETY: `data` of KEPT is a box, ended here.
    let mut kept = unsafe { Box::from_raw(data.cast_mut().cast::<Kept>()) };
    // SAFETY: a table is alive while its wakers are.
    let drop = unsafe { (*kept.waker.table).drop };
    let _inside = kept.owner.enter();
    // SAFETY: it is owned, and ends here.
    unsafe { drop(&raw mut kept.waker) };
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
        let owner = Owner::nobody();
        // SAFETY: `lent` is alive.
        let passed = unsafe { Passed::new(&raw const lent, owner) }.expect("not null");
        assert!(passed.borrow().will_wake(&waker));
    }
}
