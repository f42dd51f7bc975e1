//! What belongs to no request: settings, log, readiness, optional tables.
#![expect(unsafe_code, reason = "the seam")]

use std::{
    ffi::{CStr, c_char, c_void},
    panic::catch_unwind,
};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{log, slice},
    entry, generation,
    informational::INFORMATIONAL,
};

pub(super) unsafe extern "C" fn config_get(
    host: *const abi::Host,
    key: abi::Str,
    value: *mut abi::Str,
) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let value = unsafe { value.as_mut() }?;
        // SAFETY: the contract's.
        let key = std::str::from_utf8(unsafe { slice(key) }).ok()?;
        let settings = &generation.settings;
        let found = if key.is_empty() { Some(&settings.json) } else { settings.values.get(key) };
        *value = found.map_or(abi::Str::EMPTY, |found| abi::Str::new(found.as_bytes()));
        Some(if found.is_some() { code::DONE } else { code::EOF })
    })
}

pub(super) unsafe extern "C" fn log_register(
    _: *const abi::Host,
    site: *const abi::Callsite,
    id: *mut u64,
) -> u32 {
    // SAFETY: the contract's.
    catch_unwind(|| unsafe { log::register(site, id) }).unwrap_or(abi::interest::NEVER)
}

pub(super) unsafe extern "C" fn log_enabled(_: *const abi::Host, id: u64) -> u32 {
    catch_unwind(|| log::enabled(id)).unwrap_or(abi::interest::NEVER)
}

pub(super) unsafe extern "C" fn log_event(
    host: *const abi::Host,
    id: u64,
    request: u64,
    values: *const abi::Value,
    n: usize,
) {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        unsafe { log::event(generation, id, request, values, n) };
        Some(code::DONE)
    });
}

pub(super) unsafe extern "C" fn log_text(
    host: *const abi::Host,
    level: u32,
    request: u64,
    target: abi::Str,
    message: abi::Str,
) {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        // SAFETY: the contract's.
        let target = String::from_utf8_lossy(unsafe { slice(target) });
        // SAFETY: the contract's.
        let message = String::from_utf8_lossy(unsafe { slice(message) });
        log::text(generation, level, request, &target, &message);
        Some(code::DONE)
    });
}

pub(super) unsafe extern "C" fn set_ready(host: *const abi::Host, ready: i32) -> Code {
    entry(|| {
        // SAFETY: the contract's.
        let generation = unsafe { generation(host) }?;
        generation.set_ready(ready != 0);
        Some(code::DONE)
    })
}

pub(super) unsafe extern "C" fn query(_: *const abi::Host, name: *const c_char) -> *const c_void {
    if name.is_null() {
        return std::ptr::null();
    }
    // SAFETY: not null, and NUL-terminated as the contract has it.
    let name = unsafe { CStr::from_ptr(name) };
    if name == c"informational.v1" { (&raw const INFORMATIONAL).cast() } else { std::ptr::null() }
}
