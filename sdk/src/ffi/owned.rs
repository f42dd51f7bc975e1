//! Bytes that cross without being copied, in both directions.
//!
//! In: [`bytes::Bytes`] of the application, [`abi::Bytes`] of the host. Out: the other kind, with its owner inside.
//! Never: allocates on the way out, releases twice.

use std::mem::MaybeUninit;

use bytes::Bytes;
use cohost_abi::{self as abi, Str, bytes_flags, code};

/// Four words that hold a [`Bytes`]; a `memcpy` of them is a move.
type Owner = [usize; 4];

const _: () = assert!(size_of::<Bytes>() == size_of::<Owner>() && align_of::<Bytes>() == align_of::<Owner>());

/// Gives `bytes` to the host.
pub(super) fn to_host(bytes: Bytes) -> abi::Bytes {
    let (ptr, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: same size and alignment (asserted above), all 32 bytes of a `Bytes` are initialised words, and the
    // original is gone after this: a move.
    let owner = unsafe { std::mem::transmute::<Bytes, Owner>(bytes) };
    abi::Bytes { ptr, len, owner, release: Some(release), flags: 0 }
}

unsafe extern "C" fn release(bytes: *mut abi::Bytes) {
    super::guarded(|| {
        // SAFETY: the host calls this once for what `to_host` made, with the address it has then.
        let owner = unsafe { (*bytes).owner };
        // SAFETY: the words are the `Bytes` that `to_host` moved in, and nobody takes them out again.
        drop(unsafe { std::mem::transmute::<Owner, Bytes>(owner) });
        code::DONE
    });
}

/// Takes over bytes of the host's. The host's owner is released when the last clone is gone.
///
/// # Safety
/// `bytes` was filled by the host as an out value: its pointer is good until `release`, or, without one, until the
/// application's next call.
pub(super) unsafe fn from_host(bytes: abi::Bytes) -> Bytes {
    let text = Str { ptr: bytes.ptr, len: bytes.len };
    if bytes.release.is_some() {
        return Bytes::from_owner(Foreign(bytes));
    }
    if bytes.flags & bytes_flags::STATIC != 0 {
        // SAFETY: STATIC says that they are readable for ever.
        return Bytes::from_static(unsafe { super::slice::<'static>(text) });
    }
    // SAFETY: borrowed, and copied here and now.
    Bytes::copy_from_slice(unsafe { super::slice(text) })
}

/// Bytes whose owner is on the other side.
struct Foreign(abi::Bytes);

// SAFETY: the contract allows `release` on any thread, and the bytes are only read.
unsafe impl Send for Foreign {}

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: good until `release`, which is called in `drop`.
        unsafe { super::slice(Str { ptr: self.0.ptr, len: self.0.len }) }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: called once, with the address the bytes have now.
            unsafe { release(&raw mut self.0) };
        }
    }
}

/// An out value that the host has not filled yet.
pub(super) const fn none() -> abi::Bytes {
    // SAFETY: null, zero and `None` are all zero bits.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
