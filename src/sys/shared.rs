//! Words of memory that stay for as long as the process, and may be another process's as well.
#![expect(unsafe_code, reason = "memory that is mapped is known by its address alone")]

use std::{io, os::fd::AsFd, ptr, sync::atomic::AtomicU64};

use rustix::{
    fs::{SealFlags, fcntl_get_seals, fstat},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous},
};

/// The words of a file in memory, shared with whoever else maps or reads it.
///
/// # Errors
/// It is smaller, could become smaller, or the system refused.
pub(crate) fn map(file: impl AsFd, words: usize) -> io::Result<&'static [AtomicU64]> {
    let length = words * size_of::<AtomicU64>();
    // Touching what is not there any more would end the process.
    let sealed = fcntl_get_seals(&file)?.contains(SealFlags::SHRINK);
    if !sealed || u64::try_from(fstat(&file)?.st_size).is_ok_and(|size| size < length as u64) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a page that could be recorded into"));
    }
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which replaces none.
    let place = unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) }?;
    // SAFETY: that many bytes are mapped there, page by page and so aligned; for ever, since nobody unmaps them and the
    // file keeps its size; and any bits are a number. Others may change them at any time, as atomics allow.
    Ok(unsafe { std::slice::from_raw_parts(place.cast(), words) })
}

/// Words of this process alone. What is never touched takes no memory.
pub(crate) fn private(words: usize) -> &'static [AtomicU64] {
    let (length, access) = (words * size_of::<AtomicU64>(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a new mapping, which replaces none.
    let place = unsafe { mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE) };
    match place {
        // SAFETY: as above; all of it is zero.
        Ok(place) => unsafe { std::slice::from_raw_parts(place.cast(), words) },
        Err(_) => Box::leak((0..words).map(|_| AtomicU64::new(0)).collect()),
    }
}
