//! Bytes that change hands, in both directions, without a copy.
#![expect(unsafe_code, reason = "the seam")]

use std::{mem::ManuallyDrop, sync::Arc};

use bytes::Bytes;
use cohost_abi as abi;

use super::subject::Owner;
use crate::{dispatcher::in_process::generation::Lease, facts::RequestId};

/// Below this, a copy is cheaper than keeping the owner.
const COPY_BELOW: usize = 256;

const _: () =
    assert!(size_of::<Bytes>() == size_of::<[usize; 4]>(), "Bytes fits into the owner's four words");
const _: () = assert!(align_of::<Bytes>() <= align_of::<usize>());

/// Takes over bytes of the application's; releases them when the last clone is gone.
///
/// # Errors
/// They lie nowhere, or are more than can be.
///
/// # Safety
/// `theirs` keeps the contract: readable as it says, `release` callable once.
pub(super) unsafe fn take(
    theirs: abi::Bytes,
    lease: &Arc<Lease>,
    request: RequestId,
) -> Result<Bytes, abi::Code> {
    let text = abi::Str { ptr: theirs.ptr, len: theirs.len };
    if text.len > isize::MAX as usize || (text.ptr.is_null() && text.len > 0) {
        // No memory is that large, or nowhere. It is given back all the same.
        // SAFETY: says the caller.
        unsafe { refuse(theirs) };
        return Err(abi::code::E_INVALID);
    }
    if theirs.release.is_none() {
        if theirs.flags & abi::bytes_flags::STATIC != 0 {
            // SAFETY: STATIC says readable for ever, and libraries are never unmapped.
            return Ok(Bytes::from_static(unsafe { super::slice(text) }));
        }
        // SAFETY: borrowed bytes are readable during this call.
        return Ok(Bytes::copy_from_slice(unsafe { super::slice(text) }));
    }
    let owned = Owned { theirs, lease: Arc::clone(lease), request };
    Ok(if text.len < COPY_BELOW { Bytes::copy_from_slice(owned.as_ref()) } else { Bytes::from_owner(owned) })
}

/// Bytes that the application will get back.
struct Owned {
    theirs: abi::Bytes,
    lease: Arc<Lease>,
    request: RequestId,
}

// SAFETY: the contract lets bytes be read and released on any thread.
unsafe impl Send for Owned {}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: readable until released, which `drop` does.
        unsafe { super::slice(abi::Str { ptr: self.theirs.ptr, len: self.theirs.len }) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(release) = self.theirs.release.take() {
            let _inside = Owner::of(&self.lease, self.request).enter();
            // SAFETY: once, because it was taken out.
            unsafe { release(&raw mut self.theirs) };
        }
    }
}

/// Gives our bytes to the application, which releases them.
pub(super) fn give(ours: Bytes) -> abi::Bytes {
    let (ptr, len) = (ours.as_ptr(), ours.len());
    let mut owner = [0; 4];
    // SAFETY: sizes and alignment are asserted above; the original is not dropped.
    unsafe { owner.as_mut_ptr().cast::<Bytes>().write(ours) };
    abi::Bytes { ptr, len, owner, release: Some(release), flags: 0 }
}

/// No bytes, no owner.
pub(super) const fn none() -> abi::Bytes {
    abi::Bytes { ptr: std::ptr::null(), len: 0, owner: [0; 4], release: None, flags: 0 }
}

unsafe extern "C" fn release(this: *mut abi::Bytes) {
    // SAFETY: the application passes what `give` made, wherever it has moved it to.
    let Some(this) = (unsafe { this.as_mut() }) else { return };
    // A second release of the same struct finds nothing to do.
    if this.release.take().is_none() {
        return;
    }
    // SAFETY: the four words are a `Bytes`, read out once.
    drop(unsafe { this.owner.as_ptr().cast::<Bytes>().read() });
    this.ptr = std::ptr::null();
    this.len = 0;
}

/// Bytes of which nothing is taken over: for answers that come too late.
///
/// # Safety
/// As for [`take`].
pub(super) unsafe fn refuse(mut theirs: abi::Bytes) {
    let theirs = ManuallyDrop::new(std::mem::replace(&mut theirs, none()));
    if let Some(release) = theirs.release {
        let mut moved = ManuallyDrop::into_inner(theirs);
        // SAFETY: once.
        unsafe { release(&raw mut moved) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_bytes_are_released_once() {
        let shared = Bytes::from(vec![7; 1000]);
        let mut given = give(shared.clone());
        assert!(!shared.is_unique());
        let release = given.release.expect("owned");
        // SAFETY: as an application would.
        unsafe { release(&raw mut given) };
        assert!(shared.is_unique());
        // SAFETY: a second release is harmless.
        unsafe { release(&raw mut given) };
        assert!(shared.is_unique());
    }
}
